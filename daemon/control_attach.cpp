// SPDX-License-Identifier: Apache-2.0
// From a connection to a client: who may attach, and what each one gets.
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/log.hpp"
#include "base/units.hpp"
#include "daemon/control.hpp"
#include "daemon/control_tokens.hpp"

namespace copykv {
namespace {

// More than these wait in the listener's queue: those who are attached have their turn in between.
constexpr uint32_t kAcceptsPerRound = 64;
constexpr uint64_t kHelloWithinNs = 5 * kNanosPerSecond;
constexpr useconds_t kNoDescriptorPauseUs = 10'000;
constexpr uint64_t kTooOftenPauseNs = 100 * kNanosPerMilli;

}  // namespace

void Control::accept_clients() {
  for (uint32_t count = 0; count < kAcceptsPerRound; ++count) {
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        log_limit_.warn(fmt::format("accept: {}; raise `ulimit -n`", std::strerror(errno)));
        ::usleep(kNoDescriptorPauseUs);  // the listener stays readable: no spinning on it
      }
      return;
    }
    ucred peer{};
    socklen_t peer_bytes = sizeof(peer);
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) != 0 ||
        (peer.uid != ::geteuid() && peer.uid != 0)) {
      refuse(socket.get(), Refusal::wrong_user,
             fmt::format("this copykvd belongs to user {}; attach as that user, or start your own "
                         "with another --runtime-dir",
                         ::geteuid()));
    } else {
      arrive({.socket = std::move(socket), .pid = peer.pid});
    }
  }
}

/// Most have said hello by the time they are accepted; the others wait here, not among the clients.
void Control::arrive(Arrival arrival) {
  const uint64_t now_ns = clock_.now_ns();
  const uint64_t id = ++last_arrival_;
  if (!attach_rate_.take(arrival.pid, now_ns)) {
    arrival.too_often = true;
    arrival.due_ns = now_ns + kTooOftenPauseNs;
    return keep_waiting(std::move(arrival), id);
  }
  arrival.pidfd = Fd(static_cast<int>(::syscall(SYS_pidfd_open, arrival.pid, 0)));
  if (hear(arrival)) return;
  if (const auto watched = watch(arrival.socket.get(), arrival_token(id)); !watched) {
    return refuse(arrival.socket.get(), Refusal::no_memory, watched.error);
  }
  arrival.due_ns = now_ns + kHelloWithinNs;
  keep_waiting(std::move(arrival), id);
}

void Control::keep_waiting(Arrival arrival, uint64_t id) {
  if (arrivals_.size() >= kSilentConnectionsMax) {
    refuse_waiting(arrivals_.begin()->second);
    arrivals_.erase(arrivals_.begin());
  }
  arrivals_.emplace(id, std::move(arrival));
}

void Control::refuse_the_due() {
  const uint64_t now_ns = clock_.now_ns();
  for (auto arrival = arrivals_.begin(); arrival != arrivals_.end();) {
    const bool is_due = arrival->second.due_ns <= now_ns;
    if (is_due) refuse_waiting(arrival->second);
    arrival = is_due ? arrivals_.erase(arrival) : std::next(arrival);
  }
}

/// It has waited long enough, or somebody else needs its place.
void Control::refuse_waiting(const Arrival& arrival) {
  if (!arrival.too_often) {
    return refuse(arrival.socket.get(), Refusal::bad_message,
                  "no attach message came in time; use libcopykv");
  }
  refuse(arrival.socket.get(), Refusal::too_many,
         fmt::format("process {} attaches more than {} times a second; keep one Client, or raise "
                     "copykvd --attach-rate",
                     arrival.pid, options_.attach_rate));
}

/// Reads its hello and answers it. False: it has said nothing yet.
bool Control::hear(Arrival& arrival) {
  alignas(8) std::array<std::byte, 512> message;
  const ssize_t bytes = ::recv(arrival.socket.get(), message.data(), message.size(), MSG_DONTWAIT);
  if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (bytes <= 0) return true;
  std::string text;
  Refusal refusal = check_hello(message.data(), static_cast<size_t>(bytes), text);
  if (refusal == Refusal::none && free_numbers_.empty()) {
    refusal = Refusal::too_many;
    text =
        fmt::format("{} clients are attached; raise copykvd --max-clients", options_.clients_max);
  }
  if (refusal == Refusal::none) {
    Hello hello;
    std::memcpy(&hello, message.data(), sizeof(hello));
    refusal = welcome(arrival, hello, text);
  }
  if (refusal != Refusal::none) refuse(arrival.socket.get(), refusal, text);
  return true;
}

