// SPDX-License-Identifier: Apache-2.0
// How a fabric reaches its peers: one connected endpoint for each (connected_links.cpp) or one
// endpoint for all (unconnected_links.cpp). Everything after that is the same (ofi_fabric.cpp).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "copyrpc/fabric/fabric.hpp"
#include "copyrpc/fabric/ofi/address.hpp"
#include "copyrpc/fabric/ofi/provider.hpp"

namespace copyrpc::ofi {

/// Where a post to one peer goes: valid from link_up until link_lost or disconnect.
struct Route {
  fid_ep* endpoint = nullptr;
  fi_addr_t address = FI_ADDR_UNSPEC;
};

/// What a links object has to tell about a peer.
class LinkEvents {
 public:
  virtual void link_up(PeerId peer, const Route& route) noexcept = 0;
  /// The connection is gone, or could not be made.
  virtual void link_lost(PeerId peer, int32_t error) noexcept = 0;

 protected:
  ~LinkEvents() = default;
};

class Links {
 public:
  virtual ~Links() = default;
  Links() = default;
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;

  [[nodiscard]] virtual const std::string& address() const noexcept = 0;
  /// link_up or link_lost follows in a later progress.
  [[nodiscard]] virtual copykv::Outcome<void> connect(PeerId peer, const EndpointAddress& to) = 0;
  /// `idle`: no post to that peer is in flight.
  virtual void disconnect(PeerId peer, bool idle) noexcept = 0;
  /// True: when disconnect has returned, nothing of that connection touches memory any more, and
  /// what it had in flight has been put into the completion queue.
  [[nodiscard]] virtual bool disconnect_is_final() const noexcept = 0;
  /// The endpoint that remote accesses come through; null: they need none to be named.
  [[nodiscard]] virtual fid_ep* memory_endpoint() const noexcept = 0;

  /// Connection management; may make system calls.
  virtual void progress(LinkEvents& events) noexcept = 0;
  /// True while some connection is being made: progress is wanted often.
  [[nodiscard]] virtual bool busy() const noexcept = 0;
  [[nodiscard]] virtual int wait_fd() const noexcept = 0;
  /// Before sleeping on wait_fd; the completion queue is looked at afterwards. False: poll first.
  [[nodiscard]] virtual bool arm(LinkEvents& events) noexcept = 0;
};

[[nodiscard]] copykv::Outcome<std::unique_ptr<Links>> make_connected_links(Domain& domain,
                                                                           uint32_t peers_max);
[[nodiscard]] copykv::Outcome<std::unique_ptr<Links>> make_unconnected_links(Domain& domain,
                                                                             uint32_t peers_max);

}  // namespace copyrpc::ofi
