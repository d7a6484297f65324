// SPDX-License-Identifier: Apache-2.0
#include "daemon/bootstrap/card_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/hash.hpp"
#include "base/runtime_paths.hpp"
#include "daemon/bootstrap/bootstrap.hpp"
#include "daemon/bootstrap/bytes.hpp"

namespace copykv::bootstrap {
namespace {

constexpr std::string_view kMagic = "ckvcard\n";
constexpr uint32_t kFormatVersion = 1;
constexpr size_t kHeadBytes = 32;
constexpr uint32_t kNoteBytesMax = 1024;
constexpr uint32_t kHeardMax = 1U << 16;
constexpr size_t kFileBytesMax = kCardBytesMax + sizeof(uint64_t) * kHeardMax + 4096;

uint64_t sum_of(std::string_view bytes) noexcept {
  return XXH3_64bits(bytes.data(), bytes.size());
}

CardHead read_head(ByteReader& from) {
  CardHead head;
  head.phase = static_cast<CardPhase>(from.number<uint32_t>());
  head.incarnation = from.number<uint64_t>();
  head.revision = from.number<uint64_t>();
  return head;
}

/// All bytes up to the limit; empty on any error.
std::string read_all(int fd, size_t bytes_max) {
  std::string bytes(bytes_max, '\0');
  size_t have = 0;
  while (have < bytes_max) {
    const ssize_t got =
        ::pread(fd, bytes.data() + have, bytes_max - have, static_cast<off_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    have += static_cast<size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return true;
}

}  // namespace

std::string encode_card_file(const CardFile& file) {
  ByteWriter to;
  to.raw(kMagic).number(kFormatVersion).number(static_cast<uint32_t>(file.head.phase));
  to.number(file.head.incarnation).number(file.head.revision);
  to.number(file.rank).number(file.ranks).text(file.job).text(file.card);
  to.text(std::string_view(file.note).substr(0, kNoteBytesMax));
  to.number(static_cast<uint32_t>(file.heard.size()));
  for (const uint64_t incarnation : file.heard) to.number(incarnation);
  to.number(sum_of(to.bytes()));
  return to.take();
}

Outcome<CardFile> decode_card_file(std::string_view bytes) {
  ByteReader from(bytes);
  if (from.raw(kMagic.size()) != kMagic) return Failure{"is no card of a rank"};
  const auto version = from.number<uint32_t>();
  if (from.whole() && version != kFormatVersion) {
    return Failure{
        fmt::format("is a card of format {}, this copykvd reads format {}; start the "
                    "same release everywhere",
                    version, kFormatVersion)};
  }
  CardFile file;
  file.head = read_head(from);
  file.rank = from.number<uint32_t>();
  file.ranks = from.number<uint32_t>();
  file.job = from.text(kJobNameBytesMax);
  file.card = from.text(kCardBytesMax);
  file.note = from.text(kNoteBytesMax);
  const auto heard = from.number<uint32_t>();
  if (!from.whole() || heard > kHeardMax || from.left() != (heard + 1) * sizeof(uint64_t)) {
    return Failure{"is damaged"};
  }
  for (uint32_t index = 0; index < heard; ++index) file.heard.push_back(from.number<uint64_t>());
  const bool known_phase =
      file.head.phase >= CardPhase::claiming && file.head.phase <= CardPhase::left;
  if (from.number<uint64_t>() != sum_of(bytes.substr(0, bytes.size() - sizeof(uint64_t))) ||
      !known_phase || file.head.incarnation == 0 || file.rank >= file.ranks) {
    return Failure{"is damaged"};
  }
  return file;
}

Outcome<CardDir> CardDir::open(const std::string& path, const std::string& job) {
  CardDir made(path, job);
  if (const auto opened = made.refresh(); !opened) return Failure{opened.error};
  return made;
}

Outcome<void> CardDir::refresh() {
  dir_ = Fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir_) return {};
  return Failure{
      fmt::format("cannot open the directory of --rendezvous file://{}: {}; make it on "
                  "a file system that all ranks share",
                  path_, std::strerror(errno))};
}

Outcome<void> CardDir::write(const CardFile& file) {
  const std::string name = name_of(file.rank);
  // Its own name for each life of a rank: two processes never write the same draft.
  const std::string draft = fmt::format("{}.{:016x}", name, file.head.incarnation);
  (void)::unlinkat(dir_.get(), draft.c_str(), 0);
  Fd to(::openat(dir_.get(), draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  struct stat made {};
  const bool written =
      to && write_all(to.get(), encode_card_file(file)) && ::fstat(to.get(), &made) == 0;
  if (auto safe = written ? check_owner(made.st_uid) : Outcome<void>(); !safe) {
    (void)::unlinkat(dir_.get(), draft.c_str(), 0);
    return safe;
  }
  if (written && ::renameat(dir_.get(), draft.c_str(), dir_.get(), name.c_str()) == 0) {
    owner_ = made.st_uid;
    has_written_ = true;
    return {};
  }
  const int why = errno;
  if (to) (void)::unlinkat(dir_.get(), draft.c_str(), 0);
  return Failure{
      fmt::format("cannot write {}/{}: {}; give this user a directory to write to, with "
                  "free space",
                  path_, name, std::strerror(why))};
}

/// Whoever may rename in the directory could put cards of his own in the place of ours. `self`:
/// this user, as the file system sees us.
Outcome<void> CardDir::check_owner(uint32_t self) const {
  struct stat entry {};
  if (::fstat(dir_.get(), &entry) != 0) return Failure{std::strerror(errno)};
  const bool trusted_owner = entry.st_uid == self || entry.st_uid == 0;
  const bool others_write = (entry.st_mode & 0022) != 0 && (entry.st_mode & S_ISVTX) == 0;
  if (trusted_owner && !others_write) return {};
  return Failure{
      fmt::format("{} (user {}, mode {:04o}) can be changed by other users, and whoever changes it "
                  "can be a rank; use a directory of your own, and run: chmod 700 {}",
                  path_, entry.st_uid, entry.st_mode & 07777, path_)};
}

CardHead CardDir::peek(uint32_t rank) const {
  const Fd from(::openat(dir_.get(), name_of(rank).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!from) return {};
  const std::string bytes = read_all(from.get(), kHeadBytes);
  ByteReader reader(bytes);
  (void)reader.raw(kMagic.size() + sizeof(kFormatVersion));
  const CardHead head = read_head(reader);
  return reader.whole() ? head : CardHead{};
}

Outcome<CardFile> CardDir::read(uint32_t rank) const {
  const std::string name = name_of(rank);
  const Fd from(::openat(dir_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat entry {};
  if (!from || ::fstat(from.get(), &entry) != 0) {
    return Failure{fmt::format("there is no card of rank {} in {}", rank, path_)};
  }
  if (!S_ISREG(entry.st_mode) || (has_written_ && entry.st_uid != owner_)) {
    return Failure{
        fmt::format("{}/{} belongs to user {}, our files there to user {}; use a "
                    "directory of your own",
                    path_, name, entry.st_uid, owner_)};
  }
  const auto bytes_max = std::min(static_cast<size_t>(entry.st_size), kFileBytesMax);
  Outcome<CardFile> file = decode_card_file(read_all(from.get(), bytes_max));
  if (!file) return Failure{fmt::format("{}/{} {}", path_, name, file.error)};
  if (file->job != job_ || file->rank != rank) {
    return Failure{fmt::format("{}/{} is the card of rank {} of job '{}'; remove it", path_, name,
                               file->rank, file->job)};
  }
  return file;
}

std::string CardDir::name_of(uint32_t rank) const {
  return fmt::format("copykv-{}-rank{}", job_, rank);
}

}  // namespace copykv::bootstrap