void Control::refuse(int socket, Refusal refusal, const std::string& text) {
  count<uint64_t>(rank_->attaches_refused, 1);
  log_limit_.info("attach refused: " + text);
  Welcome welcome{};
  welcome.head = message_head(MessageType::welcome, sizeof(welcome));
  welcome.fingerprint = layout_fingerprint();
  welcome.refusal = static_cast<uint32_t>(refusal);
  set_text(welcome.text, text);
  (void)send_message(socket, &welcome, sizeof(welcome));  // gone already: nothing to tell
}

/// Makes a client of it and tells it so. Anything but `none`: nothing of it is left, and `text`
/// says why.
Refusal Control::welcome(Arrival& arrival, const Hello& hello, std::string& text) {
  auto made = std::make_unique<ClientRecord>();
  ClientRecord& client = *made;
  client.number = free_numbers_.back();
  client.pid = arrival.pid;
  client.fence_free = has_membarrier_ && hello.has_membarrier == 1;
  SegmentGeometry geometry;
  geometry.client_number = client.number;
  geometry.lane_count = options_.daemon_threads;
  geometry.queue_depth = hello.queue_depth;
  geometry.slot_payload_bytes = hello.slot_payload_bytes;
  geometry.bulk_bytes_max =
      std::min(hello.bulk_bytes_max, options_.client_bulk_bytes) / kPageBytes * kPageBytes;
  text = clients_memory_error(geometry.bulk_offset());
  if (!text.empty()) return Refusal::no_memory;
  if (const auto segment = client.make_segment(geometry, epoch_); !segment) {
    text = segment.error;
    return Refusal::no_memory;
  }
  std::vector<Fd> wakes;
  for (auto& daemon : daemons_) {
    Outcome<Fd> wake = daemon->make_client_wake();
    if (!wake) {
      text = wake.error;
      return Refusal::no_memory;
    }
    wakes.push_back(std::move(*wake));
  }
  if (const auto watched = watch(arrival.socket.get(), socket_token(client.number)); !watched) {
    text = watched.error;
    return Refusal::no_memory;
  }
  // Without a pidfd (a foreign pid namespace) the end of the socket alone tells of its death.
  if (arrival.pidfd) (void)watch(arrival.pidfd.get(), pidfd_token(client.number));
  client.socket = std::move(arrival.socket);
  client.pidfd = std::move(arrival.pidfd);
  free_numbers_.pop_back();
  clients_[client.number] = std::move(made);
  clients_bytes_ += client.bytes();
  count<uint64_t>(rank_->attaches, 1);
  count<uint32_t>(rank_->clients_attached, 1);
  send_welcome(client, wakes);
  return Refusal::none;
}

void Control::send_welcome(ClientRecord& client, std::span<const Fd> wakes) {
  std::vector<int> descriptors = {client.memory.get(), rank_page_fd_.get()};
  for (const Fd& wake : wakes) descriptors.push_back(wake.get());
  for (auto& daemon : daemons_) descriptors.push_back(daemon->memory().fd());
  Welcome answer{};
  answer.head = message_head(MessageType::welcome, sizeof(answer));
  answer.fingerprint = layout_fingerprint();
  answer.daemon_count = options_.daemon_threads;
  answer.segment_bytes = client.geometry.segment_bytes();
  answer.rank_page_bytes = rank_page_bytes(options_.daemon_threads);
  answer.fence_free = client.fence_free ? 1 : 0;
  for (uint32_t daemon = 0; daemon < daemons_.size(); ++daemon) {
    send_command(*daemons_[daemon], {Command::Kind::attach, client.lane(daemon)});
  }
  log_debug("client {} (pid {}) attached", client.number, client.pid);
  if (!send_message(client.socket.get(), &answer, sizeof(answer), descriptors)) {
    leave(client, "hung up during attach");
  }
}

/// Why `bytes` more are too many for all clients together; empty: they are not.
std::string Control::clients_memory_error(uint64_t bytes) const {
  const uint64_t limit = options_.clients_memory_bytes;
  if (bytes <= limit && clients_bytes_ <= limit - bytes) return {};
  return fmt::format(
      "{} more for a client, but all clients hold {} of {}; raise copykvd "
      "--clients-memory",
      format_bytes(bytes), format_bytes(clients_bytes_), format_bytes(limit));
}

}  // namespace copykv
