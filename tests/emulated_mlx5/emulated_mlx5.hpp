// SPDX-License-Identifier: Apache-2.0
// An mlx5 device that is none: the calls of libibverbs and libmlx5 that copyrpc uses, for all
// endpoints of one process, or of all processes that share a directory (neighbours.hpp). Programs
// link it instead of the two libraries; the code under test is the production code, unchanged.
//
// WHAT IT IS   DC initiators and targets, RC queue pairs, shared receive queues, completion queues
//   and channels, memory regions, address handles; state machines with their attribute masks; keys
//   and bounds; receiver-not-ready and time-outs with their retries; error completions and flushes;
//   overrun of a completion queue; the cost of attaching a DCI to another target; stream channels.
// WHAT IT IS NOT   A ConnectX. It models what rdma-core, the Linux driver and the manual pages
//   write; each refusal names its source. No packets, no congestion, no firmware, no figures of
//   speed: times are of a simple model with the parameters below. A request takes effect at its
//   target in one piece. What happens on a wrong DC access key is not written anywhere public: here
//   the request is dropped.
// TIME      With a clock of the caller's (virtual): nothing happens before its time has come, and
//   then in the next call of any function. Without one: everything has happened when the doorbell
//   returns, but for retries; threads may share it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/clock.hpp"

struct ibv_context;

namespace emulated_mlx5 {

struct Options {
  const copykv::Clock* clock = nullptr;  ///< null: no model of time
  uint64_t seed = 1;
  uint32_t devices = 1;
  bool ethernet = false;  ///< RoCE: every address needs a GRH

  // The model of time, with a clock only.
  uint64_t request_ns = 60;  ///< of one request in its send queue's server
  uint64_t attach_ns = 300;  ///< a DCI attaches to another target
  uint64_t wire_ns = 600;    ///< one way
  uint64_t jitter_ns = 0;    ///< up to, per request; never overtakes in one send queue
  uint64_t ns_per_kib = 40;  ///< 25 GB/s

  // What the device has.
  uint32_t qp_wr_max = 32'768;  ///< basic blocks of a send queue
  uint32_t request_bytes_max = 1024;
  uint32_t srq_wr_max = 32'767;
  uint32_t cqe_max = 4'194'303;
  uint32_t qps_max = 131'072;
  uint8_t streams_log_max = 0;  ///< concurrent stream channels of a DCI
  uint8_t streams_errored_log_max = 0;
};

/// For what is opened from now on. Nothing may be open.
void configure(const Options& options);

/// Whether COPYKV_EMULATED_MLX5 names a directory, whose processes then share the network.
[[nodiscard]] bool is_shared();

/// When the next thing is due; ~0: never. With a clock only.
[[nodiscard]] uint64_t next_due_ns();

/// The open contexts, oldest first: an endpoint's is the last one after it was made.
[[nodiscard]] std::vector<ibv_context*> open_contexts();
/// From now on nothing reaches it and nothing leaves it (or again, if not `cut`).
void cut(ibv_context* context, bool is_cut);

/// Counters since configure().
struct Counters {
  uint64_t doorbells = 0;
  uint64_t requests = 0;  ///< that took effect
  uint64_t attaches = 0;  ///< of a DCI to another target than before
  uint64_t rnr_naks = 0;
  uint64_t timeouts = 0;
  uint64_t flushed = 0;
  uint64_t errors = 0;  ///< completions with an error that was not a flush
  uint64_t access_refused = 0;
  uint64_t cq_overruns = 0;
  uint64_t late_writes = 0;  ///< of queue pairs that were reset or destroyed in the meantime
  uint64_t resets = 0;       ///< queue pairs moved to RESET
  uint64_t parts_sent = 0;   ///< of requests, to other processes
};
[[nodiscard]] Counters counters();

/// Objects that are alive: a leak of the code under test.
[[nodiscard]] size_t live_objects();
/// Bytes that the device would take from the host for the queues of one context.
[[nodiscard]] uint64_t queue_bytes(ibv_context* context);

}  // namespace emulated_mlx5
