// SPDX-License-Identifier: Apache-2.0
// Connected endpoints: each direction between two peers has a connection of its own, opened by the
// side that posts. So nobody has to settle who of two that call each other at once goes first, and
// closing an endpoint is the end of everything that it had in flight, in both senses:
//
//   - what it wanted to send is flushed into the completion queue as cancelled,
//   - what it was receiving is not written to memory any more (F5): disconnect closes the
//     connections that the peer has opened to us, too.
//
// The opener sends its identity, the acceptor answers with its own: a process that has taken over
// the network address of a dead peer is not that peer.
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include "copyrpc/fabric/ofi/links.hpp"

namespace copyrpc::ofi {
namespace {

using copykv::Failure;
using copykv::Outcome;

constexpr uint32_t kEventsPerProgress = 64;
constexpr std::array<char, 8> kHello = {'c', 'o', 'p', 'y', 'r', 'p', 'c', 1};

/// What either side sends while a connection is made.
struct Greeting {
  std::array<char, 8> hello = kHello;
  Identity identity{};
};
static_assert(sizeof(Greeting) == 24);

/// fi_eq_cm_entry with room for the data that follows it.
struct ConnectionEvent {
  fid* endpoint = nullptr;
  fi_info* info = nullptr;
  std::array<char, 256> data;  ///< a Greeting, if the other side is one of us
};
static_assert(offsetof(ConnectionEvent, info) == offsetof(fi_eq_cm_entry, info) &&
              offsetof(ConnectionEvent, data) == sizeof(fi_eq_cm_entry));
constexpr size_t kDataAt = offsetof(ConnectionEvent, data);

/// Endpoint contexts point to these; the addresses are stable.
struct Outgoing {
  Owned<fid_ep> endpoint;
  Identity remote{};
  enum class State : uint8_t { closed, connecting, up, lost } state = State::closed;
};
struct Incoming {
  Owned<fid_ep> endpoint;
  Identity remote{};
};

class ConnectedLinks final : public Links {
 public:
  ConnectedLinks(Domain& domain, uint32_t peers_max)
      : domain_(domain), outgoing_(peers_max), incoming_(size_t{peers_max} * 2) {}

  [[nodiscard]] Outcome<void> open();

  [[nodiscard]] const std::string& address() const noexcept override { return address_; }
  [[nodiscard]] Outcome<Route> connect(PeerId peer, const EndpointAddress& to) override;
  void disconnect(PeerId peer) noexcept override;
  [[nodiscard]] bool disconnect_is_final() const noexcept override { return true; }
  [[nodiscard]] fid_ep* memory_endpoint() const noexcept override { return nullptr; }
  void progress(LinkEvents& events) noexcept override;
  [[nodiscard]] bool busy() const noexcept override { return connecting_ > 0; }
  [[nodiscard]] int wait_fd() const noexcept override { return wait_fd_; }
  [[nodiscard]] bool arm(LinkEvents& events) noexcept override;

 private:
  void handle(uint32_t event, ConnectionEvent& what, size_t bytes, LinkEvents& events) noexcept;
  void handle_error(LinkEvents& events) noexcept;
  void accept(ConnectionEvent& request, size_t bytes) noexcept;
  [[nodiscard]] bool open_incoming(Incoming& slot, fi_info* info, const Identity& remote) noexcept;
  void ended(fid* endpoint, int32_t error, LinkEvents& events) noexcept;
  void lose(Outgoing& link, int32_t error, LinkEvents& events) noexcept;
  [[nodiscard]] Outgoing* outgoing_of(fid* endpoint) noexcept;
  [[nodiscard]] PeerId peer_of(const Outgoing& link) const noexcept {
    return static_cast<PeerId>(&link - outgoing_.data());
  }

  Domain& domain_;
  Identity self_ = random_identity();
  std::string address_;
  int wait_fd_ = -1;
  uint32_t connecting_ = 0;

