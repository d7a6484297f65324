// SPDX-License-Identifier: Apache-2.0
// The engine's network, with an eye on it: counts what a turn does, and tells an observer.
#pragma once

#include <functional>
#include <vector>

#include "daemon/rpc_network.hpp"
#include "sim/observer.hpp"

namespace copykv::sim {

class ObservedNetwork final : public Network {
 public:
  /// `observer` may be nullptr. Both must outlive it.
  ObservedNetwork(RpcNetwork& network, uint32_t rank, Observer* observer)
      : network_(network), rank_(rank), observer_(observer) {}

  /// Whose owners (by index) these are. Before the first turn.
  void set_owners(const RankHeader& header) noexcept { header_ = &header; }
  /// Since the last call: answers, inbound and calls are filled.
  [[nodiscard]] Turn take_work() noexcept { return std::exchange(work_, Turn{}); }

  Sent call(const Pending& request) noexcept override;
  uint32_t call_plain(std::span<const Pending> requests, Sent& sent) noexcept override;
  uint32_t take_answers(std::span<RemoteAnswer> answers) noexcept override;
  uint32_t take_requests(std::span<RemoteRequest> requests) noexcept override;
  void put_back(uint32_t index) noexcept override;
  void reply_plain(std::span<const RemoteRequest> requests) noexcept override;
  void reply(const RemoteRequest& request, const StoreAnswer& answer,
             uint32_t value_bytes) noexcept override;
  bool move(const RemoteRequest& request, uint32_t move, std::byte* memory,
            uint32_t bytes) noexcept override;
  uint32_t take_moved(std::span<MoveEnd> ends) noexcept override {
    return network_.take_moved(ends);
  }
  void reply_moved(uint32_t move, const StoreAnswer& answer) noexcept override;
  void set_peer(const copyrpc::Card& card) noexcept override { network_.set_peer(card); }
  void flush() noexcept override { network_.flush(); }
  void tick(uint64_t now_ns) noexcept override { network_.tick(now_ns); }
  bool busy() const noexcept override { return network_.busy(); }
  void show(DaemonBlock& block) const noexcept override { network_.show(block); }

 private:
  void tell_call(const Pending& request) noexcept;

  RpcNetwork& network_;
  const uint32_t rank_;
  Observer* const observer_;
  const RankHeader* header_ = nullptr;
  uint32_t taken_ = 0;  ///< requests of the last take_requests
  Turn work_{};
};

}  // namespace copykv::sim
