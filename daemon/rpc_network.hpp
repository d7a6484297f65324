// SPDX-License-Identifier: Apache-2.0
// The engine's Network over copyrpc: requests become calls, answers find their tickets, large
// values move between a client's memory here and the arena there by one-sided reads and writes of
// the owner.
//
// THREADS  The daemon thread, but for create.
// ENDS     A call that copyrpc could not finish: a read ends as unreachable; a write that may have
//   been served as indeterminate, one that certainly was not as unreachable.
// MEMORY   The memory of a client that a large value comes from or goes to is registered for that
//   one call, with a key of its own, and deregistered before its end is told: whatever the owner
//   still does afterwards cannot touch what the client may have reused.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "base/clock.hpp"
#include "copyrpc/node.hpp"
#include "daemon/network.hpp"
#include "daemon/remote_wire.hpp"

namespace copykv {

class RpcNetwork final : public Network {
 public:
  /// `arena` is what large values are moved from and to.
  [[nodiscard]] static Outcome<std::unique_ptr<RpcNetwork>> create(
      std::unique_ptr<copyrpc::Fabric> fabric, const copyrpc::NodeOptions& options,
      const Clock& clock, std::span<std::byte> arena);
  ~RpcNetwork() override;

  [[nodiscard]] copyrpc::Node& node() noexcept { return *node_; }
  /// Owners by index (RankHeader::owners): which node each is. Before the thread starts.
  void set_owners(std::vector<copyrpc::PeerId> nodes) { owners_ = std::move(nodes); }

  /// The next turn looks whether peers want something: after a sleep, or instead of one.
  void poll_next_turn() noexcept { turns_ = kTurnsPerIdlePoll - 1; }
  /// The node that made a request of the last take_requests.
  [[nodiscard]] copyrpc::PeerId caller_of(const RemoteRequest& request) const noexcept {
    return calls_[request.index].peer;
  }
  /// The node of an owner, by its index; kNoPeer: there is none.
  [[nodiscard]] copyrpc::PeerId node_of(uint32_t owner) const noexcept {
    return owner < owners_.size() ? owners_[owner] : copyrpc::kNoPeer;
  }
  /// What the caller has marked a request of the last take_requests with; 0: nothing.
  [[nodiscard]] uint64_t mark_of(const RemoteRequest& request) const noexcept {
    const bool may_be =
        request.path != Path::general || can_be_marked(request.op, request.condition);
    return may_be ? load_word(calls_[request.index].payload + offsetof(RemoteRequestHead, argument))
                  : 0;
  }
  /// Whether the next take_answers asks the fabric what has come.
  [[nodiscard]] bool looks_next_turn() const noexcept {
    return !fabric_->limits().poll_is_system_call || (turns_ + 1) % kTurnsPerIdlePoll == 0 ||
           busy();
  }
  /// Where the round-trip times of calls are counted.
  void record_rtt_in(PhaseHistogram& histogram) noexcept { rtt_ = &histogram; }

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
  uint32_t take_moved(std::span<MoveEnd> ends) noexcept override;
  void reply_moved(uint32_t move, const StoreAnswer& answer) noexcept override;
  void set_peer(const copyrpc::Card& card) noexcept override { node_->set_peer(card); }
  /// Tells the peers to call no more; serves what they have called.
  void leave() noexcept { node_->leave(); }
  void flush() noexcept override { node_->flush(); }
  void tick(uint64_t now_ns) noexcept override { node_->tick(now_ns); }
  bool busy() const noexcept override { return node_->busy() || moves_busy_ > 0; }
  void show(DaemonBlock& block) const noexcept override;

 private:
  // A poll that is a system call costs as much as fifty idle turns: when nothing is on its way, one
  // turn in so many looks.
  static constexpr uint32_t kTurnsPerIdlePoll = 16;

  RpcNetwork() = default;
  struct Descriptor {
    copyrpc::Memory memory{};
    uint32_t next_free = 0;
  };
  template <Op op>
  [[nodiscard]] Sent send_plain(copyrpc::Peer& peer, const Pending& request) noexcept;
  [[nodiscard]] copyrpc::Peer* peer_of(uint32_t owner) noexcept {
    return owner < owners_.size() ? node_->callee(owners_[owner]) : nullptr;
  }
  [[nodiscard]] Sent describe(const Pending& request, uint32_t& descriptor) noexcept;
  void release_descriptor(uint32_t descriptor) noexcept;
  [[nodiscard]] bool take_answer(const copyrpc::Answer& answer, RemoteAnswer& to) noexcept;
  [[nodiscard]] bool take_general(copyrpc::CallTag tag, copyrpc::CallEnd end, copyrpc::PeerId peer,
                                  std::span<const std::byte> payload, RemoteAnswer& to) noexcept;
  [[nodiscard]] static bool decode_plain(const copyrpc::Answer& answer, RemoteAnswer& to) noexcept;
  [[nodiscard]] bool decode_answer(Op op, uint32_t descriptor, std::span<const std::byte> payload,
                                   RemoteAnswer& to) noexcept;
  [[nodiscard]] bool decode(const std::byte* payload, uint32_t payload_bytes,
                            uint32_t answer_bytes_max, uint32_t index, RemoteRequest& to) noexcept;
  [[nodiscard]] bool decode_general(const std::byte* payload, uint32_t payload_bytes,
                                    uint32_t index, RemoteRequest& to) noexcept;
  [[nodiscard]] bool take_key(const std::byte* from, uint32_t bytes, uint32_t index,
                              RemoteRequest& to) noexcept;
  void send_reply(const copyrpc::InboundCall& call, const StoreAnswer& answer, bool in_room,
                  uint32_t value_bytes) noexcept;
  void advance_moves() noexcept;

  std::unique_ptr<copyrpc::Fabric> fabric_;
  std::unique_ptr<copyrpc::Node> node_;
  copyrpc::Memory arena_{};
  std::vector<copyrpc::PeerId> owners_;
  uint32_t turns_ = 0;
  uint32_t answer_reserve_bytes_ = 0;  ///< room for a value in the answer of a get
  PhaseHistogram* rtt_ = nullptr;

  std::vector<Descriptor> descriptors_;
  uint32_t free_descriptor_ = 0;

  // Requests of the last take_requests.
  uint32_t taken_ = 0;
  std::array<copyrpc::InboundCall, kGroupMax> calls_{};
  std::array<copyrpc::RemoteMemory, kGroupMax> call_memory_{};
  struct alignas(kCacheLineBytes) KeyRoom {
    std::byte bytes[kKeyBytesMax];
  };
  std::vector<KeyRoom> key_rooms_;

  /// A large value on its way, in pieces.
  struct Moving {
    copyrpc::InboundCall call{};
    Op op = Op::get;
    copyrpc::RemoteMemory remote{};
    uint64_t arena_offset = 0;
    uint32_t bytes = 0;
    uint32_t posted_bytes = 0;
    uint32_t pieces_out = 0;
    bool active = false;
    bool failed = false;
    bool told = false;
  };
  std::array<Moving, kMovesMax> moving_{};
  uint32_t moves_busy_ = 0;  ///< active and not told
};

}  // namespace copykv
