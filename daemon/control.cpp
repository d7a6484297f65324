// SPDX-License-Identifier: Apache-2.0
#include "daemon/control.hpp"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/log.hpp"
#include "daemon/control_tokens.hpp"

namespace copykv {
namespace {

// While daemons work: how soon memory ahead of need and closed lanes are looked after.
constexpr int kBusyTickMs = 10;
constexpr int kIdleTickMs = 200;
constexpr int kEventsPerWait = 64;
constexpr uint32_t kPopulateStepsPerTick = 64;

}  // namespace

Control::~Control() {
  for (auto& daemon : daemons_) daemon->stop();
  if (listener_) (void)::unlink(socket_path_.c_str());
  if (!info_path_.empty() && lock_) (void)::unlink(info_path_.c_str());
}

void Control::run() {
  for (auto& daemon : daemons_) daemon->start();
  if (options_.ranks > 1) wait_for_peers();
  std::printf("ready job=%s rank=%u socket=%s pid=%d\n",
              job_dir_.substr(job_dir_.rfind('/') + 1).c_str(), options_.rank, socket_path_.c_str(),
              ::getpid());
  std::fflush(stdout);
  std::array<epoll_event, kEventsPerWait> events;
  bool grew = true;
  while (!stopping_) {
    const int ready = ::epoll_wait(epoll_.get(), events.data(), kEventsPerWait, tick_ms(grew));
    for (int index = 0; index < ready; ++index) {
      on_event(events[static_cast<size_t>(index)].data.u64);
    }
    free_numbers_.insert(free_numbers_.end(), freed_numbers_.begin(), freed_numbers_.end());
    freed_numbers_.clear();
    grew = populate_stores();
    push_leaving();
    if (bootstrap_ != nullptr) take_changes();
    warn_once_of_full_memory();
  }
  drain();
}

int Control::tick_ms(bool grew) const {
  if (grew) return 0;
  if (leaving_count_ > 0) return 1;
  const bool all_asleep = std::all_of(daemons_.begin(), daemons_.end(),
                                      [](const auto& daemon) { return daemon->sleeping(); });
  return all_asleep ? kIdleTickMs : kBusyTickMs;
}

bool Control::populate_stores() {
  bool more = false;
  for (auto& daemon : daemons_) {
    if (!daemon->memory().wants_populating()) continue;
    bool wanted = true;
    for (uint32_t step = 0; wanted && step < kPopulateStepsPerTick; ++step) {
      wanted = daemon->memory().populate_ahead();
    }
    more = more || wanted;
  }
  return more;
}

void Control::on_event(uint64_t token) {
  if (token == kListenerToken) return accept_clients();
  if (token == kSignalToken) {
    stopping_ = true;
    return;
  }
  if (token == kBootstrapToken) return;  // take_changes follows every round
  const auto number = static_cast<uint32_t>(token);
  if (clients_[number] == nullptr) return;  // left earlier in this round
  ClientRecord& client = *clients_[number];
  if (client.state == ClientRecord::State::leaving) return;
  if ((token & kPidfdBit) != 0) return leave(client, "process ended");
  on_message(client);
}

void Control::accept_clients() {
  while (true) {
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        log_warn("accept: {}; raise `ulimit -n`", std::strerror(errno));
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
      continue;
    }
    if (free_numbers_.empty()) {
      refuse(socket.get(), Refusal::too_many,
             fmt::format("{} clients are attached; raise copykvd --max-clients",
                         options_.clients_max));
      continue;
    }
    auto client = std::make_unique<ClientRecord>();
    client->number = free_numbers_.back();
    client->pid = peer.pid;
    client->socket = std::move(socket);
    client->pidfd = Fd(static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0)));
    const Outcome<void> watched = watch(client->socket.get(), socket_token(client->number));
    if (!watched) {
      refuse(client->socket.get(), Refusal::no_memory, watched.error);
      continue;
    }
    // Without a pidfd (a foreign pid namespace) the end of the socket alone tells of its death.
    if (client->pidfd) (void)watch(client->pidfd.get(), pidfd_token(client->number));
    free_numbers_.pop_back();
    clients_[client->number] = std::move(client);
  }
}

void Control::on_message(ClientRecord& client) {
  alignas(8) std::array<std::byte, 512> message;
  const ssize_t bytes = ::recv(client.socket.get(), message.data(), message.size(), MSG_DONTWAIT);
  if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (bytes <= 0) return leave(client, "detached");
  const auto message_bytes = static_cast<size_t>(bytes);
  if (client.state == ClientRecord::State::accepted) {
    std::string text;
    const Refusal refusal = check_hello(message.data(), message_bytes, text);
    if (refusal != Refusal::none) {
      refuse(client.socket.get(), refusal, text);
      return leave(client, "refused");
    }
    Hello hello;
    std::memcpy(&hello, message.data(), sizeof(hello));
    return welcome(client, hello);
  }
  if (!check_bulk_request(message.data(), message_bytes)) {
    return leave(client, "sent a message that is none");
  }
  BulkRequest request;
  std::memcpy(&request, message.data(), sizeof(request));
  grant_bulk(client, request);
}

