// SPDX-License-Identifier: Apache-2.0
// Connected endpoints: one connection for each pair of peers that talk, whoever has opened it. (One
// for each direction would be simpler, but then TCP acknowledges every message with a packet of its
// own: 19 us instead of 14 us a round trip.) Closing an endpoint is the end of all that it had in
// flight: what it was sending is flushed into the completion queue as cancelled, and what it was
// receiving is no longer written to memory (F5).
//
// WHO OPENS   Whoever calls connect first; the other's connect takes over ("adopts") what it has
//   accepted. When both call at once, the connection that the smaller identity has opened stays:
//     - the larger one is still calling when the other's call comes in: it adopts that, and hangs
//     up
//     - the larger one's call is through already: it refuses, and the smaller one, who has accepted
//       it by then, adopts it
//   Each call carries a number, and each answer the last number that the answerer has used, so that
//   a call that comes in on top of a connection is known to be older than that connection (crossed
//   with ours: refuse it) or newer (the peer has given up our connection, and so must we).
// IDENTITY    A process that has taken over the network address of a dead peer is not that peer.
// And
//   who calls must name the identity that it calls, 128 random bits that it can have from the
//   bootstrap only: strangers are turned away before the provider looks at anything else of theirs.
//   (libfabric 1.17 does not survive every frame that a connected peer can send.)
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

/// What travels with a call and with its answer.
struct Greeting {
  std::array<char, 8> hello = kHello;
  Identity from{};
  Identity to{};
  uint64_t call = 0;  ///< the last one that the sender has made
};
static_assert(sizeof(Greeting) == 48);

/// fi_eq_cm_entry with room for the data that follows it.
struct ConnectionEvent {
  fid* endpoint = nullptr;
  fi_info* info = nullptr;
  std::array<char, 256> data;
};
constexpr size_t kDataAt = offsetof(ConnectionEvent, data);
static_assert(offsetof(ConnectionEvent, info) == offsetof(fi_eq_cm_entry, info) &&
              kDataAt == sizeof(fi_eq_cm_entry));

size_t data_bytes(size_t event_bytes) noexcept {
  return event_bytes > kDataAt ? event_bytes - kDataAt : 0;
}

/// False: the sender is none of us, or does not know whom it talks to.
bool parse_greeting(const void* data, size_t bytes, const Identity& self,
                    Greeting& greeting) noexcept {
  if (data == nullptr || bytes < sizeof(greeting)) return false;
  std::memcpy(&greeting, data, sizeof(greeting));
  return greeting.hello == kHello && greeting.to == self;
}

struct Connection {
  Owned<fid_ep> endpoint;
  Identity remote{};
  uint64_t remote_call = 0;  ///< calls of the peer up to this one are older than the connection
  bool up = false;

  [[nodiscard]] bool is(const fid* endpoint_fid) const noexcept {
    return endpoint && &endpoint->fid == endpoint_fid;
  }
};

struct Link {
  Connection connection;
  enum class State : uint8_t {
    free,
    calling,  ///< our call is on its way
    adopted,  ///< we have accepted the peer's connection, which comes up
    up,
    lost,
  } state = State::free;
};

class ConnectedLinks final : public Links {
 public:
  ConnectedLinks(Domain& domain, uint32_t peers_max)
      : domain_(domain), links_(peers_max), accepted_(size_t{peers_max} * 2) {}

  [[nodiscard]] Outcome<void> open();

  [[nodiscard]] const std::string& address() const noexcept override { return address_; }
  [[nodiscard]] Outcome<void> connect(PeerId peer, const EndpointAddress& to) override;
  void disconnect(PeerId peer, bool idle) noexcept override;
  [[nodiscard]] bool disconnect_is_final() const noexcept override { return true; }
  [[nodiscard]] fid_ep* memory_endpoint() const noexcept override { return nullptr; }
  void progress(LinkEvents& events) noexcept override;
  [[nodiscard]] bool busy() const noexcept override { return coming_up_ > 0; }
  [[nodiscard]] int wait_fd() const noexcept override { return wait_fd_; }
  [[nodiscard]] bool arm(LinkEvents& events) noexcept override;