  Info opener_;  ///< for new endpoints: our address, any port
  Owned<fid_eq> events_;
  Owned<fid_pep> listener_;
  std::vector<Outgoing> outgoing_;
  std::vector<Incoming> incoming_;
};

Outcome<void> ConnectedLinks::open() {
  fi_eq_attr attributes{};
  attributes.wait_obj = FI_WAIT_FD;
  fid_eq* events = nullptr;
  if (const int error = fi_eq_open(domain_.fabric.get(), &attributes, &events, nullptr); error != 0)
    return failure(domain_, "fi_eq_open", error);
  events_.reset(events);
  if (fi_control(&events->fid, FI_GETWAIT, &wait_fd_) != 0) wait_fd_ = -1;

  fid_pep* listener = nullptr;
  int error = fi_passive_ep(domain_.fabric.get(), domain_.info.get(), &listener, nullptr);
  if (error != 0) return failure(domain_, "fi_passive_ep (binding)", error);
  listener_.reset(listener);
  error = fi_pep_bind(listener, &events->fid, 0);
  if (error == 0) error = fi_listen(listener);
  if (error != 0) return failure(domain_, "fi_listen", error);

  std::array<char, 256> raw;
  size_t bytes = raw.size();
  error = fi_getname(&listener->fid, raw.data(), &bytes);
  if (error != 0) return failure(domain_, "fi_getname", error);
  auto address = encode_address({true, self_, std::string(raw.data(), bytes)});
  if (!address) return Failure{address.error};
  address_ = *address;

  opener_.reset(fi_dupinfo(domain_.info.get()));
  if (!opener_) return failure(domain_, "fi_dupinfo", FI_ENOMEM);
  return {};
}

Outcome<Route> ConnectedLinks::connect(PeerId peer, const EndpointAddress& to) {
  Outgoing& link = outgoing_[peer];
  auto endpoint = open_endpoint(domain_, opener_.get(), &link);
  if (!endpoint) return Failure{endpoint.error};
  fid_ep* raw = endpoint->get();
  int error = fi_ep_bind(raw, &events_->fid, 0);
  if (error == 0) error = fi_enable(raw);
  if (error != 0) return failure(domain_, "fi_enable", error);
  Greeting greeting;
  greeting.identity = self_;
  error = fi_connect(raw, to.raw.data(), &greeting, sizeof(greeting));
  if (error != 0) return failure(domain_, "fi_connect", error);
  link.endpoint = std::move(*endpoint);
  link.remote = to.identity;
  link.state = Outgoing::State::connecting;
  ++connecting_;
  return Route{raw, FI_ADDR_UNSPEC};
}

void ConnectedLinks::disconnect(PeerId peer) noexcept {
  Outgoing& link = outgoing_[peer];
  if (link.state == Outgoing::State::connecting) --connecting_;
  link.state = Outgoing::State::closed;
  link.endpoint.reset();
  for (Incoming& in : incoming_)
    if (in.endpoint && in.remote == link.remote) in.endpoint.reset();
  link.remote = {};
}

void ConnectedLinks::progress(LinkEvents& events) noexcept {
  for (uint32_t taken = 0; taken < kEventsPerProgress; ++taken) {
    uint32_t event = 0;
    ConnectionEvent what;
    const ssize_t bytes = fi_eq_read(events_.get(), &event, &what, sizeof(what), 0);
    if (bytes >= 0) {
      handle(event, what, static_cast<size_t>(bytes), events);
    } else if (bytes == -FI_EAVAIL) {
      handle_error(events);
    } else {
      return;
    }
  }
}

bool ConnectedLinks::arm(LinkEvents& events) noexcept {
  // The read with a time-out of zero takes back the signal of events that have been read already;
  // without it the descriptor would stay readable.
  uint32_t event = 0;
  ConnectionEvent what;
  const ssize_t bytes = fi_eq_sread(events_.get(), &event, &what, sizeof(what), 0, 0);
  if (bytes >= 0) handle(event, what, static_cast<size_t>(bytes), events);
  if (bytes == -FI_EAVAIL) handle_error(events);
  return bytes < 0 && bytes != -FI_EAVAIL;
}

void ConnectedLinks::handle(uint32_t event, ConnectionEvent& what, size_t bytes,
                            LinkEvents& events) noexcept {
  if (event == FI_CONNREQ) {
    accept(what, bytes);
  } else if (event == FI_SHUTDOWN) {
    ended(what.endpoint, ECONNRESET, events);
  } else if (event == FI_CONNECTED) {
    Outgoing* link = outgoing_of(what.endpoint);
    if (link == nullptr || link->state != Outgoing::State::connecting) return;
    Greeting greeting;
    const bool greeted = bytes >= kDataAt + sizeof(greeting);
    if (greeted) std::memcpy(&greeting, what.data.data(), sizeof(greeting));
    if (!greeted || greeting.hello != kHello || greeting.identity != link->remote)
      return lose(*link, ECONNREFUSED, events);
    link->state = Outgoing::State::up;
    --connecting_;
    events.link_up(peer_of(*link));
  }
}

void ConnectedLinks::handle_error(LinkEvents& events) noexcept {
  fi_eq_err_entry error{};
  if (fi_eq_readerr(events_.get(), &error, 0) < 0 || error.fid == nullptr) return;
  ended(error.fid, error.err > 0 ? error.err : ECONNABORTED, events);
}

void ConnectedLinks::accept(ConnectionEvent& request, size_t bytes) noexcept {
  const Info info(request.info);
  Greeting greeting;
  const bool greeted = bytes >= kDataAt + sizeof(greeting);
  if (greeted) std::memcpy(&greeting, request.data.data(), sizeof(greeting));
  Incoming* slot = nullptr;
  for (Incoming& in : incoming_) {
    // A peer that calls again has given up its former connection.
    if (greeted && in.endpoint && in.remote == greeting.identity) in.endpoint.reset();
    if (!in.endpoint) slot = &in;
  }
  if (!greeted || greeting.hello != kHello || slot == nullptr ||
      !open_incoming(*slot, info.get(), greeting.identity))
    (void)fi_reject(listener_.get(), info->handle, nullptr, 0);
}

bool ConnectedLinks::open_incoming(Incoming& slot, fi_info* info, const Identity& remote) noexcept {
  auto endpoint = open_endpoint(domain_, info, &slot);
  if (!endpoint) return false;
  fid_ep* raw = endpoint->get();
  Greeting greeting;
  greeting.identity = self_;
  if (fi_ep_bind(raw, &events_->fid, 0) != 0 || fi_enable(raw) != 0 ||
      fi_accept(raw, &greeting, sizeof(greeting)) != 0)
    return false;
  slot.endpoint = std::move(*endpoint);
  slot.remote = remote;
  return true;
}

void ConnectedLinks::ended(fid* endpoint, int32_t error, LinkEvents& events) noexcept {
  if (Outgoing* link = outgoing_of(endpoint); link != nullptr) return lose(*link, error, events);
  for (Incoming& in : incoming_)
    if (in.endpoint && &in.endpoint->fid == endpoint) in.endpoint.reset();
}

void ConnectedLinks::lose(Outgoing& link, int32_t error, LinkEvents& events) noexcept {
  if (link.state == Outgoing::State::connecting) --connecting_;
  if (link.state == Outgoing::State::lost) return;
  link.state = Outgoing::State::lost;
  events.link_lost(peer_of(link), error);
}

Outgoing* ConnectedLinks::outgoing_of(fid* endpoint) noexcept {
  for (Outgoing& link : outgoing_)
    if (link.endpoint && &link.endpoint->fid == endpoint) return &link;
  return nullptr;
}

}  // namespace

Outcome<std::unique_ptr<Links>> make_connected_links(Domain& domain, uint32_t peers_max) {
  auto links = std::make_unique<ConnectedLinks>(domain, peers_max);
  if (auto opened = links->open(); !opened) return Failure{opened.error};
  return std::unique_ptr<Links>(std::move(links));
}

}  // namespace copyrpc::ofi
