// SPDX-License-Identifier: Apache-2.0
#include "daemon/control.hpp"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
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
    refuse_the_due();
    look_at_data_ports();
    grew = populate_stores();
    push_leaving();
    if (bootstrap_ != nullptr) take_changes();
    warn_once_of_full_memory();
  }
  drain();
}

void Control::look_at_data_ports() {
  const uint64_t before = data_ports_.hung_up();
  strangers_call_ = data_ports_.look();
  if (data_ports_.hung_up() == before) return;
  log_limit_.warn(
      fmt::format("hung up on {} connections of strangers to this rank's ports; keep them behind a "
                  "firewall",
                  data_ports_.hung_up() - before));
}

int Control::tick_ms(bool grew) const {
  if (grew) return 0;
  if (leaving_count_ > 0) return 1;
  if (!arrivals_.empty() || strangers_call_) return kBusyTickMs;
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
  if (const uint64_t id = arrival_of(token); id != 0) {
    const auto arrival = arrivals_.find(id);  // may have gone earlier in this round
    if (arrival != arrivals_.end() && hear(arrival->second)) arrivals_.erase(arrival);
    return;
  }
  const auto number = static_cast<uint32_t>(token);
  if (clients_[number] == nullptr) return;  // left earlier in this round
  ClientRecord& client = *clients_[number];
  if (client.state == ClientRecord::State::leaving) return;
  if ((token & kPidfdBit) != 0) return leave(client, "process ended");
  on_message(client);
}

void Control::on_message(ClientRecord& client) {
  alignas(8) std::array<std::byte, 512> message;
  const ssize_t bytes = ::recv(client.socket.get(), message.data(), message.size(), MSG_DONTWAIT);
  if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (bytes <= 0) return leave(client, "detached");
  const auto message_bytes = static_cast<size_t>(bytes);
  if (!check_bulk_request(message.data(), message_bytes)) {
    return leave(client, "sent a message that is none");
  }
  BulkRequest request;
  std::memcpy(&request, message.data(), sizeof(request));
  grant_bulk(client, request);
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
  std::string error;
  // Beyond its own limit it is told that one.
  if (request.bytes > before && request.bytes <= client.geometry.bulk_bytes_max) {
    error = clients_memory_error(request.bytes - before);
  }
  set_text(grant.text, error.empty() ? client.grow_bulk(request.bytes) : error);
  clients_bytes_ += client.bulk_bytes_granted - before;
  grant.bytes = client.bulk_bytes_granted;
  count<uint64_t>(rank_->bulk_bytes_granted, client.bulk_bytes_granted - before);
  (void)send_message(client.socket.get(), &grant, sizeof(grant));
}

void Control::leave(ClientRecord& client, const char* why) {
  log_debug("client {} (pid {}) {}", client.number, client.pid, why);
  client.socket.reset();  // also leaves the epoll set
  client.pidfd.reset();
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
  clients_bytes_ -= clients_[number]->bytes();
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
