// SPDX-License-Identifier: Apache-2.0
// One TCP connection for each pair of endpoints that talk, whoever has opened it: it brings the two
// sides' queue pairs together and, by its end, tells that a peer is gone. No data of posts moves
// over it.
//
//   caller                                   called
//   connect: prepare
//     call, offer                  ->        prepare, establish
//     establish                    <-          answer, offer
//     ready                        ->        up
//   up
//
// WHO OPENS   Whoever calls connect first; the other's connect takes over what has been accepted.
//   When both call at once, the call of the smaller identity stays: it refuses the other's as
//   crossed, and the larger one gives up its own call when the smaller one's comes in. Each message
//   carries the number of the sender's last call, so that a call that comes in on top of a
//   connection is known to be older than it (refused) or newer (the peer has started over, and what
//   we have is lost).
// STRANGERS   Who calls must name the identity that it calls, 128 random bits that come with the
//   bootstrap. Others are hung up on, and have 5 s and a bounded number of connections for it.
// SLOTS   A connection's place in the table; the transport keeps its queue pair under that number
//   from prepare until release.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "copyrpc/fabric/fabric.hpp"
#include "copyrpc/fabric/verbs/greeting.hpp"
#include "copyrpc/fabric/verbs/side_socket.hpp"

namespace copyrpc::verbs {

using Slot = uint32_t;
inline constexpr Slot kNoSlot = ~Slot{0};

/// What a transport does for its connections.
class SideEvents {
 public:
  /// Makes this side's end; `mine` travels to the peer. False: there is no room for it.
  [[nodiscard]] virtual bool prepare(Slot slot, Offer& mine) noexcept = 0;
  /// Joins it to the peer's. False: the two do not fit.
  [[nodiscard]] virtual bool establish(Slot slot, const Offer& theirs) noexcept = 0;
  /// `peer` can be posted to.
  virtual void up(PeerId peer, Slot slot) noexcept = 0;
  /// The connection to `peer` is gone, or could not be made; release of its slot has been called.
  virtual void lost(PeerId peer, int32_t error) noexcept = 0;
  /// Ends what prepare has made; of `peer`, or of nobody who has been named (kNoPeer).
  virtual void release(Slot slot, PeerId peer) noexcept = 0;

 protected:
  ~SideEvents() = default;
};

class SideChannel {
 public:
  /// Listens at `ip`. `events` outlives it and is called from connect, disconnect, fail, progress.
  [[nodiscard]] static copykv::Outcome<SideChannel> open(Kind kind, const IpAddress& ip,
                                                         uint32_t peers_max);
  SideChannel(SideChannel&&) = default;

  /// Connections there can be at a time.
  [[nodiscard]] uint32_t slots() const noexcept { return static_cast<uint32_t>(links_.size()); }
  [[nodiscard]] EndpointAddress address() const noexcept {
    return {kind_, self_, ip_, listener_.port};
  }

  /// up or lost follows in a later progress.
  [[nodiscard]] copykv::Outcome<void> connect(PeerId peer, const EndpointAddress& to,
                                              SideEvents& events);
  void disconnect(PeerId peer, SideEvents& events) noexcept;
  /// Its queue pair has failed: the connection ends as lost.
  void fail(Slot slot, int32_t error, SideEvents& events) noexcept;

  /// Handles what has come; true: there was something. Makes system calls.
  bool progress(SideEvents& events) noexcept;
  /// True while some connection is being made: progress is wanted often.
  [[nodiscard]] bool busy() const noexcept { return coming_up_ > 0; }
  /// Readable when progress has something to do, or one of the watched descriptors has.
  [[nodiscard]] int wait_fd() const noexcept { return epoll_.get(); }
  /// Makes wait_fd readable when `fd` is.
  [[nodiscard]] bool watch(int fd) noexcept;

 private:
  struct Link {
    enum class State : uint8_t {
      free,
      greeting,   ///< has called in, and not said who it is
      calling,    ///< our call is on its way
      expecting,  ///< our call was refused as crossed: the peer's is on its way
      accepted,   ///< we have answered; ready is to come
      up,
      adopted,  ///< up, and its peer has been named since: to be told in the next progress
      lost,     ///< told so, and not yet disconnected
    };
    State state = State::free;
    bool prepared = false;
    PeerId peer = kNoPeer;
    copykv::Fd fd;
    Identity remote{};
    uint64_t remote_call = 0;  ///< calls of the peer up to this one are older than the connection
    uint64_t deadline_ns = 0;  ///< of what does not stay as it is; 0: none
    Offer mine{};
    Greeting incoming{};
    uint32_t incoming_bytes = 0;
  };
  using State = Link::State;

  SideChannel() = default;

  [[nodiscard]] copykv::Outcome<void> call(Slot slot, const EndpointAddress& to,
                                           SideEvents& events);
  void accept_callers() noexcept;
  void writable(Slot slot, SideEvents& events) noexcept;
  void readable(Slot slot, SideEvents& events) noexcept;
  void heard(Slot slot, SideEvents& events) noexcept;
  void called(Slot slot, SideEvents& events) noexcept;
  void answered(Slot slot, SideEvents& events) noexcept;
  void refused(Slot slot, SideEvents& events) noexcept;
  void accept(Slot slot, PeerId peer, SideEvents& events) noexcept;
  void refuse(Slot slot, Greeting::Reason reason, SideEvents& events) noexcept;
  void look_at_deadlines(SideEvents& events) noexcept;
  void come_up(Slot slot, SideEvents& events) noexcept;

  [[nodiscard]] bool say(Link& link, Greeting::Type type,
                         Greeting::Reason reason = Greeting::Reason::none) noexcept;
  [[nodiscard]] bool prepare(Slot slot, SideEvents& events) noexcept;
  void close(Slot slot, SideEvents& events) noexcept;
  void clear(Slot slot, SideEvents& events) noexcept;
  void set_state(Link& link, State state) noexcept;
  [[nodiscard]] Slot free_slot() noexcept;
  [[nodiscard]] Slot slot_with(const Identity& remote, Slot except) const noexcept;
  [[nodiscard]] bool watch(int fd, uint32_t what, uint32_t number) noexcept;

  Kind kind_ = Kind::rc;
  Identity self_ = random_identity();
  IpAddress ip_{};
  copykv::Fd epoll_;
  Listener listener_;
  uint64_t calls_ = 0;
  uint32_t coming_up_ = 0;  ///< links that have a deadline
  std::vector<Link> links_;
  std::vector<Slot> slot_of_;  ///< by peer
};

}  // namespace copyrpc::verbs
