// SPDX-License-Identifier: Apache-2.0
// Client processes of a simulated cluster: honest ones, whose every operation is recorded, and
// hostile ones, who write what they like into their memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sim/check/history.hpp"
#include "sim/cluster.hpp"

namespace copykv::sim {

/// What all clients of a run share.
struct Load {
  enum class Phase : uint8_t {
    storm,  ///< anything may fail
    calm,   ///< everything is whole again: nothing may
    over,   ///< no new operations
  };
  struct Key {
    std::string name;
    uint32_t owner = 0;
    bool counts = false;  ///< its values are numbers
    /// Its values may need room that a get asks for only when it has seen their size. Then what one
    /// client has in flight on the key does not keep its order.
    bool large = false;
  };

  Load(Cluster& in, uint32_t keys);

  Cluster& cluster;
  std::vector<Key> keys;
  std::vector<Operation> operations{};  ///< the history; times on the common clock
  Phase phase = Phase::storm;
  uint64_t operations_left = 0;  ///< in the storm
  uint64_t calm_from_ns = 0;
  uint64_t think_ns_max = 0;
  uint64_t large_one_in = 10;  ///< puts of keys with large values
  uint32_t next_process = 0;   ///< numbers in the history
  uint64_t by_status[kStatusCount] = {};
  uint64_t client_deaths = 0;
  uint64_t garbage_words = 0;
  std::string violation{};  ///< the first that a client has seen itself

  /// When an item with this life can vanish at the earliest: clocks may have jumped by then, which
  /// the end of the run sets right.
  [[nodiscard]] uint64_t earliest_end_ns(uint64_t ttl_ms) const {
    return cluster.clock.now_ns() + (ttl_ms - 1) * kNanosPerMilli;
  }

  void complain(std::string what) {
    if (violation.empty()) violation = std::move(what);
  }
};

class LoadClient final : public Process {
 public:
  LoadClient(Load& load, uint32_t rank, uint32_t queue_depth, uint64_t seed);
  ~LoadClient() override;

  [[nodiscard]] uint64_t step(uint64_t now_ns) override;

  /// Dies at the `passages`-th step of the protocol (COPYKV_FAULT_POINT) from now on, in the
  /// checked build; else before its next operation. Another process takes its place later.
  void doom(uint32_t passages) { doomed_ = passages; }
  /// Operations in the calm phase.
  void set_calm_quota(uint32_t operations) { calm_quota_ = operations; }
  [[nodiscard]] uint32_t process() const { return process_; }
  [[nodiscard]] bool is_idle() const { return in_flight_ == 0; }
  /// Has done its part of the calm phase.
  [[nodiscard]] bool is_content() const { return calm_done_ >= calm_quota_ && is_idle(); }

 private:
  struct Slot {
    bool busy = false;
    size_t operation = 0;
    uint64_t ttl_ms = 0;
  };
  void attach();
  void leave(uint64_t now_ns, bool by_death);
  void poll(uint64_t now_ns);
  void take(const Completion& completion, uint64_t now_ns);
  void check_value(Operation& operation, std::string_view value);
  [[nodiscard]] bool wants_more() const;
  void submit(uint64_t now_ns);
  [[nodiscard]] Status submit(Operation& operation, Slot& slot, uint64_t tag);
  void pass_step();

  Load& load_;
  Random random_;
  const uint32_t depth_;
  std::unique_ptr<Attachment> attachment_{};
  std::vector<Slot> slots_;
  uint32_t process_ = 0;
  uint32_t in_flight_ = 0;
  uint32_t calm_done_ = 0;
  uint32_t calm_quota_ = 0;
  uint64_t sequence_ = 0;
  uint64_t think_until_ns_ = 0;
  uint64_t last_version_ = 0;
  uint32_t doomed_ = 0;
  bool dead_ = false;
};

/// Scribbles over its own memory, and sends requests that were never meant to be.
class HostileClient final : public Process {
 public:
  HostileClient(Load& load, uint32_t rank, uint64_t until_ns, uint64_t seed)
      : Process(rank), load_(load), random_(seed), until_ns_(until_ns) {}
  ~HostileClient() override;

  [[nodiscard]] uint64_t step(uint64_t now_ns) override;
  [[nodiscard]] bool is_over() const { return over_; }

 private:
  /// Far enough for no slot to come to that number by itself.
  static constexpr uint32_t kStrangeStep = 1'000;

  void scribble();
  void change_after_publishing(uint64_t now_ns);
  void end();

  Load& load_;
  Random random_;
  const uint64_t until_ns_;
  std::unique_ptr<Attachment> attachment_{};
  bool over_ = false;
  uint32_t changed_slot_ = 0;
  uint32_t changed_seq_ = 0;
  uint64_t change_at_ns_ = kNever;
  bool watching_ = false;
};

}  // namespace copykv::sim
