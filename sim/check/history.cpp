// SPDX-License-Identifier: Apache-2.0
#include "sim/check/history.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/bytes.hpp"
#include "base/hash.hpp"

namespace copykv::sim {
namespace {

// HEAD       magic 8, version 4, bytes of an operation 4, operations 8
// OPERATION  the words of Operation in their order 9 x 8, process 4, kind, status, when, number
// TAIL       XXH3-64 of everything before 8
constexpr std::string_view kMagic = "cpkvhist";
constexpr uint32_t kFileVersion = 1;
constexpr uint32_t kOperationBytes = 80;
constexpr size_t kHeadBytes = 24;
constexpr size_t kTailBytes = 8;

constexpr uint64_t Operation::*kWords[] = {
    &Operation::key,      &Operation::begin_ns,        &Operation::end_ns,
    &Operation::argument, &Operation::if_version,      &Operation::observed,
    &Operation::version,  &Operation::expires_from_ns, &Operation::expires_until_ns,
};
static_assert(std::size(kWords) * 8 + 8 == kOperationBytes);

void write_operation(ByteWriter& to, const Operation& operation) {
  for (const auto word : kWords) to.number(operation.*word);
  to.number(operation.process);
  to.number(static_cast<uint8_t>(operation.kind)).number(static_cast<uint8_t>(operation.status));
  to.number(static_cast<uint8_t>(operation.when)).number(static_cast<uint8_t>(operation.number));
}

/// Empty, or what an operation cannot be.
[[nodiscard]] std::string_view read_operation(ByteReader& from, Operation& operation) {
  for (const auto word : kWords) operation.*word = from.number<uint64_t>();
  operation.process = from.number<uint32_t>();
  const auto kind = from.number<uint8_t>();
  const auto status = from.number<uint8_t>();
  const auto when = from.number<uint8_t>();
  const auto number = from.number<uint8_t>();
  if (kind >= kKindCount) return "no such kind";
  if (status >= kStatusCount) return "no such status";
  if (when >= kWhenCount) return "no such condition";
  if (number > 1) return "`number` is neither 0 nor 1";
  if (operation.begin_ns > operation.end_ns) return "it ends before it begins";
  if (operation.expires_from_ns > operation.expires_until_ns) return "its life ends before itself";
  operation.kind = static_cast<Kind>(kind);
  operation.status = static_cast<Status>(status);
  operation.when = static_cast<When>(when);
  operation.number = number == 1;
  return {};
}

struct Close {
  void operator()(FILE* file) const { (void)std::fclose(file); }
};
using File = std::unique_ptr<FILE, Close>;

[[nodiscard]] Failure file_failure(const std::string& path, const char* what) {
  return {fmt::format("{}: {}: {}", path, what, std::strerror(errno))};
}

}  // namespace

std::string_view to_string(Kind kind) noexcept {
  constexpr std::string_view kNames[kKindCount] = {"get", "put",   "del",  "exists",
                                                   "add", "touch", "wipe", "death"};
  const auto index = static_cast<uint8_t>(kind);
  return index < kKindCount ? kNames[index] : std::string_view("invalid_kind");
}

void History::merge(const History& other) {
  operations_.insert(operations_.end(), other.operations_.begin(), other.operations_.end());
}

std::string to_bytes(const History& history) {
  ByteWriter bytes;
  bytes.raw(kMagic).number(kFileVersion).number(kOperationBytes);
  bytes.number(static_cast<uint64_t>(history.size()));
  for (const Operation& operation : history.operations()) write_operation(bytes, operation);
  bytes.number(hash_key(bytes.bytes()));
  return bytes.take();
}

Outcome<History> history_of(std::string_view bytes) {
  ByteReader reader(bytes);
  if (reader.raw(kMagic.size()) != kMagic) return Failure{"no history: it does not begin as one"};
  if (const auto version = reader.number<uint32_t>(); version != kFileVersion) {
    return Failure{
        fmt::format("a history of version {}, this program reads {}", version, kFileVersion)};
  }
  const auto operation_bytes = reader.number<uint32_t>();
  const auto count = reader.number<uint64_t>();
  if (!reader.whole() || operation_bytes != kOperationBytes) {
    return Failure{"no history: its head is broken"};
  }
  if (bytes.size() < kHeadBytes + kTailBytes ||
      count != (bytes.size() - kHeadBytes - kTailBytes) / kOperationBytes ||
      (bytes.size() - kHeadBytes - kTailBytes) % kOperationBytes != 0) {
    return Failure{
        fmt::format("{} B are no history of {} operations: cut off or grown", bytes.size(), count)};
  }
  const std::string_view checked = bytes.substr(0, bytes.size() - kTailBytes);
  ByteReader tail(bytes.substr(checked.size()));
  if (tail.number<uint64_t>() != hash_key(checked)) return Failure{"the checksum is wrong"};
  History history;
  history.reserve(count);
  for (uint64_t index = 0; index < count; ++index) {
    Operation operation;
    if (const std::string_view wrong = read_operation(reader, operation); !wrong.empty()) {
      return Failure{fmt::format("operation {}: {}", index, wrong)};
    }
    history.append(operation);
  }
  return history;
}

Outcome<void> save(const History& history, const std::string& path) {
  const File file(std::fopen(path.c_str(), "wb"));
  if (!file) return file_failure(path, "cannot be made");
  const std::string bytes = to_bytes(history);
  if (std::fwrite(bytes.data(), 1, bytes.size(), file.get()) != bytes.size() ||
      std::fflush(file.get()) != 0) {
    return file_failure(path, "cannot be written");
  }
  return {};
}

Outcome<History> load_history(const std::string& path) {
  const File file(std::fopen(path.c_str(), "rb"));
  if (!file) return file_failure(path, "cannot be opened");
  std::string bytes;
  char chunk[1 << 16];
  size_t got = 0;
  while ((got = std::fread(chunk, 1, sizeof(chunk), file.get())) > 0) bytes.append(chunk, got);
  if (std::ferror(file.get()) != 0) return file_failure(path, "cannot be read");
  Outcome<History> history = history_of(bytes);
  if (!history) return Failure{path + ": " + history.error};
  return history;
}

}  // namespace copykv::sim
