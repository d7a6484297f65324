// SPDX-License-Identifier: Apache-2.0
// A network inside the process: endpoints, delays and faults, all decided by a clock and a seed, so
// that the same run can be had again.
//
// It is as unkind as a real network may be. Bytes are taken from the sender's memory at the moment
// of delivery, not when posted; what was on its way when a connection ended may still land, unless
// its key is gone; `done` comes after the delivery, and long after where `done_delay_ns` says so.
//
// THREADS  One: network and all endpoints.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "base/clock.hpp"
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
  uint32_t posts_max = 128;
  uint32_t receive_entries = 4096;  ///< beyond it the sender fails: receiver not ready
  uint32_t peers_max = 1U << 14;
};

class SimEndpoint;

class SimNetwork {
 public:
  SimNetwork(const SimOptions& options, const copykv::Clock& clock);
  ~SimNetwork();

  /// A new endpoint; it may go before or after the network's other endpoints, never after it.
  [[nodiscard]] std::unique_ptr<Fabric> attach();

  /// Nothing passes between the two endpoints (numbers in the order of attach) until heal.
  void cut(uint32_t a, uint32_t b);
  void heal(uint32_t a, uint32_t b);
  /// The next post from `endpoint` fails, and with it all behind it to the same peer.
  void break_next_post(uint32_t endpoint);

  /// Carries out everything that is due.
  void run();
  /// When something will be due; UINT64_MAX: never.
  [[nodiscard]] uint64_t next_due_ns() const;

  struct Counters {
    uint64_t posts;
    uint64_t bytes;
    uint64_t refused;  ///< by key or bounds
    uint64_t not_ready;
  };
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }

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
    uint64_t due_order = 0;  ///< of the one Due that counts
    int error = 0;
    uint64_t posted_ns = 0;
    std::string on_the_wire{};  ///< the bytes, once the sender's memory is no longer the fabric's
  };
  struct Due {
    uint64_t at_ns;
    uint64_t order;
    uint64_t post;
    bool operator>(const Due& other) const noexcept {
      return at_ns != other.at_ns ? at_ns > other.at_ns : order > other.order;
    }
  };
  struct Region {
    uint32_t endpoint;
    std::byte* base;
    uint64_t bytes;
    Access access;
  };
  using Pair = std::pair<uint32_t, uint32_t>;

  void start(Post post);
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
  std::vector<SimEndpoint*> endpoints_;  ///< nullptr: gone
  std::map<uint64_t, Region> regions_;   ///< by key
  std::map<uint64_t, Post> posts_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  std::map<Pair, uint64_t> last_delivery_ns_;  ///< from, to: order stays
  std::set<Pair> cuts_;
  std::map<Pair, std::deque<uint64_t>> held_;  ///< posts that wait for a cut link, in order
  std::set<uint32_t> breaking_;                ///< endpoints whose next post breaks its queue
  std::set<uint64_t> broken_links_;            ///< nothing behind the first failure is carried out
  uint64_t next_number_ = 1;
  uint64_t next_link_ = 1;
  uint64_t order_ = 0;
  Counters counters_{};
};

}  // namespace copyrpc
