// SPDX-License-Identifier: Apache-2.0
// copykv dump: every key of the job with its value and flags, in no order, as `load` takes them.
//
// Two attachments: one enumerates, the other reads the values meanwhile, so that the memory needed
// does not grow with the number of keys. Expiry is not part of the format: a loaded key lives for
// ever. A key put or deleted during the dump may or may not be in it; while the map grows, a key
// may appear twice, with values that are equal unless it was put in between.
#include <fmt/format.h>

#include <array>
#include <memory>
#include <numeric>
#include <vector>

#include "tools/copykv/json_lines.hpp"
#include "tools/copykv/session.hpp"
#include "tools/copykv/time_limit.hpp"

namespace copykv::tools {
namespace {

constexpr uint32_t kInFlightMax = 64;

class Dumper {
 public:
  Dumper(const Common& common, Encoding encoding)
      : common_(common), encoding_(encoding), client_(attach(common, kInFlightMax)) {
    free_.resize(kInFlightMax);
    std::iota(free_.begin(), free_.end(), 0U);
  }

  [[nodiscard]] bool is_full() const noexcept { return free_.empty(); }

  /// Begins to read a value. Not when it is full.
  void read(std::string_view key) {
    const uint32_t index = free_.back();
    free_.pop_back();
    keys_[index] = key;
    Status status = client_.submit_get(keys_[index], index);
    while (status == Status::would_block && client_.in_flight() > 0) {
      take();
      status = client_.submit_get(keys_[index], index);
    }
    if (status != Status::ok) throw failure_of({.status = status}, key);
  }

  /// Waits for values and writes them.
  void take() {
    std::array<Completion, kInFlightMax> done;
    const size_t taken = client_.wait(done, common_.timeout_ms());
    if (taken == 0) throw Failed(Exit::error, no_answer_line("dump", common_));
    for (size_t i = 0; i < taken; ++i) {
      write(keys_[done[i].tag], done[i].result);
      free_.push_back(static_cast<uint32_t>(done[i].tag));
    }
  }

  void drain() {
    while (client_.in_flight() > 0) take();
  }

 private:
  void write(std::string_view key, const Result& result) {
    if (result.status == Status::not_found) return;  // deleted or expired since it was enumerated
    if (!result.ok()) throw failure_of(result, key);
    const auto line = format_record(key, result.value, result.flags, encoding_);
    if (!line) {
      throw Failed(Exit::error,
                   fmt::format("key '{}' or its value is no UTF-8 and cannot be written as plain "
                               "JSON; the dump is incomplete ({} records), use --base64",
                               show_key(key), written_));
    }
    write_out(*line);
    ++written_;
  }

  const Common& common_;
  Encoding encoding_;
  Client client_;
  std::array<std::string, kInFlightMax> keys_{};
  std::vector<uint32_t> free_{};  // indices of keys_, which are the tags
  uint64_t written_ = 0;
};

Exit run(const Common& common, bool base64) {
  Client enumerator = attach(common);
  Dumper dumper(common, base64 ? Encoding::base64 : Encoding::utf8);
  const TimeLimit limit(common.timeout_ns, no_answer_line("dump", common));
  const Status status = enumerator.for_each_key([&](std::string_view key) {
    if (dumper.is_full()) {
      // Not the enumeration's time: a get has its own limit, and our reader may be slow.
      limit.pause();
      dumper.take();
      limit.restart();
    }
    dumper.read(key);
  });
  limit.pause();
  if (status != Status::ok) throw failure_of({.status = status}, {});
  dumper.drain();
  flush_out();
  return Exit::done;
}

}  // namespace

void add_dump(Commands& commands) {
  auto base64 = std::make_shared<bool>(false);
  Command command = commands.add("dump", "print every record of the job, as load takes it",
                                 [base64](const Common& common) { return run(common, *base64); });
  command.flag("--base64", *base64, "keys and values in base64, for bytes that are no UTF-8");
}

}  // namespace copykv::tools