 private:
  using State = Link::State;

  [[nodiscard]] Outcome<void> call(Link& link, const EndpointAddress& to);
  [[nodiscard]] bool take_event(LinkEvents& events) noexcept;
  void handle(uint32_t event, ConnectionEvent& what, size_t bytes, LinkEvents& events) noexcept;
  void handle_error(LinkEvents& events) noexcept;
  void called(ConnectionEvent& request, size_t bytes, LinkEvents& events) noexcept;
  [[nodiscard]] bool wanted(const Greeting& caller, LinkEvents& events) noexcept;
  [[nodiscard]] bool accept(fi_info* info, const Greeting& caller) noexcept;
  void answered(const ConnectionEvent& answer, size_t bytes, LinkEvents& events) noexcept;
  void ended(const fid* endpoint, int32_t error, LinkEvents& events) noexcept;

  void set_state(Link& link, State state) noexcept;
  void adopt(Link& link, Connection& accepted) noexcept;
  void come_up(Link& link, LinkEvents& events) noexcept;
  void lose(Link& link, int32_t error, LinkEvents& events) noexcept;

  [[nodiscard]] Link* link_of(const fid* endpoint) noexcept;
  [[nodiscard]] Link* link_to(const Identity& remote) noexcept;
  [[nodiscard]] Connection* accepted_from(const Identity& remote) noexcept;
  [[nodiscard]] Greeting greeting(const Identity& to) const noexcept {
    return {kHello, self_, to, calls_};
  }
  [[nodiscard]] PeerId peer_of(const Link& link) const noexcept {
    return static_cast<PeerId>(&link - links_.data());
  }

  Domain& domain_;
  const Identity self_ = random_identity();
  std::string address_;
  int wait_fd_ = -1;
  uint64_t calls_ = 0;
  uint32_t coming_up_ = 0;  ///< links that are calling or adopted

  Owned<fid_wait> wait_set_;
  Owned<fid_eq> events_;
  Owned<fid_pep> listener_;
  std::vector<Link> links_;
  std::vector<Connection> accepted_;  ///< and not adopted
};

Outcome<void> ConnectedLinks::open() {
  // A wait set of our own instead of the queue's: only that can be told that its signal has been
  // seen (arm). It watches all sockets, those with data included. Without one: no sleeping.
  fi_wait_attr sleeping{};
  sleeping.wait_obj = FI_WAIT_FD;
  fid_wait* wait_set = nullptr;
  if (fi_wait_open(domain_.fabric.get(), &sleeping, &wait_set) == 0) {
    wait_set_.reset(wait_set);
    if (fi_control(&wait_set->fid, FI_GETWAIT, &wait_fd_) != 0) wait_fd_ = -1;
  }
  fi_eq_attr attributes{};
  attributes.wait_obj = wait_set == nullptr ? FI_WAIT_NONE : FI_WAIT_SET;
  attributes.wait_set = wait_set;
  fid_eq* events = nullptr;
  if (const int error = fi_eq_open(domain_.fabric.get(), &attributes, &events, nullptr); error != 0)
    return failure(domain_, "fi_eq_open", error);
  events_.reset(events);

  fid_pep* listener = nullptr;
  int error = fi_passive_ep(domain_.fabric.get(), domain_.info.get(), &listener, nullptr);
  if (error != 0) return failure(domain_, "fi_passive_ep", error);
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
  return {};
}

Outcome<void> ConnectedLinks::connect(PeerId peer, const EndpointAddress& to) {
  Link& link = links_[peer];
  if (Connection* accepted = accepted_from(to.identity); accepted != nullptr) {
    adopt(link, *accepted);
    return {};
  }
  return call(link, to);
}

