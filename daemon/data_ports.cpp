// SPDX-License-Identifier: Apache-2.0
#include "daemon/data_ports.hpp"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

namespace copykv {
namespace {

constexpr int kDescriptorsPerLook = 1024;
/// A call has 48 bytes of ours (the greeting of copyrpc's connected links) behind libfabric's head
/// of at least 16, and arrives in one piece.
constexpr uint64_t kCallBytesMin = 64;
constexpr uint8_t kEstablished = 1;  // TCP_ESTABLISHED; netinet/tcp.h has an older tcp_info
constexpr uint32_t kSilentMsMax = 5'000;

/// 0: no socket with a port; errno is EBADF where there is no descriptor.
uint16_t own_port(int fd) noexcept {
  sockaddr_storage address{};
  socklen_t bytes = sizeof(address);
  errno = 0;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) return 0;
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return 0;
  // The port of either family stands at the same place.
  return reinterpret_cast<const sockaddr_in*>(&address)->sin_port;
}

bool listens(int fd) noexcept {
  int accepts = 0;
  socklen_t bytes = sizeof(accepts);
  return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &bytes) == 0 && accepts == 1;
}

std::vector<uint16_t> listening_ports() {
  std::vector<uint16_t> ports;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return ports;
  const auto end = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, kDescriptorsPerLook));
  for (int fd = 0; fd < end; ++fd) {
    const uint16_t port = own_port(fd);
    if (port != 0 && listens(fd)) ports.push_back(port);
  }
  return ports;
}

bool has(const std::vector<uint16_t>& ports, uint16_t port) {
  return std::find(ports.begin(), ports.end(), port) != ports.end();
}

struct Heard {
  uint64_t bytes = kCallBytesMin;
  uint32_t silent_ms = 0;
};

/// What has come over a connection; enough, where it has ended or the kernel does not say.
Heard heard_of(int fd) noexcept {
  tcp_info info{};
  socklen_t bytes = sizeof(info);
  constexpr size_t kNeeded = offsetof(tcp_info, tcpi_bytes_received) + sizeof(uint64_t);
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0 || bytes < kNeeded) return {};
  if (info.tcpi_state != kEstablished) return {};
  return {info.tcpi_bytes_received, info.tcpi_last_data_recv};
}

}  // namespace

void DataPorts::leave_out() {
  others_ = listening_ports();
}

void DataPorts::find() {
  for (const uint16_t port : listening_ports()) {
    if (!has(others_, port) && !has(ports_, port)) ports_.push_back(port);
  }
}

bool DataPorts::look() {
  if (ports_.empty()) return false;
  bool found = false;
  bool any_open = false;
  for (int end = next_fd_ + kDescriptorsPerLook; next_fd_ < end; ++next_fd_) {
    const uint16_t port = own_port(next_fd_);
    any_open = any_open || port != 0 || errno != EBADF;
    if (port == 0 || !has(ports_, port) || listens(next_fd_)) continue;
    const Heard heard = heard_of(next_fd_);
    if (heard.bytes >= kCallBytesMin) continue;
    found = true;
    if (++strangers_ <= kStrangersAtPortsMax && heard.silent_ms < kSilentMsMax) continue;
    (void)::shutdown(next_fd_, SHUT_RDWR);
    ++hung_up_;
  }
  if (!any_open) {  // descriptors are given out from below: this was the end
    next_fd_ = 0;
    strangers_ = 0;
  }
  return found;
}

}  // namespace copykv
