// SPDX-License-Identifier: Apache-2.0
#include "daemon/bootstrap/job_secret.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/fd.hpp"
#include "base/runtime_paths.hpp"
#include "daemon/bootstrap/bytes.hpp"
#include "daemon/bootstrap/rendezvous_url.hpp"

namespace copykv {
namespace {

constexpr const char* kRemedy = "make one with: openssl rand -hex 32";
constexpr size_t kRandomBytes = 32;

Outcome<std::string> check_length(std::string secret, std::string_view of) {
  // An editor or echo ends the file with a newline that is no part of it.
  while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) secret.pop_back();
  if (secret.size() >= kJobSecretBytesMin && secret.size() <= kJobSecretBytesMax) return secret;
  return Failure{fmt::format("the job secret in {} has {} bytes, {} to {} are needed; {}", of,
                             secret.size() > kJobSecretBytesMax
                                 ? fmt::format("more than {}", kJobSecretBytesMax)
                                 : std::to_string(secret.size()),
                             kJobSecretBytesMin, kJobSecretBytesMax, kRemedy)};
}

Outcome<std::string> read_secret(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat entry {};
  if (!file || ::fstat(file.get(), &entry) != 0) {
    return Failure{fmt::format("cannot read the job secret in {}: {}; {} > {}", path,
                               std::strerror(errno), kRemedy, path)};
  }
  const bool trusted_owner = entry.st_uid == ::geteuid() || entry.st_uid == 0;
  if (!S_ISREG(entry.st_mode) || !trusted_owner || (entry.st_mode & 0077) != 0) {
    return Failure{
        fmt::format("the job secret in {} (user {}, mode {:04o}) is not for this user's "
                    "eyes only; run: chmod 600 {}",
                    path, entry.st_uid, entry.st_mode & 07777, path)};
  }
  std::string secret(kJobSecretBytesMax + 3, '\0');
  const ssize_t got = ::read(file.get(), secret.data(), secret.size());
  secret.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return check_length(std::move(secret), path);
}

std::string random_hex(size_t bytes) {
  std::string text;
  for (const char byte : random_bytes(bytes)) {
    text += fmt::format("{:02x}", static_cast<uint8_t>(byte));
  }
  return text;
}

/// Makes the file whole or not at all: a rank that finds it finds all of it.
Outcome<void> make_secret(const std::string& path) {
  const std::string draft = fmt::format("{}.{}", path, random_hex(sizeof(uint64_t)));
  const std::string secret = random_hex(kRandomBytes) + "\n";
  const Fd file(::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  const bool written = file && ::write(file.get(), secret.data(), secret.size()) ==
                                   static_cast<ssize_t>(secret.size());
  const bool linked = written && (::link(draft.c_str(), path.c_str()) == 0 || errno == EEXIST);
  const int why = errno;
  (void)::unlink(draft.c_str());
  if (linked) return {};
  return Failure{fmt::format("cannot make the job secret {}: {}; free some space there", path,
                             std::strerror(why))};
}

Outcome<std::string> loopback_secret(const JobSecretSource& source) {
  Outcome<std::string> dir = make_job_dir(source.runtime_dir, source.job);
  if (!dir) return dir;
  const std::string path = *dir + "/secret";
  if (::access(path.c_str(), F_OK) != 0) {
    if (const auto made = make_secret(path); !made) return Failure{made.error};
  }
  return read_secret(path);
}

}  // namespace

Outcome<std::string> find_job_secret(const JobSecretSource& source) {
  const auto url = bootstrap::parse_rendezvous(source.rendezvous);
  if (!url) return Failure{url.error};
  if (url->scheme != bootstrap::Scheme::tcp) return std::string();
  if (!source.file.empty()) return read_secret(source.file);
  const char* const by_environment = std::getenv("COPYKV_JOB_SECRET");
  if (by_environment != nullptr && *by_environment != '\0') {
    return check_length(by_environment, "COPYKV_JOB_SECRET");
  }
  if (url->is_loopback()) return loopback_secret(source);
  return Failure{
      fmt::format("--rendezvous {} needs a job secret, the same for all ranks: set "
                  "COPYKV_JOB_SECRET or --job-secret-file; {}",
                  source.rendezvous, kRemedy)};
}

}  // namespace copykv
