// SPDX-License-Identifier: Apache-2.0
#include "daemon/bootstrap/tcp_socket.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.hpp"
#include "base/log.hpp"

namespace copykv::bootstrap {
namespace {

constexpr int kBacklog = 1024;

template <class T>
void set(int socket, int level, int name, T value) noexcept {
  (void)::setsockopt(socket, level, name, &value, sizeof(value));
}

bool is_literal(const std::string& host) {
  in6_addr any{};
  return ::inet_pton(AF_INET, host.c_str(), &any) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

Address any_address(int family, uint16_t port) {
  Address address;
  if (family == AF_INET6) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&address.storage, &v6, address.bytes = sizeof(v6));
  } else {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&address.storage, &v4, address.bytes = sizeof(v4));
  }
  return address;
}

Fd stream_socket(int family) {
  return Fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

Fd listen_on(const Address& address, bool both_families) {
  Fd socket = stream_socket(address.storage.ss_family);
  if (!socket) return Fd();
  set(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (address.storage.ss_family == AF_INET6) {
    set(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, both_families ? 0 : 1);
  }
  if (::bind(socket.get(), address.get(), address.bytes) == 0 &&
      ::listen(socket.get(), kBacklog) == 0) {
    return socket;
  }
  const int why = errno;
  socket.reset();
  errno = why;
  return socket;
}

bool is_own_address(Address address) {
  // Port 0 of either family stands at the same place.
  reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port = 0;
  const Fd socket = stream_socket(address.storage.ss_family);
  return socket && ::bind(socket.get(), address.get(), address.bytes) == 0;
}

Failure cannot_listen(const RendezvousUrl& url, int why) {
  if (why == EADDRINUSE) {
    return Failure{
        fmt::format("--rendezvous tcp://{}: another program listens there already, "
                    "perhaps rank 0 of this job or of another; give each job a port of "
                    "its own, and --rank 0 to one rank",
                    url.where())};
  }
  if (why == EADDRNOTAVAIL) {
    return Failure{
        fmt::format("--rendezvous tcp://{}: this machine has no such address, and rank "
                    "0 listens there; name the machine of rank 0",
                    url.where())};
  }
  return Failure{
      fmt::format("--rendezvous tcp://{}: rank 0 cannot listen there: {}; take another "
                  "port",
                  url.where(), std::strerror(why))};
}

}  // namespace

std::string Address::text() const {
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (::getnameinfo(get(), bytes, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "an unknown address";
  }
  return storage.ss_family == AF_INET6 ? fmt::format("[{}]:{}", host, port)
                                       : fmt::format("{}:{}", host, port);
}

Outcome<std::vector<Address>> resolve(const RendezvousUrl& url) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code =
      ::getaddrinfo(url.host.c_str(), std::to_string(url.port).c_str(), &hints, &found);
  if (code != 0) {
    const bool unknown = code == EAI_NONAME || code == EAI_NODATA;
    return Failure{fmt::format("no such host as '{}' ({})", url.host,
                               unknown ? "the name is unknown" : ::gai_strerror(code))};
  }
  std::vector<Address> addresses;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    Address address;
    address.bytes = entry->ai_addrlen;
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    addresses.push_back(address);
  }
  ::freeaddrinfo(found);
  return addresses;
}

std::string own_address_towards(const RendezvousUrl& url) {
  const auto addresses = resolve(url);
  if (!addresses) return {};  // the rendezvous itself will say so
  for (const Address& there : *addresses) {
    // Connecting a datagram socket asks for the route and sends nothing.
    const Fd socket(::socket(there.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    Address own;
    own.bytes = sizeof(own.storage);
    char text[NI_MAXHOST];
    if (!socket || ::connect(socket.get(), there.get(), there.bytes) != 0 ||
        ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own.storage), &own.bytes) != 0 ||
        ::getnameinfo(own.get(), own.bytes, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) != 0) {
      continue;
    }
    // The name of this machine itself often leads to its loopback; a scope means nothing elsewhere.
    const bool elsewhere = RendezvousUrl{.host = text}.is_loopback() && !url.is_loopback();
    if (!elsewhere && std::strchr(text, '%') == nullptr) return text;
  }
  return {};
}

