// SPDX-License-Identifier: Apache-2.0
// One endpoint of a SimNetwork.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>

#include "copyrpc/fabric/sim/sim_fabric.hpp"

namespace copyrpc {

class SimEndpoint final : public Fabric {
 public:
  SimEndpoint(SimNetwork& network, uint32_t number, const SimOptions& options);
  ~SimEndpoint() override;

  [[nodiscard]] std::string_view name() const noexcept override { return "sim"; }
  [[nodiscard]] const FabricLimits& limits() const noexcept override { return limits_; }
  [[nodiscard]] std::string address() const override;
  [[nodiscard]] copykv::Outcome<Memory> register_memory(std::byte* base, uint64_t bytes,
                                                        Access access) override;
  void deregister(Memory& memory) override;
  [[nodiscard]] copykv::Outcome<void> connect(PeerId peer, std::string_view address) override;
  void disconnect(PeerId peer) override;
  [[nodiscard]] Posted write(PeerId peer, const LocalPart& from, const RemoteMemory& to,
                             uint64_t context) noexcept override;
  [[nodiscard]] Posted write_immediate(PeerId peer, const LocalPart& from, const RemoteMemory& to,
                                       uint32_t immediate, uint64_t context) noexcept override;
  [[nodiscard]] Posted read(PeerId peer, const LocalPart& to, const RemoteMemory& from,
                            uint64_t context) noexcept override;
  void submit() noexcept override {}
  [[nodiscard]] uint32_t poll(std::span<Completion> completions) noexcept override;
  [[nodiscard]] int wait_fd() const noexcept override { return -1; }
  [[nodiscard]] bool arm() noexcept override { return completions_.empty(); }

  // For the network.
  [[nodiscard]] uint32_t unpolled() const noexcept { return unpolled_; }
  [[nodiscard]] bool is_linked(uint64_t link) const;
  void arrive(uint32_t immediate);
  /// Whether there is something new to poll.
  bool end_post(uint64_t link, PeerId peer, uint64_t context, int error);
  void overrun();

 private:
  struct Link {
    uint64_t id = 0;
    uint32_t endpoint = 0;
    bool down = false;
    std::multiset<uint64_t> contexts;  ///< of posts in flight
  };
  [[nodiscard]] Posted post(PeerId peer, const LocalPart& local, SimNetwork::Post post);
  void take_down(PeerId peer, Link& link, int error);

  SimNetwork& network_;
  const uint32_t number_;
  FabricLimits limits_{};
  std::map<PeerId, Link> links_;
  std::deque<Completion> completions_;
  uint32_t unpolled_ = 0;  ///< immediates in completions_
};

}  // namespace copyrpc