Outcome<void> ConnectedLinks::call(Link& link, const EndpointAddress& to) {
  auto endpoint = open_endpoint(domain_, domain_.info.get(), nullptr);
  if (!endpoint) return Failure{endpoint.error};
  int error = fi_ep_bind(endpoint->get(), &events_->fid, 0);
  if (error == 0) error = fi_enable(endpoint->get());
  if (error != 0) return failure(domain_, "fi_enable", error);
  ++calls_;
  const Greeting hello = greeting(to.identity);
  error = fi_connect(endpoint->get(), to.raw.data(), &hello, sizeof(hello));
  if (error != 0) return failure(domain_, "fi_connect", error);
  link.connection = {std::move(*endpoint), to.identity, 0, false};
  set_state(link, State::calling);
  return {};
}

void ConnectedLinks::disconnect(PeerId peer, bool) noexcept {
  Link& link = links_[peer];
  // Of a lost link, what the peer has opened since then is the new beginning.
  if (link.state != State::lost)
    if (Connection* other = accepted_from(link.connection.remote); other != nullptr) *other = {};
  set_state(link, State::free);
  link.connection = {};
}

void ConnectedLinks::progress(LinkEvents& events) noexcept {
  for (uint32_t taken = 0; taken < kEventsPerProgress && take_event(events); ++taken) {
  }
  if (coming_up_ == 0) return;
  for (Link& link : links_)
    if (link.state == State::adopted && link.connection.up) come_up(link, events);
}

bool ConnectedLinks::arm(LinkEvents& events) noexcept {
  // Waiting for no time takes back the signal of events that have been read, and of none else: what
  // has come since is seen by the look at the queue that follows.
  (void)fi_wait(wait_set_.get(), 0);
  return !take_event(events);
}

/// Handles one event; false: there is none.
bool ConnectedLinks::take_event(LinkEvents& events) noexcept {
  uint32_t event = 0;
  ConnectionEvent what;
  const ssize_t bytes = fi_eq_read(events_.get(), &event, &what, sizeof(what), 0);
  if (bytes >= 0)
    handle(event, what, static_cast<size_t>(bytes), events);
  else if (bytes == -FI_EAVAIL)
    handle_error(events);
  return bytes >= 0 || bytes == -FI_EAVAIL;
}

void ConnectedLinks::handle(uint32_t event, ConnectionEvent& what, size_t bytes,
                            LinkEvents& events) noexcept {
  if (event == FI_CONNREQ)
    called(what, bytes, events);
  else if (event == FI_CONNECTED)
    answered(what, bytes, events);
  else if (event == FI_SHUTDOWN)
    ended(what.endpoint, ECONNRESET, events);
}

void ConnectedLinks::handle_error(LinkEvents& events) noexcept {
  fi_eq_err_entry error{};
  if (fi_eq_readerr(events_.get(), &error, 0) < 0 || error.fid == nullptr) return;
  Link* link = link_of(error.fid);
  Greeting refusal;
  if (link != nullptr && link->state == State::calling &&
      parse_greeting(error.err_data, error.err_data_size, self_, refusal) &&
      refusal.from == link->connection.remote) {
    Connection* accepted = accepted_from(refusal.from);
    if (accepted != nullptr) return adopt(*link, *accepted);
  }
  ended(error.fid, error.err > 0 ? error.err : ECONNABORTED, events);
}

void ConnectedLinks::called(ConnectionEvent& request, size_t bytes, LinkEvents& events) noexcept {
  const Info info(request.info);
  Greeting caller;
  if (!parse_greeting(request.data.data(), data_bytes(bytes), self_, caller)) {
    (void)fi_reject(listener_.get(), info->handle, nullptr, 0);
  } else if (!wanted(caller, events) || !accept(info.get(), caller)) {
    const Greeting refusal = greeting(caller.from);
    (void)fi_reject(listener_.get(), info->handle, &refusal, sizeof(refusal));
  }
}

bool ConnectedLinks::wanted(const Greeting& caller, LinkEvents& events) noexcept {
  Link* link = link_to(caller.from);
  if (link == nullptr || caller.from == self_ || link->state == State::calling) return true;
  if (caller.call <= link->connection.remote_call) return false;  // crossed with what we have
  lose(*link, ECONNRESET, events);
  return true;
}

