// SPDX-License-Identifier: Apache-2.0
// The objects of the emulated device. Each begins with the struct that the public headers show;
// a pointer to one is a pointer to the other. All under the network's mutex, but for what wr_*
// build between wr_start and wr_complete.
#pragma once

#include <infiniband/mlx5dv.h>
#include <infiniband/verbs.h>

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

namespace emulated_mlx5 {

inline constexpr uint32_t kBasicBlockBytes = 64;  // MLX5_SEND_WQE_BB
inline constexpr uint32_t kSgesMax = 4;
inline constexpr uint32_t kInlineBytesMax = 1024;
inline constexpr uint8_t kPort = 1;

struct Device : ibv_device {
  uint16_t lid = 0;
  uint64_t guid = 0;
  [[nodiscard]] ibv_gid gid() const noexcept;
};

struct Pair;

struct Context {
  verbs_context verbs;  ///< first: the inline functions find it from the ibv_context within
  Device* device = nullptr;
  bool cut = false;
  std::deque<ibv_async_event> events;
  uint64_t queue_bytes = 0;
};
[[nodiscard]] Context& context_of(ibv_context* context) noexcept;

struct Channel : ibv_comp_channel {
  std::deque<ibv_cq*> events;
};

struct Entry {
  ibv_wc wc{};
  Pair* pair = nullptr;      ///< of a send request
  uint64_t request_end = 0;  ///< its send queue is free up to here once this is polled
};

struct CompletionQueue : ibv_cq {
  std::vector<Entry> ring;  ///< of a power of two
  uint64_t head = 0;        ///< to be polled next
  uint64_t tail = 0;
  bool armed = false;
  bool broken = false;  ///< overrun: it delivers nothing more
  uint32_t users = 0;
};

struct ReceiveQueue : ibv_srq {
  std::vector<uint64_t> ring;
  uint64_t head = 0;
  uint64_t tail = 0;
  uint32_t entries_max = 0;
  uint32_t sges_max = 0;
  uint32_t limit = 0;
  uint32_t users = 0;
};

struct Domain : ibv_pd {
  uint32_t users = 0;
};

struct Region : ibv_mr {
  int access = 0;
};

struct Address : ibv_ah {
  ibv_ah_attr attributes{};
};

/// One send request, as a work queue entry would hold it.
struct Request {
  uint64_t wr_id = 0;
  unsigned flags = 0;
  ibv_wr_opcode opcode = IBV_WR_RDMA_WRITE;
  uint32_t rkey = 0;
  uint64_t remote_address = 0;
  __be32 immediate = 0;
  // DC: whom, since each request says so.
  ibv_ah_attr address{};
  uint32_t dctn = 0;
  uint64_t dc_key = 0;
  uint16_t stream = 0;
  // Local parts, or bytes within the request.
  uint32_t sges = 0;
  std::array<ibv_sge, kSgesMax> sge{};
  uint32_t inline_bytes = 0;
  bool is_inline = false;
  bool addressed = false;  ///< what the builder has seen
  bool has_data = false;

  uint64_t start_ns = 0;   ///< leaves
  uint64_t arrive_ns = 0;  ///< at the target, if nothing is in the way
  uint64_t end_ns = 0;     ///< its completion is due
  uint8_t attempts = 0;
  uint8_t rnr_attempts = 0;
  ibv_wc_status status = IBV_WC_SUCCESS;

  [[nodiscard]] uint64_t bytes() const noexcept {
    uint64_t total = inline_bytes;
    for (uint32_t at = 0; at < sges; ++at) total += sge[at].length;
    return total;
  }
};

enum class PairKind : uint8_t { rc, dci, dct };

struct DirectPart : mlx5dv_qp_ex {
  Pair* owner = nullptr;
};

/// A queue pair. INVARIANTS of its send queue (positions grow for ever):
///   freed <= completed <= arrived <= posted <= freed + requests_max
struct Pair : ibv_qp_ex {
  PairKind kind = PairKind::rc;
  DirectPart direct{};
  uint64_t access_key = 0;  ///< of a DCT
  bool signal_all = false;
  uint64_t send_ops = 0;
  uint32_t generation = 0;  ///< grows with each RESET: events of the past are void

  // Send queue.
  uint32_t request_bytes = 0;
  uint32_t requests_max = 0;
  uint32_t inline_max = 0;
  uint32_t sges_max = 0;
  uint64_t queue_bytes = 0;
  std::vector<Request> ring;
  std::vector<std::byte> inline_data;
  uint64_t posted = 0;
  uint64_t arrived = 0;
  uint64_t completed = 0;
  uint64_t freed = 0;
  bool arriving = false;  ///< an event for the next arrival is on its way
  bool halted = false;    ///< an error is on its way back
  bool away = false;      ///< the request that arrives next is at another process (neighbours.hpp)
  uint64_t away_bytes = 0;   ///< of it that have taken effect there
  uint32_t away_target = 0;  ///< that queue pair
  uint64_t away_since_ns = 0;
  uint64_t busy_until_ns = 0;
  uint64_t last_arrive_ns = 0;
  uint64_t last_end_ns = 0;
  // Whom each stream channel is attached to; without streams there is one.
  uint32_t streams = 1;
  uint32_t streams_errored_max = 0;
  std::array<uint32_t, 256> attached{};
  std::vector<uint16_t> errored_streams;

  // Being built.
  uint64_t building = 0;  ///< requests since wr_start
  int build_error = 0;
  bool in_build = false;

  // Attributes, as modify set them.
  ibv_qp_attr attributes{};
  int attributes_set = 0;

  [[nodiscard]] Request& at(uint64_t position) noexcept { return ring[position % ring.size()]; }
  [[nodiscard]] std::byte* inline_at(uint64_t position) noexcept {
    return inline_data.data() + (position % ring.size()) * inline_max;
  }
  [[nodiscard]] bool stream_is_errored(uint16_t stream) const noexcept;
};

[[nodiscard]] inline Pair& pair_of(ibv_qp* qp) noexcept {
  return *reinterpret_cast<Pair*>(qp);
}
[[nodiscard]] inline Pair& pair_of(ibv_qp_ex* qp) noexcept {
  return static_cast<Pair&>(*qp);
}

}  // namespace emulated_mlx5
