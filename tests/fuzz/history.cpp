// SPDX-License-Identifier: Apache-2.0
// Files of histories: no bytes may crash who reads and judges them; what is accepted is kept as it
// is, and the verdict on it is the same each time.
#include <cstring>

#include "base/hash.hpp"
#include "sim/check/calls.hpp"
#include "sim/check/linearizability.hpp"
#include "tests/fuzz/input.hpp"

namespace {

using namespace copykv;
using fuzz::require;

constexpr uint64_t kStatesMax = 2'000;

/// A file around these operations whose head and checksum are right.
std::string sealed(std::string_view operations) {
  std::string bytes = sim::to_bytes({});
  constexpr size_t kTailBytes = 8;
  constexpr size_t kOperationBytes = sizeof(sim::Operation);
  constexpr size_t kCountAt = 16;
  const uint64_t count = operations.size() / kOperationBytes;
  bytes.resize(bytes.size() - kTailBytes);
  std::memcpy(bytes.data() + kCountAt, &count, sizeof(count));
  bytes += operations.substr(0, count * kOperationBytes);
  const uint64_t check = hash_key(bytes);
  bytes.append(reinterpret_cast<const char*>(&check), sizeof(check));
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  fuzz::Input input(data, bytes);
  const bool whole = input.take<uint8_t>() % 4 != 0;
  const std::string text = input.text(input.rest().size());
  const auto history = sim::history_of(whole ? sealed(text) : text);
  if (!history) {
    require(!history.error.empty(), "a refusal has a reason");
    return 0;
  }
  const auto again = sim::history_of(sim::to_bytes(*history));
  require(again && again->operations() == history->operations(), "a history survives being kept");
  (void)sim::check_calls_end(*history);
  (void)sim::check_versions(*history, [](uint64_t key) { return key % 4; });
  const sim::CheckOptions options{.states_max = kStatesMax};
  const sim::Verdict verdict = sim::check_linearizability(*history, options);
  require(verdict.story == sim::check_linearizability(*again, options).story,
          "a verdict is the same each time");
  require(verdict.outcome != sim::Verdict::Outcome::violation || !verdict.story.empty(),
          "a violation has a story");
  return 0;
}
