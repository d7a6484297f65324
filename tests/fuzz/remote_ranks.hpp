// SPDX-License-Identifier: Apache-2.0
// A rank in this thread: engine, store and copyrpc as in production, over the simulated fabric, and
// a client of the library whose operations are waited for by whoever takes the turns.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "daemon/job_card.hpp"
#include "daemon/rpc_network.hpp"
#include "sim/in_process_rank.hpp"
#include "tests/fuzz/input.hpp"

namespace copykv::fuzz {

inline constexpr uint32_t kValueBytesMax = 256 * 1024;

class FuzzRank {
 public:
  /// `memory` is used again and again.
  FuzzRank(std::unique_ptr<copyrpc::Fabric> fabric, ManualClock& clock, uint32_t rank,
           uint32_t ranks, StoreMemory& memory) {
    sim::InProcessDaemon::clean(memory);
    copyrpc::NodeOptions node;
    node.ring_bytes = 16 * 1024;  // three of the largest messages: full, and over its end, often
    node.calls_max = 256;
    node.call_timeout_ns = 300'000'000;
    sim::InProcessRank parts = sim::make_rank(
        rank, std::move(fabric), node,
        {.lanes_max = 4, .value_bytes_max = kValueBytesMax, .rank_count = ranks}, clock, memory);
    network_ = std::move(parts.network);
    daemon_ = std::move(parts.daemon);
    seat_ = daemon_->attach({0, 1, 8, kSlotPayloadBytesMin, 3 * kValueBytesMax});
    client_.emplace(daemon_->client(*seat_));
  }
  /// The client first, then whatever it stands on.
  ~FuzzRank() {
    client_.reset();
    daemon_.reset();
    network_.reset();
  }
  FuzzRank(const FuzzRank&) = delete;
  FuzzRank& operator=(const FuzzRank&) = delete;

  void turn() {
    (void)daemon_->turn();
    require(network_->node().is_valid(), "the algebra of a node's peers");
    require(daemon_->engine().is_valid(), "the engine's lists");
  }
  [[nodiscard]] RpcNetwork& network() { return *network_; }
  [[nodiscard]] copyrpc::Node& node() { return network_->node(); }
  [[nodiscard]] Store& store() { return daemon_->store(); }
  [[nodiscard]] Client& client() { return *client_; }

 private:
  std::unique_ptr<RpcNetwork> network_;
  std::unique_ptr<sim::InProcessDaemon> daemon_;
  std::unique_ptr<sim::Seat> seat_;
  std::optional<Client> client_;
};

/// `name` with what it takes to belong to that rank.
[[nodiscard]] inline std::string key_owned_by(uint32_t rank, uint32_t ranks, std::string name) {
  name += ' ';
  while (partition_of(hash_key(name)) % ranks != rank) ++name.back();
  return name;
}

}  // namespace copykv::fuzz
