// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/assert.hpp"
#include "base/log.hpp"
#include "base/units.hpp"
#include "daemon/bootstrap/bytes.hpp"
#include "daemon/bootstrap/rank_list.hpp"
#include "daemon/bootstrap/tcp_bootstrap.hpp"

namespace copykv::bootstrap {
namespace {

constexpr uint64_t kRankZero = 0;
constexpr uint64_t kConnectWithinNs = 3 * kNanosPerSecond;
constexpr uint64_t kWelcomeWithinNs = 5 * kNanosPerSecond;
constexpr uint64_t kTurnMsMax = 50;
constexpr uint64_t kPauseMsMin = 10;
constexpr uint64_t kPauseMsMax = 500;
constexpr size_t kBytesPerRead = 64 * 1024;

}  // namespace

Outcome<std::unique_ptr<Bootstrap>> TcpMember::make(const BootstrapOptions& options,
                                                    const RendezvousUrl& url) {
  Outcome<Poller> poller = Poller::make();
  if (!poller) return Failure{poller.error};
  return std::unique_ptr<Bootstrap>(new TcpMember(options, url, std::move(*poller)));
}

TcpMember::TcpMember(const BootstrapOptions& options, RendezvousUrl url, Poller poller)
    : options_(options),
      url_(std::move(url)),
      poller_(std::move(poller)),
      client_(options, url_.where()) {}

Outcome<std::vector<std::string>> TcpMember::exchange(const std::string& card) {
  COPYKV_ASSERT(card.size() <= kCardBytesMax, "card of {} B", card.size());
  const uint64_t deadline_ns = clock_.now_ns() + options_.deadline_ms * kNanosPerMilli;
  client_.publish(card);
  poller_.wake_at(1);
  while (!client_.is_complete()) {
    const uint64_t now_ns = clock_.now_ns();
    if (is_readable(options_.stop_fd)) return Failure{stopped_line(options_.rank)};
    const bool is_late = now_ns >= deadline_ns;
    if (is_late || last_end_.is_final) {
      const std::string line = is_late ? late_line() : last_end_.line;
      stop();
      return Failure{line};
    }
    const uint64_t left_ms = (deadline_ns - now_ns) / kNanosPerMilli + 1;
    turn(static_cast<int>(std::min(left_ms, kTurnMsMax)));
  }
  exchanged_ = true;
  return client_.cards();
}

std::vector<Bootstrap::Change> TcpMember::changes() {
  turn(0);
  return client_.take_changes();
}

void TcpMember::turn(int timeout_ms) {
  for (const epoll_event& event : poller_.wait(timeout_ms)) {
    if (event.data.u64 == kRankZero && socket_) talk(event.events);
  }
  if (state_ != State::stopped && clock_.now_ns() >= due_ns_) {
    if (state_ == State::pausing) {
      connect_next();
    } else {
      lose({state_ == State::connecting ? "the connection timed out"
                                        : "it listens, but does not answer"});
    }
  }
  poller_.wake_at(due_ns_);
}

void TcpMember::look_up() {
  // Later the addresses of the start have to do: asking for names may block.
  if (exchanged_ && !addresses_.empty()) return;
  auto found = resolve(url_);
  next_address_ = 0;
  addresses_ = found ? std::move(*found) : std::vector<Address>();
  if (!found) lose({found.error});
}

void TcpMember::connect_next() {
  if (next_address_ >= addresses_.size()) {
    next_address_ = 0;
    look_up();
    if (addresses_.empty()) return;
  }
  socket_ = start_connect(addresses_[next_address_++]);
  if (!socket_ || !poller_.add(socket_.get(), kRankZero, EPOLLIN | EPOLLOUT)) {
    return lose({std::strerror(errno)});
  }
  state_ = State::connecting;
  due_ns_ = clock_.now_ns() + kConnectWithinNs;
}

void TcpMember::talk(uint32_t events) {
  if (state_ == State::connecting) {
    if (const int error = connect_error(socket_.get()); error != 0) {
      return lose({std::strerror(error)});
    }
    if ((events & EPOLLOUT) == 0) return;
    if (is_own_end(socket_.get())) return lose({std::strerror(ECONNREFUSED)});
    state_ = State::talking;
    due_ns_ = clock_.now_ns() + kWelcomeWithinNs;
    client_.begin();
    return flush();
  }
  const Moved moved = read_some(socket_.get(), buffer_, kBytesPerRead);
  if (moved == Moved::ended) return lose({"it closed the connection"});
  if (moved == Moved::some) {
    if (const auto end = client_.receive(buffer_)) return lose(*end);
  }
  if (client_.is_welcome() && due_ns_ != UINT64_MAX) {
    due_ns_ = UINT64_MAX;
    pause_ms_ = 0;
    if (exchanged_) log_info("rank 0 at {} is back", url_.where());
  }
  flush();
}

void TcpMember::flush() {
  while (!client_.to_send().empty()) {
    size_t sent = 0;
    const Moved moved = write_some(socket_.get(), client_.to_send(), sent);
    client_.sent(sent);
    if (moved == Moved::ended) return lose({"it closed the connection"});
    if (moved == Moved::nothing_now) break;
  }
  poller_.change(socket_.get(), kRankZero,
                 EPOLLIN | (client_.to_send().empty() ? 0U : uint32_t{EPOLLOUT}));
}

/// The next address, and after the last of them a pause.
void TcpMember::lose(const LinkEnd& end) {
  if (exchanged_ && end.line != said_) {
    said_ = end.line;
    log(end.is_final ? LogLevel::warn : LogLevel::info, "rendezvous with rank 0 at {}: {}",
        url_.where(), end.line);
  }
  last_end_ = end;
  state_ = State::pausing;
  socket_.reset();
  superseded_ = end.lost_number;
  if (superseded_) return stop();
  due_ns_ = clock_.now_ns();
  if (next_address_ < addresses_.size()) return;
  pause_ms_ = end.is_final ? kPauseMsMax : std::clamp(2 * pause_ms_, kPauseMsMin, kPauseMsMax);
  due_ns_ += pause_ms_ * kNanosPerMilli;
}

void TcpMember::stop() {
  socket_.reset();
  state_ = State::stopped;
  due_ns_ = UINT64_MAX;
}

std::string TcpMember::late_line() const {
  const std::string after = spell_duration(options_.deadline_ms * kNanosPerMilli);
  if (state_ == State::talking && client_.is_welcome()) {
    return fmt::format(
        "{} missing at --rendezvous {} after {}; start every rank with the same "
        "--job, --ranks and --rendezvous",
        ranks_are(client_.missing(), options_.ranks), options_.url, after);
  }
  return fmt::format(
      "cannot reach rank 0 at --rendezvous {} for {}: {}; start rank 0 there, and "
      "see that name, port and firewall let this machine in",
      options_.url, after, last_end_.line.empty() ? "no answer" : last_end_.line);
}

}  // namespace copykv::bootstrap
