// SPDX-License-Identifier: Apache-2.0
// Posts to many peers over a few DC initiators.
//
// A FLOW is what goes to one connection (the side channel's slot). Its posts wait in a queue of its
// own. submit gives each flow in turn a share of an initiator's send queue, so that what is for one
// target lies together there: changing the target costs an initiator time. Each initiator that got
// something rings once, and the last request of a ring is the signalled one.
//
// INVARIANTS
//   I1  All that a flow has in flight is in one initiator: F1 holds within that. A flow with
//   nothing
//       in flight may take any.
//   I2  in_flight of an initiator <= depth, and its last request is signalled: it never fills up
//       with work whose end nobody is told.
//   I3  Every post is free, waits in its flow, or is in one initiator's ring.
//
// A SHARED INITIATOR FAILS   The first completion with an error names the post, and so the culprit.
//   An initiator sends in order and to one target at a time:
//     before the post          done: to whomever it was
//     the post                 failed, with the reason
//     behind it, same flow     failed: may or may not have happened
//     behind it, other flows   has never left: waits again at the head of its flow
//   The initiator goes through RESET back to RTS; the culprit's connection is given up by the
//   owner. A flush that no error has preceded names nobody: then all that it had in flight fails.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.hpp"
#include "copyrpc/fabric/fabric.hpp"
#include "copyrpc/fabric/pending.hpp"
#include "copyrpc/fabric/verbs/dc_queues.hpp"
#include "copyrpc/fabric/verbs/side_channel.hpp"

namespace copyrpc::verbs {

struct DcSizes {
  uint32_t initiators = 0;
  uint32_t depth = 0;         ///< requests in one initiator
  uint32_t posts = 0;         ///< in all flows
  uint32_t posts_to_one = 0;  ///< in one flow
  uint32_t quota = 0;         ///< requests of one flow in a row, while others wait
  uint32_t inline_bytes = 0;
};

class DcSender {
 public:
  DcSender(const Device& device, const DcSizes& sizes, uint32_t slots);
  [[nodiscard]] copykv::Outcome<void> open(ibv_cq* completions);
  /// As granted, once open: of the device, so the same for all initiators.
  [[nodiscard]] uint32_t inline_bytes() const noexcept {
    return initiators_.front().queue.inline_bytes();
  }

  /// From now on the flow goes there; `peer` is what its completions will say.
  void open_flow(Slot slot, const DcWay& way) noexcept;
  void name_flow(Slot slot, PeerId peer) noexcept { flows_[slot].peer = peer; }
  /// What waits fails at once, what is in flight ends in its time.
  void close_flow(Slot slot, Pending& ended) noexcept;

  /// False: no room.
  [[nodiscard]] bool post(Slot slot, const Request& request, uint64_t context) noexcept;
  /// Lets leave what finds room.
  void submit() noexcept;
  [[nodiscard]] bool waits() const noexcept { return ready_.first != kNone; }

  /// A completion of one of ours: what has ended goes to `ended`. Returns the flow whose connection
  /// is to be given up, with `error`; kNoSlot: none.
  [[nodiscard]] Slot completed(const ibv_wc& found, Pending& ended, int32_t& error) noexcept;
  /// Of a flush without a culprit: one more flow that has failed, or kNoSlot.
  [[nodiscard]] Slot next_failed() noexcept;

  struct Counters {
    uint64_t recoveries = 0;
    uint64_t sent_again = 0;
  };
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};

  struct Post {
    Request request{};
    uint64_t context = kUnsignalled;
    PeerId peer = kNoPeer;
    Slot slot = kNoSlot;
    uint32_t life = 0;  ///< of the flow; another than it has now: its connection is closed
    uint32_t next = kNone;
  };
  /// Posts, or flows, one behind the other, linked by their `next`.
  struct Chain {
    uint32_t first = kNone;
    uint32_t last = kNone;
  };
  struct Flow {
    DcWay way{};
    PeerId peer = kNoPeer;
    uint32_t life = 0;
    bool open = false;
    bool ready = false;   ///< in ready_
    bool failed = false;  ///< next_failed is to tell
    Chain waiting{};
    uint32_t posts = 0;  ///< waiting and in flight
    uint32_t in_flight = 0;
    uint32_t initiator = 0;  ///< of what is in flight, or the last one
    uint32_t next = kNone;
  };
  struct Initiator {
    Dci queue;
    std::vector<uint32_t> ring;  ///< posts, by position
    uint32_t posted = 0;         ///< what has left
    uint32_t filled = 0;         ///< what submit has put in: >= posted
    uint32_t ended = 0;
    uint16_t life = 0;  ///< grows with each recovery: completions of the past are void
    bool usable = false;
    bool touched = false;

    [[nodiscard]] uint32_t in_flight() const noexcept { return filled - ended; }
  };

  template <class T>
  static void push_back(Chain& chain, std::vector<T>& all, uint32_t index) noexcept;
  template <class T>
  static void push_front(Chain& chain, std::vector<T>& all, uint32_t index) noexcept;
  template <class T>
  static uint32_t pop(Chain& chain, std::vector<T>& all) noexcept;

  void make_ready(Slot slot, Flow& flow) noexcept;
  [[nodiscard]] uint32_t choose() const noexcept;
  [[nodiscard]] bool fill_from(Slot slot) noexcept;
  void ring(uint32_t index) noexcept;
  void end_post(uint32_t index, int32_t error, Pending& ended) noexcept;
  void take_back(uint32_t index) noexcept;
  void end_through(Initiator& initiator, uint32_t position, Pending& ended) noexcept;
  [[nodiscard]] Slot break_up(uint32_t index, uint32_t position, ibv_wc_status status,
                              Pending& ended) noexcept;
  void recover(uint32_t index) noexcept;

  const Device& device_;
  const DcSizes sizes_;
  std::vector<Initiator> initiators_;
  std::vector<Flow> flows_;  ///< by slot
  std::vector<Post> posts_;
  std::vector<uint32_t> touched_;  ///< initiators that submit has filled
  Chain free_{};
  Chain ready_{};  ///< flows with posts that wait
  uint32_t failed_flows_ = 0;
  Counters counters_;
};

}  // namespace copyrpc::verbs
