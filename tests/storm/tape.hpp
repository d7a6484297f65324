// SPDX-License-Identifier: Apache-2.0
// What clients write down of their operations, for the checker: in memory that outlives them.
//
//   Tapes tapes(kWorkers);
//   TapedClient client(attach_to(daemon), tapes[worker], process);
//   client.put(key, value_bytes);                      // records of tests/storm/record.hpp
//   ...
//   expect_in_order(tapes.history(), "kill_clients");
//
// A tape has one writer at a time, which may be killed at any moment: an operation counts as ended
// once its end_ns stands there, and that is written last. Whoever is killed must be entered with
// `died`, or its open operations are calls that never ended.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <copykv/client.hpp>

#include "base/random.hpp"
#include "sim/check/history.hpp"

namespace copykv::storm {

class Tape {
 public:
  /// Before the operation is submitted. Returns the place for `end`.
  size_t begin(const sim::Operation& operation);
  void end(size_t at, const sim::Ending& ending) noexcept;
  void died(uint32_t process, uint64_t now_ns);

  [[nodiscard]] const sim::Operation& operator[](size_t at) const { return operations_[at]; }
  [[nodiscard]] std::span<const sim::Operation> operations() const noexcept;

 private:
  friend class Tapes;
  uint64_t count_ = 0;
  uint64_t room_ = 0;
  sim::Operation* operations_ = nullptr;
};

/// Tapes in memory that child processes share.
class Tapes {
 public:
  explicit Tapes(uint32_t count, uint64_t operations_each = 8'000'000);
  Tapes(const Tapes&) = delete;
  Tapes& operator=(const Tapes&) = delete;
  ~Tapes();

  [[nodiscard]] Tape& operator[](uint32_t index) noexcept { return tapes_[index]; }
  [[nodiscard]] sim::History history() const;

 private:
  uint32_t count_;
  uint64_t bytes_;
  Tape* tapes_;
};

/// A put of the record that write_record makes of the same words.
[[nodiscard]] sim::Operation put_of(uint64_t key, uint32_t process, uint64_t sequence,
                                    uint64_t now_ns);
[[nodiscard]] sim::Operation asking(sim::Kind kind, uint64_t key, uint32_t process,
                                    uint64_t now_ns);

/// What the answer tells the checker. `wrong`: what is wrong with the value itself, else empty.
[[nodiscard]] sim::Ending ending_of(const sim::Operation& asked, const Result& result,
                                    uint64_t now_ns, std::string& wrong);

/// A client whose operations stand on a tape. One thread at a time.
class TapedClient {
 public:
  TapedClient(Client client, Tape& tape, uint32_t process)
      : client_(std::move(client)), tape_(tape), process_(process) {}

  Status put(uint64_t key, size_t value_bytes);
  Status get(uint64_t key);
  Status del(uint64_t key);
  Status exists(uint64_t key);
  /// One of them: half of them gets, a third puts.
  Status any(uint64_t key, size_t value_bytes, Random& random);

  [[nodiscard]] Client& client() noexcept { return client_; }
  /// Empty, or the first value that was no whole record of its key.
  [[nodiscard]] const std::string& wrong() const noexcept { return wrong_; }

 private:
  Status ended(size_t at, const Result& result);

  Client client_;
  Tape& tape_;
  uint32_t process_;
  uint64_t sequence_ = 0;
  std::string value_{};
  std::string wrong_{};
};

}  // namespace copykv::storm
