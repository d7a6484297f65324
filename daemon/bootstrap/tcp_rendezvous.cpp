// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/assert.hpp"
#include "base/units.hpp"
#include "daemon/bootstrap/bytes.hpp"
#include "daemon/bootstrap/rank_list.hpp"
#include "daemon/bootstrap/tcp_bootstrap.hpp"

namespace copykv::bootstrap {
namespace {

constexpr uint64_t kListener = 0;  // connections count from 1
constexpr uint32_t kAcceptsPerTurn = 64;
constexpr size_t kBytesPerRead = 64 * 1024;
constexpr int kTurnMsMax = 50;
constexpr uint64_t kFarewellNs = kNanosPerSecond;

Fd spare_descriptor() {
  return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

}  // namespace

Outcome<std::unique_ptr<Bootstrap>> TcpRendezvous::make(const BootstrapOptions& options,
                                                        const RendezvousUrl& url) {
  Outcome<Poller> poller = Poller::make();
  if (!poller) return Failure{poller.error};
  Outcome<Fd> listener = listen_at(url);
  if (!listener) return Failure{listener.error};
  if (!poller->add(listener->get(), kListener, EPOLLIN)) {
    return Failure{"cannot watch the rendezvous; raise fs.epoll.max_user_watches"};
  }
  return std::unique_ptr<Bootstrap>(
      new TcpRendezvous(options, std::move(*listener), std::move(*poller)));
}

TcpRendezvous::TcpRendezvous(const BootstrapOptions& options, Fd listener, Poller poller)
    : options_(options),
      listener_(std::move(listener)),
      poller_(std::move(poller)),
      spare_(spare_descriptor()),
      server_(options, clock_) {}

Outcome<std::vector<std::string>> TcpRendezvous::exchange(const std::string& card) {
  COPYKV_ASSERT(card.size() <= kCardBytesMax, "card of {} B", card.size());
  const uint64_t deadline_ns = clock_.now_ns() + options_.deadline_ms * kNanosPerMilli;
  server_.publish(card);
  while (!server_.is_complete() && clock_.now_ns() < deadline_ns) {
    if (is_readable(options_.stop_fd)) return Failure{stopped_line(options_.rank)};
    turn(kTurnMsMax);
  }
  const std::vector<uint32_t> missing = server_.missing();
  if (!missing.empty()) server_.give_up();
  // Whoever calls may end at once: what was said has to be on its way, and bad news to have come.
  turn(0);
  const uint64_t end_ns = clock_.now_ns() + kFarewellNs;
  const auto is_said = [&] { return missing.empty() ? !server_.has_unsent() : sockets_.empty(); };
  while (!is_said() && clock_.now_ns() < end_ns) turn(kTurnMsMax);
  if (missing.empty()) return server_.cards();
  return Failure{
      fmt::format("{} missing at --rendezvous {} after {}; start every rank with the "
                  "same --job, --ranks and --rendezvous",
                  ranks_are(missing, options_.ranks), options_.url,
                  spell_duration(options_.deadline_ms * kNanosPerMilli))};
}

std::vector<Bootstrap::Change> TcpRendezvous::changes() {
  turn(0);
  return server_.take_changes();
}

/// Looks at up to 64 connections, then sends what came of it.
void TcpRendezvous::turn(int timeout_ms) {
  for (const epoll_event& event : poller_.wait(timeout_ms)) {
    const uint64_t token = event.data.u64;
    if (token == kListener) {
      accept_some();
    } else if (token != Poller::kTimer && sockets_.contains(token)) {
      if ((event.events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) read(token);
      flush(token);
    }
  }
  const uint64_t next_ns = server_.tick();
  for (const TcpServer::Id id : server_.take_touched()) flush(id);
  poller_.wake_at(next_ns);
}

void TcpRendezvous::accept_some() {
  for (uint32_t count = 0; count < kAcceptsPerTurn; ++count) {
    Address from;
    from.bytes = sizeof(from.storage);
    const auto accept = [&] {
      return Fd(::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&from.storage), &from.bytes,
                          SOCK_NONBLOCK | SOCK_CLOEXEC));
    };
    Fd socket = accept();
    if (!socket && (errno == EMFILE || errno == ENFILE)) {
      // Takes one off the queue all the same, and makes room for the next.
      spare_.reset();
      accept().reset();
      spare_ = spare_descriptor();
      return server_.shed();
    }
    if (!socket) return;
    tune(socket.get());
    const TcpServer::Id id = server_.open(from.text());
    if (!poller_.add(socket.get(), id, EPOLLIN | EPOLLRDHUP)) {
      server_.closed(id);
      continue;
    }
    sockets_[id].fd = std::move(socket);
  }
}

void TcpRendezvous::read(TcpServer::Id id) {
  switch (read_some(sockets_[id].fd.get(), buffer_, kBytesPerRead)) {
    case Moved::some:
      return server_.receive(id, buffer_);
    case Moved::nothing_now:
      return;
    case Moved::ended:
      return drop(id);
  }
}

void TcpRendezvous::flush(TcpServer::Id id) {
  const auto found = sockets_.find(id);
  if (found == sockets_.end()) return;
  Socket& socket = found->second;
  if (server_.must_close(id)) return drop(id);
  while (!server_.to_send(id).empty()) {
    size_t sent = 0;
    const Moved moved = write_some(socket.fd.get(), server_.to_send(id), sent);
    server_.sent(id, sent);
    if (moved == Moved::ended) return drop(id);
    if (moved == Moved::nothing_now) break;
  }
  const bool waits = !server_.to_send(id).empty();
  if (waits != socket.waits_to_write) {
    socket.waits_to_write = waits;
    poller_.change(socket.fd.get(), id, EPOLLIN | EPOLLRDHUP | (waits ? uint32_t{EPOLLOUT} : 0U));
  }
  if (!waits && server_.wants_end(id) && !std::exchange(socket.has_ended, true)) {
    // Closing at once would reset the connection, and the last message might not arrive.
    (void)::shutdown(socket.fd.get(), SHUT_WR);
  }
}

void TcpRendezvous::drop(TcpServer::Id id) {
  sockets_.erase(id);
  server_.closed(id);
}

}  // namespace copykv::bootstrap
