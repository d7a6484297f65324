// SPDX-License-Identifier: Apache-2.0
// copykv load FILE: stores the records of a file, many puts in flight.
//
// A malformed line stops everything: it is named, nothing after it is stored, all before it is. A
// put that the daemon refuses (no space, a key too long) is counted and the rest goes on.
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/units.hpp"
#include "tools/copykv/json_lines.hpp"
#include "tools/copykv/line_reader.hpp"
#include "tools/copykv/session.hpp"

namespace copykv::tools {
namespace {

constexpr uint32_t kInFlightMax = 64;

class Loader {
 public:
  explicit Loader(const Common& common) : common_(common), client_(attach(common, kInFlightMax)) {
    free_.resize(kInFlightMax);
    std::iota(free_.begin(), free_.end(), 0U);
  }

  [[nodiscard]] uint64_t line_bytes_max() const {
    // A byte may be written as six characters, \u001f; the rest is for the field names.
    return 6 * (client_.info().value_bytes_max + 1024) + 1024;
  }

  void put(Record&& record, std::string place) {
    while (free_.empty()) take();
    const uint32_t index = free_.back();
    free_.pop_back();
    Pending& pending = pending_[index];
    pending = {std::move(record.key), std::move(place), record.value.size()};
    const PutOptions options{.flags = record.flags};
    Status status = client_.submit_put(pending.key, record.value, index, options);
    while (status == Status::would_block && client_.in_flight() > 0) {
      take();
      status = client_.submit_put(pending.key, record.value, index, options);
    }
    if (status != Status::ok) end(index, {.status = status});
  }

  void drain() {
    while (client_.in_flight() > 0) take();
  }

  [[nodiscard]] uint64_t loaded() const noexcept { return loaded_; }
  [[nodiscard]] uint64_t loaded_bytes() const noexcept { return loaded_bytes_; }
  [[nodiscard]] uint64_t errors() const noexcept { return errors_; }
  /// "FILE:LINE: what", empty without errors.
  [[nodiscard]] const std::string& first_error() const noexcept { return first_error_; }

 private:
  struct Pending {
    std::string key;
    std::string place;  // "FILE:LINE"
    uint64_t value_bytes = 0;
  };

  void take() {
    std::array<Completion, kInFlightMax> done;
    const size_t taken = client_.wait(done, common_.timeout_ms());
    if (taken == 0) throw Failed(Exit::error, no_answer_line("load", common_));
    for (size_t i = 0; i < taken; ++i) end(static_cast<uint32_t>(done[i].tag), done[i].result);
  }

  void end(uint32_t index, const Result& result) {
    const Pending& pending = pending_[index];
    free_.push_back(index);
    if (result.ok()) {
      ++loaded_;
      loaded_bytes_ += pending.key.size() + pending.value_bytes;
      return;
    }
    const Failed failed = failure_of(result, pending.key);
    const std::string line = fmt::format("{}: {}", pending.place, failed.what());
    if (failed.exit() == Exit::no_daemon) {
      throw Failed(failed.exit(), fmt::format("{}; {} records are loaded", line, loaded_));
    }
    if (errors_++ == 0) first_error_ = line;
  }

  const Common& common_;
  Client client_;
  std::array<Pending, kInFlightMax> pending_{};
  std::vector<uint32_t> free_{};  // indices of pending_, which are the tags
  uint64_t loaded_ = 0;
  uint64_t loaded_bytes_ = 0;
  uint64_t errors_ = 0;
  std::string first_error_{};
};

struct Arguments {
  std::string file;
  bool base64 = false;
};

Exit run(const Common& common, const Arguments& arguments) {
  const SystemClock clock;
  const uint64_t begin_ns = clock.now_ns();
  Loader loader(common);
  auto reader = LineReader::open(arguments.file, loader.line_bytes_max());
  if (!reader) throw Failed(Exit::error, reader.error);
  const Encoding encoding = arguments.base64 ? Encoding::base64 : Encoding::utf8;
  for (;;) {
    const auto line = reader->next();
    if (line && line->data() == nullptr) break;
    auto record = line ? parse_record(*line, encoding) : Outcome<Record>(Failure{line.error});
    if (!record) {
      loader.drain();
      throw Failed(Exit::error, fmt::format("{}: {}; {} records before it are loaded, none after",
                                            reader->place(), record.error, loader.loaded()));
    }
    loader.put(std::move(*record), reader->place());
  }
  loader.drain();
  fmt::print(stderr, "loaded {} records, {} of keys and values, {} errors, in {}\n",
             format_count(loader.loaded()), round_bytes(loader.loaded_bytes()),
             format_count(loader.errors()), round_duration(clock.now_ns() - begin_ns));
  if (loader.errors() > 0) throw Failed(Exit::error, loader.first_error());
  return Exit::done;
}

}  // namespace

void add_load(Commands& commands) {
  auto arguments = std::make_shared<Arguments>();
  Command command =
      commands.add("load", R"(store the records of a file: {"key": "...", "value": "..."} a line)",
                   [arguments](const Common& common) { return run(common, *arguments); });
  command.argument("FILE", arguments->file, "the file; - reads stdin");
  command.flag("--base64", arguments->base64, "keys and values are base64");
}

}  // namespace copykv::tools
