// SPDX-License-Identifier: Apache-2.0
// The engine: one shard's poll loop, one turn at a time. It owns its lanes, its ground queue and
// its store, and takes time and network as parameters, so that production, simulation and tests run
// the same code.
//
// A TURN (order is the design: answers first, new work next, the network last)
//   1  completions   answers of other ranks fill response slots; their lanes return to the queue
//   2  inbound       requests of other ranks are executed in groups of up to 16, answers staged
//   3  ground queue  each lane on it is looked at once, requests are served in groups of up to 16:
//                    read lines and hash, prefetch buckets; probe, prefetch items; execute
//   4  transfers     one chunk of one large value
//   5  flush         staged requests and answers leave
//   6  housekeeping  when due: time, parking, expiry, counters
//
// THREADS     Everything here is called by the daemon thread, except `commands()`, whose producer
// is
//   the control thread.
// INVARIANTS
//   N1  a lane is on exactly one of: ground queue, parked list, or neither (busy, full, closing).
//   N2  every loop is bounded; nothing blocks, allocates or makes a system call, except waking a
//       client that announced its sleep.
//   N3  requests of one lane start in ring order; a lane whose large value is moving starts
//   nothing.
// Files: engine.cpp (turn, attach, close), intake.cpp (ground queue, groups), execute.cpp (one
// request), inbound.cpp (requests of other ranks), large_values.cpp (transfers), housekeeping.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.hpp"
#include "base/planted.hpp"
#include "base/spsc_queue.hpp"
#include "daemon/lane.hpp"
#include "daemon/network.hpp"
#include "daemon/request.hpp"
#include "daemon/store.hpp"
#include "shm/rank_page.hpp"

namespace copykv {

struct EngineOptions {
  uint32_t daemon = 0;        ///< own index in the routing table
  uint32_t daemon_count = 1;  ///< indices below this are daemons of this rank, others are remote
  uint32_t lanes_max = 4096;
  uint32_t value_bytes_max = kValueBytesMaxDefault;
  /// A power of two. Reading the clock costs as much as an idle turn, and time here is in
  /// milliseconds. Simulation and tests: 1.
  uint32_t turns_per_clock_read = 32;
};

/// From the control thread to a daemon.
struct Command {
  enum class Kind : uint8_t { attach, close, set_peer };
  Kind kind = Kind::attach;
  LaneSetup lane{};                     ///< close: only `id` counts
  const copyrpc::Card* card = nullptr;  ///< set_peer: stays for ever
};
using CommandQueue = SpscQueue<Command, 256>;

class Engine final {
 public:
  /// `rank` holds the routing table; `block` takes the counters; `network` is nullptr when the rank
  /// is alone. All must outlive the engine.
  Engine(const EngineOptions& options, const RankHeader& rank, DaemonBlock& block, Store& store,
         const Clock& clock, Network* network);

  /// One pass. Returns the work done; 0 tells the caller it may idle.
  uint32_t turn() noexcept;

  /// Reads the clock and keeps house at once: before and after a sleep, when few turns happen.
  void tick() noexcept;

  /// Announces a sleep to the clients. True: there is nothing to do, and whoever has work from now
  /// on will wake the thread. Ends with end_sleep, whether it slept or not.
  [[nodiscard]] bool begin_sleep() noexcept;
  void end_sleep() noexcept;

  /// Whether there is a new request on any lane, or anything in flight: what a sleeper looks at
  /// after announcing itself. Time proportional to the lanes.
  [[nodiscard]] bool has_work() const noexcept;

  /// The control thread's way in.
  [[nodiscard]] CommandQueue& commands() noexcept { return commands_; }

  /// Lanes that a turn looks at.
  [[nodiscard]] uint32_t ground_lanes() const noexcept { return ground_count_; }
  /// For tests: N1, and the counts of lanes.
  [[nodiscard]] bool is_valid() const;

 private:
  /// What became of one request.
  enum class Progress : uint8_t {
    answered,  ///< or on its way to another rank: the lane goes on
    busy,      ///< a large value is moving: the lane stops behind this request
    again,     ///< nothing was done: the same request in a later turn
  };

  // engine.cpp
  uint32_t timed_turn() noexcept;
  uint32_t take_commands() noexcept;
  void attach(const LaneSetup& setup) noexcept;
  void close(uint32_t lane) noexcept;
  void free_closing_lanes() noexcept;
  uint32_t take_answers() noexcept;
  void take_answer(Lane& lane, const RemoteAnswer& answer) noexcept;

  // intake.cpp
  uint32_t scan_ground_queue() noexcept;
  void take_from(Lane& lane) noexcept;
  void look_at_parked_lane() noexcept;
  uint32_t run_group() noexcept;
  Pending* run_one(Pending* pending, const Pending* end, uint32_t& done) noexcept;
  Pending* go_on(Pending* pending, const Pending* end, Progress progress, uint32_t& done) noexcept;
  Pending* send_run(Pending* first, const Pending* end, uint32_t& done) noexcept;
  void refuse_sequence(Lane& lane, uint32_t seq) noexcept;
  void to_ground(Lane& lane) noexcept;
  void wake_clients(std::span<const Pending> group) noexcept;
  void wake_client(Lane& lane) noexcept;

