// SPDX-License-Identifier: Apache-2.0
// How large the queues of an `rc` endpoint are.
#pragma once

#include <algorithm>
#include <cstdint>

#include "copyrpc/fabric/verbs/endpoint.hpp"
#include "copyrpc/fabric/verbs/send_ring.hpp"

namespace copyrpc::verbs {

inline constexpr uint32_t kPiecesMax = 8;  // of one post that is larger than a message may be

/// Queues of one endpoint, in entries.
struct RcEndpointSizes {
  uint32_t receives = 0;
  uint32_t posts_to_one = 0;
  uint32_t posts_in_total = 0;
};

[[nodiscard]] inline RcEndpointSizes endpoint_sizes(const VerbsOptions& options,
                                                    const Device& device) {
  RcEndpointSizes sizes;
  sizes.receives = receive_entries(options, static_cast<uint32_t>(device.limits.max_srq_wr));
  sizes.posts_to_one = std::max(
      std::min(options.posts_max, static_cast<uint32_t>(device.limits.max_qp_wr)), kPiecesMax);
  // Unsignalled requests of every peer at once must leave room for a signalled one.
  const uint32_t tails = options.peers_max * SendRing::unsignalled_max(sizes.posts_to_one);
  sizes.posts_in_total = std::max(
      {std::min(options.peers_max * sizes.posts_to_one, kPostsInTotalMax), tails * 2, kPiecesMax});
  return sizes;
}

}  // namespace copyrpc::verbs
