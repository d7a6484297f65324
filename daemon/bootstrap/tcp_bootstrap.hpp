// SPDX-License-Identifier: Apache-2.0
// --rendezvous tcp://host:port: the two sides with their sockets. What they say is in tcp_server,
// tcp_client and tcp_link.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "daemon/bootstrap/bootstrap.hpp"
#include "daemon/bootstrap/tcp_client.hpp"
#include "daemon/bootstrap/tcp_server.hpp"
#include "daemon/bootstrap/tcp_socket.hpp"

namespace copykv::bootstrap {

/// Rank 0: listens, and goes on serving after the exchange.
class TcpRendezvous final : public Bootstrap {
 public:
  [[nodiscard]] static Outcome<std::unique_ptr<Bootstrap>> make(const BootstrapOptions& options,
                                                                const RendezvousUrl& url);

  [[nodiscard]] Outcome<std::vector<std::string>> exchange(const std::string& card) override;
  [[nodiscard]] std::vector<Change> changes() override;
  [[nodiscard]] int wait_fd() const noexcept override { return poller_.fd(); }

 private:
  struct Socket {
    Fd fd{};
    bool waits_to_write = false;
    bool has_ended = false;  ///< nothing more will be written
  };

  TcpRendezvous(const BootstrapOptions& options, Fd listener, Poller poller);
  void turn(int timeout_ms);
  void accept_some();
  void read(TcpServer::Id id);
  void flush(TcpServer::Id id);
  void drop(TcpServer::Id id);

  const BootstrapOptions options_;
  const SystemClock clock_{};
  Fd listener_;
  Poller poller_;
  Fd spare_{};  ///< given up for a moment when there are no more descriptors
  TcpServer server_;
  std::map<TcpServer::Id, Socket> sockets_{};
  std::string buffer_{};
};

/// Every other rank: connects, and connects again.
class TcpMember final : public Bootstrap {
 public:
  [[nodiscard]] static Outcome<std::unique_ptr<Bootstrap>> make(const BootstrapOptions& options,
                                                                const RendezvousUrl& url);

  [[nodiscard]] Outcome<std::vector<std::string>> exchange(const std::string& card) override;
  [[nodiscard]] std::vector<Change> changes() override;
  [[nodiscard]] int wait_fd() const noexcept override { return poller_.fd(); }
  [[nodiscard]] bool is_superseded() const noexcept override { return superseded_; }

 private:
  enum class State : uint8_t { pausing, connecting, talking, stopped };

  TcpMember(const BootstrapOptions& options, RendezvousUrl url, Poller poller);
  void turn(int timeout_ms);
  void connect_next();
  void talk(uint32_t events);
  void flush();
  void lose(const LinkEnd& end);
  void look_up();
  void stop();
  [[nodiscard]] std::string late_line() const;

  const BootstrapOptions options_;
  const RendezvousUrl url_;
  const SystemClock clock_{};
  Poller poller_;
  TcpClient client_;
  std::vector<Address> addresses_{};
  size_t next_address_ = 0;
  State state_ = State::pausing;
  Fd socket_{};
  uint64_t due_ns_ = 0;  ///< pausing: when to try again; else when this attempt has taken too long
  uint64_t pause_ms_ = 0;
  bool exchanged_ = false;
  bool superseded_ = false;
  LinkEnd last_end_{};
  std::string said_{};  ///< logged already
  std::string buffer_{};
};

}  // namespace copykv::bootstrap