  [[nodiscard]] uint32_t owner_of(uint64_t hash) const noexcept {
    return peek(rank_.partition_owner[partition_of(hash)]);
  }

  void read_any(Lane& lane, uint64_t head, Slot& slot, Pending& pending) noexcept;
  void locate(Pending& pending) noexcept;

  // execute.cpp
  [[nodiscard]] Progress execute(Pending& p) noexcept;
  [[nodiscard]] Progress execute_get(const Pending& p) noexcept;
  [[nodiscard]] Progress execute_put(const Pending& p) noexcept;
  [[nodiscard]] Progress execute_keys(const Pending& p) noexcept;
  [[nodiscard]] Progress call_remote(const Pending& p) noexcept;
  [[nodiscard]] Progress finish(const Pending& p, const StoreAnswer& with) noexcept;
  [[nodiscard]] Progress refuse(const Pending& p, Status status) noexcept;
  void answer(Lane& lane, const Ticket& ticket, Status status, Placement placement,
              uint32_t value_bytes, uint32_t user_flags, uint64_t version) noexcept {
    ResponseLine& line = lane.slots[ticket.slot].response;
    poke(line.value_bytes, value_bytes);
    poke(line.user_flags, user_flags);
    poke(line.version, version);
    const uint32_t seq = COPYKV_PLANTED(stamp_from_memory)
                             ? head_seq(peek(lane.slots[ticket.slot].request.head))
                             : ticket.seq;
    publish(line.head, response_head(seq, status, placement));  // [B]
    count<uint64_t>(block_.by_status[static_cast<uint8_t>(status) & 15], 1);
  }

  // inbound.cpp
  uint32_t serve_inbound() noexcept;
  [[nodiscard]] bool execute_inbound(RemoteRequest& request) noexcept;
  [[nodiscard]] bool get_plain_inbound(RemoteRequest& request) const noexcept;
  [[nodiscard]] bool put_plain_inbound(RemoteRequest& request) noexcept;
  [[nodiscard]] bool get_inbound(RemoteRequest& request) noexcept;
  [[nodiscard]] bool add_inbound(const RemoteRequest& request) noexcept;
  [[nodiscard]] bool put_inbound(RemoteRequest& request) noexcept;
  [[nodiscard]] bool keys_inbound(const RemoteRequest& request) noexcept;
  [[nodiscard]] bool reply_inbound(const RemoteRequest& request,
                                   const StoreAnswer& answer) noexcept;
  [[nodiscard]] uint32_t free_move() const noexcept;
  [[nodiscard]] bool start_move(const RemoteRequest& request, uint32_t move) noexcept;
  uint32_t end_moves() noexcept;

  // large_values.cpp
  [[nodiscard]] Progress begin_large_get(const Pending& p, const StoreAnswer& found) noexcept;
  [[nodiscard]] Progress begin_large_put(const Pending& p) noexcept;
  void make_busy(const Pending& p, std::byte* memory, Placement placement) noexcept;
  uint32_t step_transfers() noexcept;
  void end_transfer(Lane& lane, Status status, uint32_t value_bytes, uint64_t version) noexcept;

  // housekeeping.cpp
  void housekeep() noexcept;
  void park_silent_lanes() noexcept;
  void show_counters() noexcept;

  // Constant after construction.
  const EngineOptions options_;
  const RequestLimits limits_;
  const bool alone_;  ///< this daemon owns every key
  const RankHeader& rank_;
  DaemonBlock& block_;
  Store& store_;
  const Clock& clock_;
  Network* const network_;

  // Owned by the daemon thread. Sized at construction.
  std::vector<Lane> lanes_;
  std::vector<Lane*> ground_;  ///< the ground queue; ground_count_ entries
  std::vector<Lane*> parked_;
  std::vector<Lane*> transfers_;  ///< lanes that are busy
  std::vector<Lane*> closing_;
  uint32_t ground_count_ = 0;
  uint32_t parked_count_ = 0;
  uint32_t parked_cursor_ = 0;
  bool dropped_ = false;  ///< a lane left the ground queue during the scan
  uint32_t transfer_count_ = 0;
  uint32_t transfer_cursor_ = 0;
  uint32_t closing_count_ = 0;
  uint32_t lane_count_ = 0;
  uint64_t turns_ = 0;
  uint64_t busy_turns_ = 0;

  uint32_t group_count_ = 0;
  uint32_t group_remote_ = 0;  ///< of them, plain ones of other ranks: not looked up here
  std::array<Pending, kGroupMax> group_;
  struct alignas(kCacheLineBytes) KeyRoom {
    std::byte bytes[kKeyBytesMax];
  };
  std::vector<KeyRoom> key_rooms_;

  static constexpr uint32_t kAnswersPerTurn = 64;
  std::array<RemoteAnswer, kAnswersPerTurn> answers_{};
  std::array<RemoteRequest, kGroupMax> inbound_{};
  /// A large value that the network moves for another rank.
  struct Move {
    Transfer transfer{};
    StoreAnswer answer{};  ///< get
  };
  std::array<Move, kMovesMax> moves_{};
  std::array<uint32_t, kMovesMax> commit_due_{};  ///< puts that are moved, not yet visible
  uint32_t commit_count_ = 0;
  uint32_t moves_out_ = 0;  ///< that the network has not told the end of

  CommandQueue commands_;
};

}  // namespace copykv
