// SPDX-License-Identifier: Apache-2.0
// A network inside the process: endpoints, delays and faults, all decided by a clock and a seed, so
// that the same run can be had again.
//
// It is as unkind as a real network may be. Bytes are taken from the sender's memory at the moment
// of delivery, not when posted; what was on its way when a connection ended may still land, unless
// its key is gone; `done` comes after the delivery, and long after where `done_delay_ns` says so.
// SimFaults makes it more so.
//
// STATIONS  a post leaves its processor (at once, or when release_posts says), waits for its send
//   queue (one server: nic_request_ns each, and the bytes), travels (latency_ns, jitter, bytes),
//   is received (one server per endpoint: receive_ns each), is carried out, and shows as a
//   completion at the target (arrival_ns) and the sender (done_delay_ns).
//
// THREADS  One: network and all endpoints.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/event_queue.hpp"
#include "base/random.hpp"
#include "copyrpc/fabric/fabric.hpp"

namespace copyrpc {

struct SimOptions {
  uint64_t seed = 0;
  uint64_t latency_ns = 1'000;            ///< one way
  uint64_t jitter_ns = 0;                 ///< added, uniform; order between two endpoints stays
  uint64_t picos_per_byte = 80;           ///< 100 Gb/s
  uint64_t done_delay_ns = 1'000;         ///< from delivery to `done` at the sender
  uint64_t cut_timeout_ns = 500'000'000;  ///< until posts over a cut link fail
  uint64_t arrival_ns = 0;                ///< from delivery until an immediate can be polled
  uint64_t receive_ns = 0;                ///< service time of one immediate at its receiver
  uint64_t nic_request_ns = 0;            ///< service time of one post at its send queue
  uint64_t nic_picos_per_byte = 0;        ///< ... and of its bytes
  uint32_t send_queues = 1;               ///< of an endpoint; shared out among its peers
  uint32_t posts_max = 128;
  uint32_t receive_entries = 4096;  ///< beyond it the sender fails: receiver not ready
  uint32_t peers_max = 1U << 14;
};

/// What a network may do at any time; chances per post.
struct SimFaults {
  double delay_chance = 0;  ///< this one, and all behind it, come up to delay_ns_max later
  uint64_t delay_ns_max = 0;
  double partial_chance = 0;  ///< some of the bytes are there before the rest
  double late_done_chance = 0;
  uint64_t late_done_ns_max = 0;
  double duplicate_chance = 0;  ///< the immediate is told twice
};

class SimEndpoint;

class SimNetwork {
 public:
  SimNetwork(const SimOptions& options, const copykv::Clock& clock);
  ~SimNetwork();

  /// Numbers that were given so far.
  [[nodiscard]] uint32_t endpoints() const noexcept {
    return static_cast<uint32_t>(endpoints_.size());
  }
  /// A new endpoint; it may go before or after the network's other endpoints, never after it.
  [[nodiscard]] std::unique_ptr<Fabric> attach();

  /// Nothing passes between the two endpoints (numbers in the order of attach) until heal.
  void cut(uint32_t a, uint32_t b);
  void heal(uint32_t a, uint32_t b);
  /// The next post from `endpoint` fails, and with it all behind it to the same peer.
  void break_next_post(uint32_t endpoint);
  /// Immediates to `endpoint` are tried again until then, and fail after `retries`.
  void make_not_ready(uint32_t endpoint, uint64_t until_ns);
  /// The completion queue of `endpoint` overruns: what stood there is lost, and every connection.
  void overrun(uint32_t endpoint);
  void set_faults(const SimFaults& faults) { faults_ = faults; }

  /// Posts of `endpoint` stay with it until release_posts: a processor's work takes time.
  void hold_posts(uint32_t endpoint);
  void release_posts(uint32_t endpoint, uint64_t at_ns);

  /// A post that leaves its processor, and what becomes of it if nothing goes wrong.
  struct Departure {
    uint32_t from = 0;  ///< endpoint
    uint32_t to = 0;
    uint32_t queue = 0;  ///< of the sender
    uint32_t immediate = 0;
    bool tells = false;  ///< with immediate
    uint64_t posted_ns = 0;
    uint64_t started_ns = 0;  ///< its service at the send queue
    uint64_t sent_ns = 0;
    uint64_t there_ns = 0;  ///< it can be polled
    std::span<const std::byte> bytes{};
  };
  void watch_departures(std::function<void(const Departure&)> watch) { watch_ = std::move(watch); }

  /// Carries out everything that is due.
  void run();
  /// Endpoints that have got completions since the last call.
  void take_touched(std::vector<uint32_t>& endpoints);
  /// When something will be due; UINT64_MAX: never.
  [[nodiscard]] uint64_t next_due_ns() const;