bool ConnectedLinks::accept(fi_info* info, const Greeting& caller) noexcept {
  auto endpoint = open_endpoint(domain_, info, nullptr);
  if (!endpoint) return false;
  Connection* place = accepted_from(caller.from);  // one that the peer has given up
  for (Connection& one : accepted_)
    if (place == nullptr && !one.endpoint) place = &one;
  if (place == nullptr) return false;
  const Greeting answer = greeting(caller.from);
  if (fi_ep_bind(endpoint->get(), &events_->fid, 0) != 0 || fi_enable(endpoint->get()) != 0 ||
      fi_accept(endpoint->get(), &answer, sizeof(answer)) != 0)
    return false;
  *place = {std::move(*endpoint), caller.from, caller.call, false};
  Link* link = link_to(caller.from);
  if (link != nullptr && link->state == State::calling && self_ > caller.from) adopt(*link, *place);
  return true;
}

void ConnectedLinks::answered(const ConnectionEvent& answer, size_t bytes,
                              LinkEvents& events) noexcept {
  for (Connection& one : accepted_)
    if (one.is(answer.endpoint)) one.up = true;
  Link* link = link_of(answer.endpoint);
  if (link == nullptr) return;
  if (link->state == State::calling) {
    Greeting other;
    if (!parse_greeting(answer.data.data(), data_bytes(bytes), self_, other) ||
        other.from != link->connection.remote)
      return lose(*link, ECONNREFUSED, events);
    link->connection.remote_call = other.call;
  }
  come_up(*link, events);
}

void ConnectedLinks::ended(const fid* endpoint, int32_t error, LinkEvents& events) noexcept {
  if (Link* link = link_of(endpoint); link != nullptr) return lose(*link, error, events);
  for (Connection& one : accepted_)
    if (one.is(endpoint)) one = {};
}

void ConnectedLinks::set_state(Link& link, State state) noexcept {
  const auto coming_up = [](State of) { return of == State::calling || of == State::adopted; };
  coming_up_ -= coming_up(link.state);
  coming_up_ += coming_up(state);
  link.state = state;
}

void ConnectedLinks::adopt(Link& link, Connection& accepted) noexcept {
  link.connection = std::move(accepted);  // ends our own call, if there was one
  accepted = {};
  set_state(link, State::adopted);
}

void ConnectedLinks::come_up(Link& link, LinkEvents& events) noexcept {
  if (link.state != State::calling && link.state != State::adopted) return;
  set_state(link, State::up);
  link.connection.up = true;
  events.link_up(peer_of(link), {link.connection.endpoint.get(), FI_ADDR_UNSPEC});
}

void ConnectedLinks::lose(Link& link, int32_t error, LinkEvents& events) noexcept {
  if (link.state == State::lost) return;
  set_state(link, State::lost);
  link.connection.endpoint.reset();
  events.link_lost(peer_of(link), error);
}

Link* ConnectedLinks::link_of(const fid* endpoint) noexcept {
  for (Link& link : links_)
    if (link.connection.is(endpoint)) return &link;
  return nullptr;
}

/// The live link to that peer.
Link* ConnectedLinks::link_to(const Identity& remote) noexcept {
  for (Link& link : links_)
    if (link.connection.endpoint && link.connection.remote == remote) return &link;
  return nullptr;
}

Connection* ConnectedLinks::accepted_from(const Identity& remote) noexcept {
  for (Connection& one : accepted_)
    if (one.endpoint && one.remote == remote) return &one;
  return nullptr;
}

}  // namespace

Outcome<std::unique_ptr<Links>> make_connected_links(Domain& domain, uint32_t peers_max) {
  auto links = std::make_unique<ConnectedLinks>(domain, peers_max);
  if (auto opened = links->open(); !opened) return Failure{opened.error};
  return std::unique_ptr<Links>(std::move(links));
}

}  // namespace copyrpc::ofi
