// SPDX-License-Identifier: Apache-2.0
// Whole ranks in one thread: the real engine, store and copyrpc of each, over a simulated network
// and one clock, with a client of the real library at each rank.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "copyrpc/fabric/sim/sim_fabric.hpp"
#include "daemon/job_card.hpp"
#include "daemon/rpc_network.hpp"
#include "sim/in_process_rank.hpp"

namespace copykv::test {

class RanksScene {
 public:
  struct Options {
    uint32_t ranks = 2;
    uint32_t depth = 16;
    copyrpc::SimOptions sim{};
    copyrpc::NodeOptions node{};
    uint64_t memory_bytes = uint64_t{64} << 20;
    /// What the engine of a rank is given instead of its network.
    std::function<Network&(uint32_t rank, RpcNetwork&)> through{};
  };
  explicit RanksScene(const Options& options);
  ~RanksScene();

  /// Every rank takes a turn, and time moves on.
  void step(uint64_t by_ns = 500);
  /// Until every client's operations have ended; false after 5 s of virtual time.
  [[nodiscard]] bool settle();
  void run_ms(uint64_t virtual_ms);
  [[nodiscard]] bool connected() const;

  /// One operation, from submit to its end.
  [[nodiscard]] Result get(uint32_t rank, const std::string& key);
  Result put(uint32_t rank, const std::string& key, const std::string& value,
             const PutOptions& options = {});
  Result del(uint32_t rank, const std::string& key);
  Result add(uint32_t rank, const std::string& key, int64_t delta);
  Result exists(uint32_t rank, const std::string& key);
  Result touch(uint32_t rank, const std::string& key, uint32_t ttl_ms);

  /// As kill -9 of the daemon; its client is gone too.
  void kill(uint32_t rank);
  void restart(uint32_t rank);
  /// A key that this rank owns: `name` with a number.
  [[nodiscard]] std::string key_of(uint32_t rank, const std::string& name) const;

  struct Rank {
    std::unique_ptr<RpcNetwork> network;
    std::unique_ptr<StoreMemory> memory;
    std::unique_ptr<sim::InProcessDaemon> daemon;
    std::unique_ptr<sim::Seat> seat;
    std::unique_ptr<Client> client;
    uint64_t incarnation = 0;
    uint64_t in_flight = 0;
    std::vector<std::pair<uint64_t, Status>> ends;  ///< of what was submitted by hand
    std::vector<std::string> values;                ///< of the ends
    std::string value;                              ///< of the last end
    Result last{};
  };
  [[nodiscard]] Rank& rank(uint32_t number) { return ranks_[number]; }
  [[nodiscard]] Client& client(uint32_t number) { return *ranks_[number].client; }
  [[nodiscard]] DaemonBlock& block(uint32_t number) { return ranks_[number].daemon->block(); }

  ManualClock clock{1'000'000'000};
  copyrpc::SimNetwork network;

 private:
  void start(uint32_t number);
  void introduce(uint32_t number);
  Result end_of(uint32_t rank, Status submitted);

  const Options options_;
  Routing routing_of_0_;
  std::vector<Rank> ranks_;
};

}  // namespace copykv::test
