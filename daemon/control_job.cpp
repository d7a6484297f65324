// SPDX-License-Identifier: Apache-2.0
// A rank among others: choosing the transport, meeting, connecting, and hearing of ranks that have
// started again.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/runtime_paths.hpp"
#include "base/units.hpp"
#include "daemon/bootstrap/job_secret.hpp"
#include "daemon/bootstrap/rendezvous_url.hpp"
#include "daemon/bootstrap/tcp_socket.hpp"
#include "daemon/control.hpp"
#include "daemon/control_tokens.hpp"

namespace copykv {
namespace {

constexpr uint64_t kUpWaitMs = 5'000;

/// What the options say of it; the address is known later.
FabricOptions fabric_options(const DaemonOptions& options) {
  FabricOptions fabric;
  fabric.peers_max = options.ranks * kRailsMax;
  fabric.device = options.device;
  fabric.port = options.port;
  if (const auto index = parse_count(options.gid_index, 255); index)
    fabric.gid_index = static_cast<int32_t>(*index);
  fabric.relaxed_ordering = options.relaxed_ordering;
  fabric.dc_initiators = options.dci_count;
  fabric.traffic_class = static_cast<uint8_t>(options.traffic_class);
  return fabric;
}

}  // namespace

Outcome<void> Control::prepare_job() {
  if (options_.ranks == 1) return {};
  auto chosen = choose_transport(options_.transport, fabric_options(options_));
  if (!chosen) return Failure{chosen.error};
  transport_ = *chosen;
  log_info("transport {}", transport_.why);
  const JobSecretSource source{.rendezvous = options_.rendezvous,
                               .file = options_.job_secret_file,
                               .runtime_dir = runtime_dir(options_.runtime_dir),
                               .job = job_name(options_.job)};
  auto secret = find_job_secret(source);
  if (!secret) return Failure{secret.error};
  auto made = Bootstrap::make({.url = options_.rendezvous,
                               .job = source.job,
                               .rank = options_.rank,
                               .ranks = options_.ranks,
                               .secret = *secret,
                               .deadline_ms = options_.rendezvous_timeout_ns / kNanosPerMilli,
                               .stop_fd = signals_.get()});
  if (!made) return Failure{made.error};
  bootstrap_ = std::move(*made);
  fabric_address_ = options_.address;
  const auto url = bootstrap::parse_rendezvous(options_.rendezvous);
  if (fabric_address_.empty() && url && url->scheme == bootstrap::Scheme::tcp) {
    fabric_address_ = bootstrap::own_address_towards(*url);
    log_info("other ranks reach this one at {}, on its way to the rendezvous",
             fabric_address_.empty() ? "the first interface" : fabric_address_);
  }
  return {};
}

RemoteOptions Control::remote_options(uint32_t daemon) const {
  RemoteOptions remote;
  remote.transport = transport_;
  // Shared memory has room for 256: what the job can have, not what a job could.
  remote.fabric = fabric_options(options_);
  remote.fabric.address = fabric_address_;
  remote.node.node = node_of(options_.rank, daemon);
  remote.node.nodes = options_.ranks * kRailsMax;
  remote.node.peers_max = copyrpc::kPeersLater;
  remote.node.incarnation = epoch_;
  remote.node.receive_budget_bytes = options_.receive_memory_bytes;
  remote.node.flush = options_.flush;
  remote.node.peer_timeout_ns = options_.peer_timeout_ns;
  remote.node.beat_ns = options_.peer_timeout_ns / 4;
  remote.node.seed = epoch_;
  return remote;
}

Outcome<void> Control::join_job() {
  if (options_.ranks == 1) {
    set_routing({options_.daemon_threads});
    return {};
  }
  JobCard own{.rank = options_.rank,
              .epoch = epoch_,
              .value_bytes_max = options_.value_bytes_max,
              .transport = transport_.name};
  for (auto& daemon : daemons_) own.daemons.push_back(daemon->network()->node().card());
  auto cards = bootstrap_->exchange(own.pack());
  if (!cards) return Failure{cards.error};
  for (uint32_t rank = 0; rank < cards->size(); ++rank) {
    auto card = JobCard::unpack((*cards)[rank]);
    if (!card) return Failure{fmt::format("rank {}: {}", rank, card.error)};
    job_.push_back(std::move(*card));
  }
  if (Outcome<void> checked = check_job(job_, options_.rank); !checked) return checked;
  std::vector<uint32_t> daemons;
  for (const JobCard& card : job_) daemons.push_back(static_cast<uint32_t>(card.daemons.size()));
  set_routing(daemons);
  if (Outcome<void> connected = connect_daemons(); !connected) return connected;
  if (const int fd = bootstrap_->wait_fd(); fd >= 0) return watch(fd, kBootstrapToken);
  return {};
}

void Control::set_routing(const std::vector<uint32_t>& daemons) {
  const Routing routing = make_routing(daemons, options_.rank);
  routing.write_to(*rank_);
  for (auto& daemon : daemons_) {
    if (daemon->network() != nullptr) daemon->network()->set_owners(routing.nodes);
  }
}

/// The daemons of another rank that daemon `own` talks with.
std::vector<const copyrpc::Card*> Control::peers_of(uint32_t own, const JobCard& card) const {
  const auto count = static_cast<uint32_t>(card.daemons.size());
  std::vector<const copyrpc::Card*> peers;
  for (uint32_t daemon = 0; daemon < count; ++daemon) {
    if (talks(own, options_.daemon_threads, daemon, count)) peers.push_back(&card.daemons[daemon]);
  }
  return peers;
}

Outcome<void> Control::connect_daemons() {
  for (uint32_t own = 0; own < daemons_.size(); ++own) {
    std::vector<const copyrpc::Card*> peers;
    for (const JobCard& card : job_) {
      if (card.rank == options_.rank) continue;
      for (const copyrpc::Card* peer : peers_of(own, card)) peers.push_back(peer);
    }
    peers_wanted_ += peers.size();
    copyrpc::Node& node = daemons_[own]->network()->node();
    if (auto taken = node.take_rings(static_cast<uint32_t>(peers.size())); !taken) return taken;
    log_info("daemon {}: rings of {} for each of {} peers", own, round_bytes(node.ring_bytes()),
             peers.size());
    for (const copyrpc::Card* card : peers) node.set_peer(*card);
  }
  return {};
}

/// The others may still be on their way from the rendezvous; a rank that comes back may find some
/// that are not there.
void Control::wait_for_peers() {
  const SystemClock clock;
  const uint64_t end_ns = clock.now_ns() + kUpWaitMs * kNanosPerMilli;
  while (clock.now_ns() < end_ns) {
    uint64_t up = 0;
    for (uint32_t own = 0; own < daemons_.size(); ++own) {
      up += peek(daemon_block(*rank_, own).peers_up);
    }
    if (up >= peers_wanted_ || stopping_) return;
    ::usleep(1'000);
    take_changes();
  }
  log_warn("not every rank could be reached yet; their keys answer unreachable until they can");
}

void Control::take_changes() {
  if (bootstrap_->is_superseded()) {
    log_warn("another copykvd has become rank {} of this job; this one stops", options_.rank);
    stopping_ = true;
    return;
  }
  for (const Bootstrap::Change& change : bootstrap_->changes()) {
    auto card = JobCard::unpack(change.card);
    if (!card || card->rank != change.rank || change.rank >= job_.size()) {
      log_warn("a new card of rank {} that makes no sense: {}", change.rank, card.error);
      continue;
    }
    if (change.rank == options_.rank || card->epoch == job_[change.rank].epoch) continue;
    if (card->daemons.size() != job_[change.rank].daemons.size()) {
      log_warn("rank {} came back with {} daemon threads instead of {}; give it the same number",
               change.rank, card->daemons.size(), job_[change.rank].daemons.size());
      continue;
    }
    log_info("rank {} has started again", change.rank);
    tell_peer(*card);
    job_[change.rank] = std::move(*card);
  }
}

void Control::tell_peer(const JobCard& card) {
  for (uint32_t own = 0; own < daemons_.size(); ++own) {
    for (const copyrpc::Card* peer : peers_of(own, card)) {
      new_cards_.push_back(*peer);
      Command command{Command::Kind::set_peer};
      command.card = &new_cards_.back();
      send_command(*daemons_[own], command);
    }
  }
}

}  // namespace copykv
