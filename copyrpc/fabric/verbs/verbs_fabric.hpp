// SPDX-License-Identifier: Apache-2.0
// The fabrics over libibverbs: `rc`, one reliable connected queue pair for each peer, on any verbs
// device.
//
// A side channel over TCP (side_channel.hpp) carries what two endpoints must tell each other before
// their queue pairs can talk, and its end says that a peer is gone.
//
// PROMISES   all of fabric.hpp but one: keys are the device's, 32 bits that it counts up. What
// keeps
//   strangers out is that a queue pair talks to one other queue pair only, and that the two have
//   met over the side channel.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "copyrpc/fabric/fabric.hpp"

namespace copyrpc {

struct VerbsOptions {
  std::string device;      ///< "mlx5_0"; empty: the nearest one with an active port
  uint32_t port = 0;       ///< 0: the first active one
  int32_t gid_index = -1;  ///< -1: RoCE v2 over IPv4, else the first that fits
  std::string address;     ///< for the side channel: IP address or interface; empty: the GID's
  uint32_t peers_max = 64;
  uint32_t posts_max = 256;       ///< in flight to one peer
  uint32_t receive_entries = 0;   ///< 0: from the number of peers
  uint32_t inline_bytes = 220;    ///< of posts that carry their bytes; 0: none does
  bool relaxed_ordering = false;  ///< registered memory may be written out of order within a post
  uint8_t traffic_class = 0;      ///< of routed packets (RoCE: DSCP and ECN)
  uint8_t service_level = 0;
  uint32_t initiators = 16;  ///< of dc: send queues that all peers share (docs/adr, dc)
};

[[nodiscard]] copykv::Outcome<std::unique_ptr<Fabric>> make_rc_fabric(const VerbsOptions& options);

/// Why an endpoint with these options cannot be had on this machine; empty: it can.
[[nodiscard]] std::string rc_missing(const VerbsOptions& options);

[[nodiscard]] copykv::Outcome<std::unique_ptr<Fabric>> make_dc_fabric(const VerbsOptions& options);
[[nodiscard]] std::string dc_missing(const VerbsOptions& options);

/// What --transport auto takes, and why not something better.
struct AutoTransport {
  std::string name;
  std::string why;
};
[[nodiscard]] AutoTransport auto_transport(const VerbsOptions& options);

/// How many bytes a request may carry, as the device grants it to a queue that is made to find out;
/// an error says why such a queue cannot be had.
[[nodiscard]] copykv::Outcome<uint32_t> rc_inline_granted(const VerbsOptions& options);
[[nodiscard]] copykv::Outcome<uint32_t> dc_inline_granted(const VerbsOptions& options);

/// One port of one device, for whoever asks what there is.
struct VerbsPort {
  std::string device;
  uint32_t port = 0;
  std::string link;   ///< "InfiniBand" or "RoCE"
  std::string state;  ///< "active", "down", ...
  std::string gid;    ///< the chosen one, with its index and type
  uint32_t gid_index = 0;
  uint32_t mtu_bytes = 0;
  uint64_t message_bytes_max = 0;
  bool near = false;   ///< on a NUMA node that this process may run on
  std::string reason;  ///< why it cannot be used; empty: it can

  // Of the device.
  uint32_t queue_pairs_max = 0;         ///< max_qp
  uint32_t queue_entries_max = 0;       ///< max_qp_wr
  uint32_t receive_entries_max = 0;     ///< max_srq_wr
  uint32_t completion_entries_max = 0;  ///< max_cqe

  // Of a port that can be used; a reason says why there is no such queue, empty: there is.
  uint32_t rc_inline_bytes = 0;
  std::string rc_reason;
  uint32_t dc_inline_bytes = 0;
  std::string dc_reason;
};
/// Every port of every device, the one that is taken by default first. An error: there is none.
[[nodiscard]] copykv::Outcome<std::vector<VerbsPort>> verbs_ports(const VerbsOptions& options);

}  // namespace copyrpc