Outcome<Fd> listen_at(const RendezvousUrl& url) {
  const auto addresses = resolve(url);
  if (!addresses) {
    return Failure{fmt::format("--rendezvous tcp://{}: {}; name the machine of rank 0", url.where(),
                               addresses.error)};
  }
  if (is_literal(url.host) || url.is_loopback()) {
    int why = EADDRNOTAVAIL;
    for (const Address& address : *addresses) {
      if (Fd socket = listen_on(address, false)) return socket;
      why = errno;
    }
    return cannot_listen(url, why);
  }
  if (std::none_of(addresses->begin(), addresses->end(), is_own_address)) {
    log_warn("--rendezvous tcp://{}: '{}' is no address of this machine, where rank 0 listens",
             url.where(), url.host);
  }
  if (Fd socket = listen_on(any_address(AF_INET6, url.port), true)) return socket;
  if (Fd socket = listen_on(any_address(AF_INET, url.port), false)) return socket;
  return cannot_listen(url, errno);
}

Fd start_connect(const Address& address) {
  Fd socket = stream_socket(address.storage.ss_family);
  if (!socket) return socket;
  tune(socket.get());
  if (::connect(socket.get(), address.get(), address.bytes) == 0 || errno == EINPROGRESS) {
    return socket;
  }
  const int why = errno;
  socket.reset();
  errno = why;
  return socket;
}

bool is_own_end(int socket) noexcept {
  Address here;
  Address there;
  here.bytes = there.bytes = sizeof(here.storage);
  return ::getsockname(socket, reinterpret_cast<sockaddr*>(&here.storage), &here.bytes) == 0 &&
         ::getpeername(socket, reinterpret_cast<sockaddr*>(&there.storage), &there.bytes) == 0 &&
         here.bytes == there.bytes && std::memcmp(&here.storage, &there.storage, here.bytes) == 0;
}

int connect_error(int socket) noexcept {
  int error = 0;
  socklen_t bytes = sizeof(error);
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 ? error : errno;
}

void tune(int socket) noexcept {
  set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(socket, IPPROTO_TCP, TCP_KEEPIDLE, 5);
  set(socket, IPPROTO_TCP, TCP_KEEPINTVL, 2);
  set(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 10'000U);
}

Moved read_some(int socket, std::string& to, size_t bytes_max) {
  to.resize(bytes_max);
  const ssize_t got = ::recv(socket, to.data(), bytes_max, MSG_DONTWAIT);
  to.resize(got > 0 ? static_cast<size_t>(got) : 0);
  if (got > 0) return Moved::some;
  return got < 0 && (errno == EAGAIN || errno == EINTR) ? Moved::nothing_now : Moved::ended;
}

Moved write_some(int socket, std::string_view bytes, size_t& sent) {
  const ssize_t put = ::send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (put < 0) return errno == EAGAIN || errno == EINTR ? Moved::nothing_now : Moved::ended;
  sent += static_cast<size_t>(put);
  return Moved::some;
}

Outcome<Poller> Poller::make() {
  Poller made;
  made.epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  made.timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!made.epoll_ || !made.timer_ || !made.add(made.timer_.get(), kTimer, EPOLLIN)) {
    return Failure{fmt::format("epoll or timerfd: {}; raise `ulimit -n`", std::strerror(errno))};
  }
  return made;
}

bool Poller::add(int fd, uint64_t token, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Poller::change(int fd, uint64_t token, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Poller::wake_at(uint64_t at_ns) {
  if (at_ns == wake_at_ns_) return;
  wake_at_ns_ = at_ns;
  itimerspec at{};
  if (at_ns != UINT64_MAX) {
    at.it_value.tv_sec = static_cast<time_t>(at_ns / kNanosPerSecond);
    at.it_value.tv_nsec = static_cast<long>(at_ns % kNanosPerSecond);
  }
  (void)::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &at, nullptr);
}

std::vector<epoll_event> Poller::wait(int timeout_ms) {
  std::vector<epoll_event> events(64);
  const int ready =
      ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
  events.resize(ready > 0 ? static_cast<size_t>(ready) : 0);
  for (const epoll_event& event : events) {
    if (event.data.u64 != kTimer) continue;
    uint64_t expirations;
    (void)!::read(timer_.get(), &expirations, sizeof(expirations));
    wake_at_ns_ = UINT64_MAX;
  }
  return events;
}

}  // namespace copykv::bootstrap
