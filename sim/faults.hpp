// SPDX-License-Identifier: Apache-2.0
// What goes wrong in a simulated cluster, by seed: which kinds of faults, when, and to whom.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "sim/workload.hpp"

namespace copykv::sim {

#define COPYKV_FAULTS(fault)                                                                       \
  fault(delay, "messages late by up to 50 us") fault(                                              \
      reorder, "messages to different peers, and reads and writes, overtake each other")           \
      fault(not_ready, "a receiver without receive entries: the sender tries again, or fails")     \
          fault(queue_error, "a send queue breaks, with everything behind it") fault(              \
              overrun, "a completion queue overruns: all connections of a rank are gone")          \
              fault(cut, "a link passes nothing for a while") fault(                               \
                  slow_rank, "a rank works at a fraction of its speed")                            \
                  fault(paused_rank, "a rank stands still, and goes on") fault(                    \
                      rank_death, "a rank dies with all it has stored, and starts again")          \
                      fault(client_death, "a client dies between two steps of an operation")       \
                          fault(client_garbage, "a client writes what it likes into its memory")   \
                              fault(clock_jump, "a rank's clock jumps ahead by up to 3 s") fault(  \
                                  memory_full, "little memory and large values: puts are refused") \
                                  fault(late_completion,                                           \
                                        "a send is reported long after it was through")            \
                                      fault(duplicate_completion, "an arrival is reported twice")  \
                                          fault(partial_write,                                     \
                                                "some bytes of a message are there before the "    \
                                                "rest") fault(store_order,                         \
                                                              "stores to shared memory become "    \
                                                              "visible late, and out of order")    \
                                              fault(sleep,                                         \
                                                    "daemons go to sleep after 3 us without work")

enum class Fault : uint8_t {
#define COPYKV_FAULT_ENUM(name, what) name,
  COPYKV_FAULTS(COPYKV_FAULT_ENUM)
#undef COPYKV_FAULT_ENUM
};
inline constexpr uint32_t kFaultCount = 18;

struct FaultInfo {
  std::string_view name;
  std::string_view what;
};
[[nodiscard]] const std::array<FaultInfo, kFaultCount>& fault_infos();

/// A set of kinds.
using FaultSet = uint32_t;
inline constexpr FaultSet kAllFaults = (1U << kFaultCount) - 1;
[[nodiscard]] constexpr FaultSet only(Fault fault) {
  return 1U << static_cast<uint32_t>(fault);
}
[[nodiscard]] constexpr bool has(FaultSet set, Fault fault) {
  return (set & only(fault)) != 0;
}
/// "all", "none", or names with commas.
[[nodiscard]] Outcome<FaultSet> parse_faults(std::string_view text);
[[nodiscard]] std::string to_string(FaultSet faults);

/// Makes faults happen while a load runs. Outlives the run.
class FaultInjector {
 public:
  FaultInjector(Cluster& cluster, Load& load, FaultSet faults, uint64_t seed);

  /// `clients`: the processes that may die.
  void begin(std::vector<uint32_t> clients, uint64_t interval_ns);
  /// Nothing goes wrong any more, and everything that was broken is whole again, or will soon be.
  void end();
  /// After end: whether everything is repaired.
  [[nodiscard]] bool is_whole() const;

  /// All jumps of all clocks: what expires may do so that much earlier.
  [[nodiscard]] uint64_t jumped_ns() const { return jumped_ns_; }
  [[nodiscard]] uint64_t count(Fault fault) const;
  [[nodiscard]] std::array<uint64_t, kFaultCount> counts() const;

 private:
  void schedule(Fault fault);
  void strike(Fault fault);
  void kill_rank();
  void cut_link();
  [[nodiscard]] uint32_t some_rank() {
    return static_cast<uint32_t>(random_.below(cluster_.ranks()));
  }
  /// Lasts so long from now.
  uint64_t lasts(uint64_t ns) {
    whole_ns_ = std::max(whole_ns_, cluster_.clock.now_ns() + ns);
    return cluster_.clock.now_ns() + ns;
  }
  void note(Fault fault) { ++counts_[static_cast<uint32_t>(fault)]; }

  Cluster& cluster_;
  Load& load_;
  const FaultSet faults_;
  Random random_;
  std::vector<uint32_t> clients_{};
  std::vector<uint32_t> hostile_{};
  uint64_t interval_ns_ = 0;
  bool active_ = false;
  std::array<uint64_t, kFaultCount> counts_{};
  uint64_t whole_ns_ = 0;          ///< when the last repair is done
  std::vector<uint64_t> died_ns_;  ///< of each rank; 0: it lives
  uint64_t jumped_ns_ = 0;
};

}  // namespace copykv::sim