void Control::refuse(int socket, Refusal refusal, const std::string& text) {
  count<uint64_t>(rank_->attaches_refused, 1);
  log_info("attach refused: {}", text);
  Welcome welcome{};
  welcome.head = message_head(MessageType::welcome, sizeof(welcome));
  welcome.fingerprint = layout_fingerprint();
  welcome.refusal = static_cast<uint32_t>(refusal);
  set_text(welcome.text, text);
  (void)send_message(socket, &welcome, sizeof(welcome));  // gone already: nothing to tell
}

void Control::welcome(ClientRecord& client, const Hello& hello) {
  SegmentGeometry geometry;
  geometry.client_number = client.number;
  geometry.lane_count = options_.daemon_threads;
  geometry.queue_depth = hello.queue_depth;
  geometry.slot_payload_bytes = hello.slot_payload_bytes;
  geometry.bulk_bytes_max =
      std::min(hello.bulk_bytes_max, options_.client_bulk_bytes) / kPageBytes * kPageBytes;
  client.fence_free = has_membarrier_ && hello.has_membarrier == 1;
  const Outcome<void> made = client.make_segment(geometry, epoch_);
  if (!made) {
    refuse(client.socket.get(), Refusal::no_memory, made.error);
    return leave(client, "no memory for its segment");
  }
  std::vector<int> descriptors = {client.memory.get(), rank_page_fd_.get()};
  for (auto& daemon : daemons_) descriptors.push_back(daemon->wake_fd());
  for (auto& daemon : daemons_) descriptors.push_back(daemon->memory().fd());
  Welcome answer{};
  answer.head = message_head(MessageType::welcome, sizeof(answer));
  answer.fingerprint = layout_fingerprint();
  answer.daemon_count = options_.daemon_threads;
  answer.segment_bytes = geometry.segment_bytes();
  answer.rank_page_bytes = rank_page_bytes(options_.daemon_threads);
  answer.fence_free = client.fence_free ? 1 : 0;
  client.state = ClientRecord::State::attached;
  count<uint64_t>(rank_->attaches, 1);
  count<uint32_t>(rank_->clients_attached, 1);
  for (uint32_t daemon = 0; daemon < daemons_.size(); ++daemon) {
    send_command(*daemons_[daemon], {Command::Kind::attach, client.lane(daemon)});
  }
  log_debug("client {} (pid {}) attached", client.number, client.pid);
  if (!send_message(client.socket.get(), &answer, sizeof(answer), descriptors)) {
    leave(client, "hung up during attach");
  }
}

/// The queue is far longer than what arrives while a daemon takes one turn.
void Control::send_command(DaemonThread& daemon, const Command& command) {
  while (!daemon.commands().push(command)) {
    daemon.wake();
    ::usleep(100);
  }
  daemon.wake();
}

void Control::grant_bulk(ClientRecord& client, const BulkRequest& request) {
  const uint64_t before = client.bulk_bytes_granted;
  BulkGrant grant{};
  grant.head = message_head(MessageType::bulk_grant, sizeof(grant));
  set_text(grant.text, client.grow_bulk(request.bytes));
  grant.bytes = client.bulk_bytes_granted;
  count<uint64_t>(rank_->bulk_bytes_granted, client.bulk_bytes_granted - before);
  (void)send_message(client.socket.get(), &grant, sizeof(grant));
}

void Control::leave(ClientRecord& client, const char* why) {
  log_debug("client {} (pid {}) {}", client.number, client.pid, why);
  client.socket.reset();  // also leaves the epoll set
  client.pidfd.reset();
  if (client.state == ClientRecord::State::accepted) return remove(client.number);
  client.state = ClientRecord::State::leaving;
  ++leaving_count_;
  count<uint64_t>(rank_->clients_gone, 1);
  count<uint32_t>(rank_->clients_attached, static_cast<uint32_t>(-1));
  count<uint64_t>(rank_->bulk_bytes_granted, 0 - client.bulk_bytes_granted);
  push_leaving();
}

/// Tells daemons to close lanes, and frees clients whose lanes are closed everywhere.
void Control::push_leaving() {
  if (leaving_count_ == 0) return;
  for (auto& client : clients_) {
    if (client == nullptr || client->state != ClientRecord::State::leaving) continue;
    while (client->close_sent < daemons_.size()) {
      DaemonThread& daemon = *daemons_[client->close_sent];
      Command command{Command::Kind::close, {}};
      command.lane.id = client->number;
      if (!daemon.commands().push(command)) break;  // full: at the next tick
      ++client->close_sent;
    }
    if (client->all_closed()) {
      --leaving_count_;
      remove(client->number);
    }
  }
  for (auto& daemon : daemons_) daemon->wake();
}

void Control::remove(uint32_t number) {
  clients_[number].reset();
  freed_numbers_.push_back(number);
}

/// Serves what stands on the lanes, then lets the clients see the end of their sockets.
void Control::drain() {
  (void)::unlink(socket_path_.c_str());
  listener_.reset();
  for (auto& daemon : daemons_) daemon->stop();
  for (auto& client : clients_) client.reset();
}

void Control::warn_once_of_full_memory() {
  for (auto& daemon : daemons_) {
    const std::string error = daemon->memory().populate_error();
    if (!error.empty() && !said_memory_full_) {
      said_memory_full_ = true;
      log_warn("{}", error);
    }
  }
}

}  // namespace copykv
