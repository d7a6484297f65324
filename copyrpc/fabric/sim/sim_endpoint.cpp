// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/sim/sim_endpoint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/assert.hpp"

namespace copyrpc {

using copykv::Failure;
using copykv::Outcome;

namespace {

constexpr std::string_view kAddressPrefix = "sim:";
constexpr uint32_t kTransferBytesMax = 1U << 30;
constexpr uint64_t kGapBytes = 1U << 16;  // between registered memories: no overrun hits another

}  // namespace

SimEndpoint::SimEndpoint(SimNetwork& network, uint32_t number, const SimOptions& options)
    : network_(network), number_(number) {
  limits_ = {.peers_max = options.peers_max,
             .posts_max = options.posts_max,
             .receive_entries = options.receive_entries,
             .transfer_bytes_max = kTransferBytesMax,
             .send_queues = std::max(options.send_queues, 1U)};
}

SimEndpoint::~SimEndpoint() {
  for (const auto& [peer, link] : links_) network_.let_go(link.id);
  network_.endpoints_[number_] = nullptr;
  std::erase_if(network_.regions_,
                [this](const auto& entry) { return entry.second.endpoint == number_; });
}

std::string SimEndpoint::address() const {
  return fmt::format("{}{}", kAddressPrefix, number_);
}

Outcome<Memory> SimEndpoint::register_memory(std::byte* base, uint64_t bytes, Access access) {
  uint64_t key = network_.random_.next();
  while (network_.regions_.contains(key)) key = network_.random_.next();
  const uint64_t address = network_.next_address_;
  network_.next_address_ += bytes + kGapBytes;
  network_.regions_[key] = {number_, base, address, bytes, access};
  return Memory{base, bytes, {address, key, bytes}, nullptr};
}

void SimEndpoint::deregister(Memory& memory) {
  network_.regions_.erase(memory.remote.key);
  memory = {};
}

Outcome<void> SimEndpoint::connect(PeerId peer, std::string_view address) {
  const bool known = address.starts_with(kAddressPrefix);
  const uint64_t number =
      known ? std::strtoul(std::string(address.substr(kAddressPrefix.size())).c_str(), nullptr, 10)
            : 0;
  if (!known || number >= network_.endpoints_.size()) {
    return Failure{fmt::format("'{}' is not the address of a simulated endpoint", address)};
  }
  COPYKV_ASSERT(!links_.contains(peer), "peer={} is connected", peer);
  Link& link = links_[peer];
  link.id = network_.next_link_++;
  link.endpoint = static_cast<uint32_t>(number);
  return {};
}

void SimEndpoint::disconnect(PeerId peer) {
  const auto found = links_.find(peer);
  if (found == links_.end()) return;
  for (const uint64_t context : found->second.contexts) {
    if (context == kUnsignalled) continue;
    completions_.push_back(
        {.kind = Completion::Kind::failed, .error = ECANCELED, .peer = peer, .context = context});
  }
  network_.let_go(found->second.id);
  links_.erase(found);
}

bool SimEndpoint::is_linked(uint64_t link) const {
  return std::any_of(links_.begin(), links_.end(),
                     [link](const auto& entry) { return entry.second.id == link; });
}

Fabric::Posted SimEndpoint::post(PeerId peer, const LocalPart& local, SimNetwork::Post post) {
  COPYKV_ASSERT(local.bytes > 0 && local.offset + local.bytes <= local.memory->bytes,
                "offset={} bytes={} of {}", local.offset, local.bytes, local.memory->bytes);
  const auto found = links_.find(peer);
  if (found == links_.end() || found->second.down) return Posted::down;
  Link& link = found->second;
  if (link.contexts.size() >= limits_.posts_max) return Posted::full;
  link.contexts.insert(post.context);
  post.from = number_;
  post.to = link.endpoint;
  post.link = link.id;
  post.peer = peer;
  post.local = local.memory->base + local.offset;
  post.bytes = local.bytes;
  network_.start(post);
  return Posted::yes;
}

Fabric::Posted SimEndpoint::write(PeerId peer, const LocalPart& from, const RemoteMemory& to,
                                  uint64_t context) noexcept {
  return post(peer, from, {.op = SimNetwork::Op::write, .remote = to, .context = context});
}

Fabric::Posted SimEndpoint::write_immediate(PeerId peer, const LocalPart& from,
                                            const RemoteMemory& to, uint32_t immediate,
                                            uint64_t context) noexcept {
  return post(peer, from,
              {.op = SimNetwork::Op::write_immediate,
               .remote = to,
               .immediate = immediate,
               .context = context});
}

Fabric::Posted SimEndpoint::read(PeerId peer, const LocalPart& to, const RemoteMemory& from,
                                 uint64_t context) noexcept {
  return post(peer, to, {.op = SimNetwork::Op::read, .remote = from, .context = context});
}

uint32_t SimEndpoint::poll(std::span<Completion> completions) noexcept {
  network_.run();
  uint32_t count = 0;
  while (count < completions.size() && !completions_.empty()) {
    completions[count] = completions_.front();
    completions_.pop_front();
    unpolled_ -= completions[count++].kind == Completion::Kind::arrived;
  }
  return count;
}

void SimEndpoint::arrive(uint32_t immediate) {
  ++unpolled_;
  completions_.push_back({.kind = Completion::Kind::arrived, .immediate = immediate});
}

bool SimEndpoint::end_post(uint64_t link, PeerId peer, uint64_t context, int error) {
  const auto found = links_.find(peer);
  if (found == links_.end() || found->second.id != link) return false;  // ended by disconnect
  const auto in_flight = found->second.contexts.find(context);
  if (in_flight == found->second.contexts.end()) return false;  // ended by an overrun
  found->second.contexts.erase(in_flight);
  if (error == 0 && context == kUnsignalled) return false;
  completions_.push_back({.kind = error == 0 ? Completion::Kind::done : Completion::Kind::failed,
                          .error = error,
                          .peer = peer,
                          .context = context});
  // One failed post takes the connection down, as it does a queue pair.
  if (error != 0) take_down(peer, found->second, error);
  return true;
}

void SimEndpoint::take_down(PeerId peer, Link& link, int error) {
  if (link.down) return;
  link.down = true;
  completions_.push_back({.kind = Completion::Kind::peer_lost, .error = error, .peer = peer});
}

/// Whoever waits for one of the lost completions must hear of it: each post ends as failed.
void SimEndpoint::overrun() {
  std::erase_if(completions_, [](const Completion& completion) {
    return completion.kind == Completion::Kind::arrived;
  });
  unpolled_ = 0;
  for (Completion& completion : completions_) {
    if (completion.kind == Completion::Kind::done) {
      completion.kind = Completion::Kind::failed;
      completion.error = EOVERFLOW;
    }
  }
  for (auto& [peer, link] : links_) {
    for (const uint64_t context : link.contexts) {
      if (context == kUnsignalled) continue;
      completions_.push_back(
          {.kind = Completion::Kind::failed, .error = EOVERFLOW, .peer = peer, .context = context});
    }
    link.contexts.clear();
    network_.let_go(link.id);
    network_.broken_links_.insert(link.id);
    take_down(peer, link, EOVERFLOW);
  }
}

}  // namespace copyrpc
