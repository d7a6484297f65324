// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/side_socket.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace copyrpc::verbs {
namespace {

using copykv::Failure;
using copykv::Fd;
using copykv::Outcome;

constexpr int kBacklog = 512;
constexpr int kIdleSeconds = 10;
constexpr int kProbeSeconds = 2;
constexpr int kProbes = 5;
constexpr unsigned kUnansweredMs = 20'000;

sockaddr_in6 socket_address(const IpAddress& ip, uint16_t port) noexcept {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  std::memcpy(&address.sin6_addr, ip.data(), ip.size());
  return address;
}

/// IPv6 sockets speak IPv4, too: addresses are mapped.
Fd make_socket() noexcept {
  Fd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int off = 0;
  if (fd) (void)setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  return fd;
}

void keep_alive(int fd) noexcept {
  const int on = 1;
  (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kIdleSeconds, sizeof(kIdleSeconds));
  (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kProbeSeconds, sizeof(kProbeSeconds));
  (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kProbes, sizeof(kProbes));
  (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnansweredMs, sizeof(kUnansweredMs));
}

Failure socket_failure(const char* what, const IpAddress& ip) {
  return {fmt::format("{} {} for the side channel: {}; --address names an address of this host",
                      what, ip_text(ip), std::strerror(errno))};
}

}  // namespace

Outcome<Listener> listen_at(const IpAddress& ip) {
  Listener made{make_socket(), 0};
  sockaddr_in6 address = socket_address(ip, 0);
  if (!made.fd ||
      ::bind(made.fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return socket_failure("binding to", ip);
  socklen_t bytes = sizeof(address);
  if (::listen(made.fd.get(), kBacklog) != 0 ||
      ::getsockname(made.fd.get(), reinterpret_cast<sockaddr*>(&address), &bytes) != 0)
    return socket_failure("listening at", ip);
  made.port = ntohs(address.sin6_port);
  return made;
}

Outcome<Fd> begin_connect(const IpAddress& from, const IpAddress& to, uint16_t port) {
  Fd fd = make_socket();
  // From our own address, so that the way is the one that --address or the GID stands for.
  const sockaddr_in6 near = socket_address(from, 0);
  if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&near), sizeof(near)) != 0)
    return socket_failure("calling from", from);
  keep_alive(fd.get());
  const sockaddr_in6 far = socket_address(to, port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&far), sizeof(far)) != 0 &&
      errno != EINPROGRESS)
    return socket_failure("calling", to);
  return fd;
}

Fd accept_one(int listener) noexcept {
  Fd fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (fd) keep_alive(fd.get());
  return fd;
}

int connect_error(int fd) noexcept {
  int error = 0;
  socklen_t bytes = sizeof(error);
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0) return errno;
  return error;
}

}  // namespace copyrpc::verbs
