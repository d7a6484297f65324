// SPDX-License-Identifier: Apache-2.0
// Sockets of the rendezvous: addresses of a host, listening, connecting; nothing of what is said.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "daemon/bootstrap/rendezvous_url.hpp"

namespace copykv::bootstrap {

struct Address {
  sockaddr_storage storage{};
  socklen_t bytes = 0;

  [[nodiscard]] const sockaddr* get() const noexcept {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
  [[nodiscard]] std::string text() const;
};

/// All addresses of the host, v4 and v6. Asks name servers: may block for seconds.
[[nodiscard]] Outcome<std::vector<Address>> resolve(const RendezvousUrl& url);

/// This machine's address on the way to that host, as numbers. Empty: unknown, or only this machine
/// can use it though the host may be another. Sends nothing; may block as resolve does.
[[nodiscard]] std::string own_address_towards(const RendezvousUrl& url);

/// Listens at a literal address or on loopback exactly there, at any other name on all addresses of
/// this machine: the own name of a machine often leads to its loopback, where nobody else comes.
[[nodiscard]] Outcome<Fd> listen_at(const RendezvousUrl& url);

/// Starts to connect; the socket is writable when that has ended. Empty: errno says why.
[[nodiscard]] Fd start_connect(const Address& address);
/// A connection to nobody but itself: where no one listens, the system may give out the port that
/// is connected to as the own one.
[[nodiscard]] bool is_own_end(int socket) noexcept;
/// 0: it stands.
[[nodiscard]] int connect_error(int socket) noexcept;

/// Notices within seconds that the other machine is gone, and does not hold messages back.
void tune(int socket) noexcept;

enum class Moved : uint8_t { some, nothing_now, ended };
/// Reads once, up to `bytes_max`, into `to`.
[[nodiscard]] Moved read_some(int socket, std::string& to, size_t bytes_max);
/// Sends what the socket takes of `bytes` now; adds it to `sent`.
[[nodiscard]] Moved write_some(int socket, std::string_view bytes, size_t& sent);

/// An epoll set with a timer in it: one descriptor that is readable when anything is to do.
class Poller {
 public:
  static constexpr uint64_t kTimer = UINT64_MAX;

  [[nodiscard]] static Outcome<Poller> make();
  [[nodiscard]] int fd() const noexcept { return epoll_.get(); }
  [[nodiscard]] bool add(int fd, uint64_t token, uint32_t events);
  void change(int fd, uint64_t token, uint32_t events);
  /// At CLOCK_MONOTONIC `at_ns` the set becomes readable; UINT64_MAX: never.
  void wake_at(uint64_t at_ns);
  /// Up to 64 events; a due timer is taken back and reported as kTimer.
  [[nodiscard]] std::vector<epoll_event> wait(int timeout_ms);

 private:
  Fd epoll_{};
  Fd timer_{};
  uint64_t wake_at_ns_ = UINT64_MAX;
};

}  // namespace copykv::bootstrap