  struct Counters {
    uint64_t posts;
    uint64_t bytes;
    uint64_t refused;  ///< by key or bounds
    uint64_t not_ready;
    uint64_t retried;  ///< receiver not ready, and tried again
    uint64_t delayed;
    uint64_t reordered;  ///< carried out before one that its endpoint had posted earlier
    uint64_t partial;
    uint64_t late_done;
    uint64_t duplicated;
    uint64_t held_by_cuts;
    uint64_t broken;  ///< by break_next_post
    uint64_t overruns;
    uint64_t late_landings;  ///< of connections that had ended
  };
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
  /// Where a remote address stands in this process; nullptr: nothing is registered there.
  [[nodiscard]] const std::byte* memory_at(const RemoteMemory& remote) const noexcept;
  /// Posts that have not ended.
  [[nodiscard]] size_t posts_in_flight() const noexcept { return posts_.size(); }

 private:
  friend class SimEndpoint;

  enum class Op : uint8_t { write, write_immediate, read };
  /// One post on its way: first the delivery, then the completion at the sender.
  struct Post {
    Op op{};
    uint32_t from = 0;
    uint32_t to = 0;
    uint64_t link = 0;  ///< of the sender's connection
    PeerId peer = kNoPeer;
    std::byte* local = nullptr;
    uint32_t bytes = 0;
    RemoteMemory remote{};
    uint32_t immediate = 0;
    uint64_t context = 0;
    bool delivered = false;
    bool held = false;       ///< by a cut link
    uint64_t due_order = 0;  ///< of the one event that counts
    int error = 0;
    uint32_t tries = 0;
    uint64_t posted_ns = 0;
    uint64_t there_ns = 0;
    uint64_t partial_ns = 0;    ///< when some of its bytes land; 0: not before the rest
    std::string on_the_wire{};  ///< the bytes, once the sender's memory is no longer the fabric's
  };
  struct Region {
    uint32_t endpoint;
    std::byte* base;
    uint64_t address;  ///< as told to peers: the same in every run
    uint64_t bytes;
    Access access;
  };
  /// An immediate that cannot be polled yet.
  struct Arrival {
    uint32_t endpoint;
    uint32_t immediate;
  };
  struct SendQueue {
    uint64_t free_ns = 0;
  };
  struct Port {
    std::vector<SendQueue> queues{};
    bool holds = false;
    std::vector<uint64_t> held{};  ///< posts, in order
    uint64_t received_ns = 0;      ///< when what is on its way here has been received
    uint64_t not_ready_until_ns = 0;
    uint64_t latest_there_ns = 0;
    bool touched = false;
  };
  using Pair = std::pair<uint32_t, uint32_t>;

  void start(Post post);
  void depart(uint64_t number, uint64_t at_ns);
  void show(uint32_t endpoint, uint32_t immediate);
  void touch(uint32_t endpoint);
  void land_some(const Post& post);
  [[nodiscard]] std::byte* target_of(const Post& post) const;
  /// The connection ends: what it has on its way is on the wire, and may still land.
  void let_go(uint64_t link);
  void schedule(uint64_t post, uint64_t at_ns);
  void deliver(uint64_t number, Post& post);
  void complete(const Post& post);
  [[nodiscard]] int carry_out(const Post& post);
  [[nodiscard]] bool is_cut(uint32_t a, uint32_t b) const {
    return cuts_.contains({std::min(a, b), std::max(a, b)});
  }

  const SimOptions options_;
  const copykv::Clock& clock_;
  copykv::Random random_;
  SimFaults faults_{};
  std::vector<SimEndpoint*> endpoints_;  ///< nullptr: gone
  std::vector<Port> ports_;              ///< of the endpoints
  std::vector<uint32_t> touched_;
  copykv::EventQueue<Arrival> arrivals_{};
  std::map<uint64_t, Region> regions_;  ///< by key
  std::map<uint64_t, Post> posts_;
  copykv::EventQueue<uint64_t> due_{};         ///< posts
  std::map<Pair, uint64_t> last_delivery_ns_;  ///< from, to: order stays
  std::set<Pair> cuts_;
  std::map<Pair, std::deque<uint64_t>> held_;  ///< posts that wait for a cut link, in order
  std::set<uint32_t> breaking_;                ///< endpoints whose next post breaks its queue
  std::set<uint64_t> broken_links_;            ///< nothing behind the first failure is carried out
  std::function<void(const Departure&)> watch_{};
  uint64_t next_number_ = 1;
  uint64_t next_link_ = 1;
  uint64_t next_address_ = 1 << 20;
  Counters counters_{};
};

}  // namespace copyrpc
