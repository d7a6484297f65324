// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/ofi/ofi_fabric.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "base/assert.hpp"
#include "copyrpc/fabric/ofi/links.hpp"
#include "copyrpc/fabric/ofi/memory.hpp"
#include "copyrpc/fabric/ofi/posts.hpp"
#include "copyrpc/fabric/ofi/provider.hpp"
#include "copyrpc/fabric/pending.hpp"

namespace copyrpc {
namespace {

using copykv::Failure;
using copykv::Outcome;
using namespace ofi;

constexpr uint32_t kPostsInTotalMax = 16'384;
constexpr uint32_t kEntriesPerPoll = 64;
// Connection events are rare, and asking for them costs as much as two polls.
constexpr uint32_t kPollsPerProgress = 64;
constexpr uint32_t kPollsPerProgressBusy = 8;  ///< while a connection comes up
constexpr uint64_t kTransferBytesMax = uint64_t{1} << 30;

class OfiFabric final : public Fabric, private LinkEvents {
 public:
  OfiFabric(const OfiOptions& options, Domain domain);
  ~OfiFabric() override;

  [[nodiscard]] Outcome<void> open();

  [[nodiscard]] std::string_view name() const noexcept override { return name_; }
  [[nodiscard]] const FabricLimits& limits() const noexcept override { return limits_; }
  [[nodiscard]] std::string address() const override { return links_->address(); }
  [[nodiscard]] Outcome<Memory> register_memory(std::byte* base, uint64_t bytes,
                                                Access access) override {
    return ofi::register_memory(domain_, links_->memory_endpoint(), base, bytes, access);
  }
  void deregister(Memory& memory) override { ofi::deregister(memory); }
  [[nodiscard]] Outcome<void> connect(PeerId peer, std::string_view address) override;
  void disconnect(PeerId peer) override;

  [[nodiscard]] Posted write(PeerId peer, const LocalPart& from, const RemoteMemory& to,
                             uint64_t context) noexcept override {
    return post(Kind::write, peer, from, to, 0, context);
  }
  [[nodiscard]] Posted write_immediate(PeerId peer, const LocalPart& from, const RemoteMemory& to,
                                       uint32_t immediate, uint64_t context) noexcept override {
    return post(Kind::write_immediate, peer, from, to, immediate, context);
  }
  [[nodiscard]] Posted read(PeerId peer, const LocalPart& to, const RemoteMemory& from,
                            uint64_t context) noexcept override {
    return post(Kind::read, peer, to, from, 0, context);
  }
  void submit() noexcept override {}  // posts leave at once
  [[nodiscard]] uint32_t poll(std::span<Completion> completions) noexcept override;
  [[nodiscard]] int wait_fd() const noexcept override { return links_->wait_fd(); }
  [[nodiscard]] bool arm() noexcept override;

 private:
  enum class Kind : uint8_t { write, write_immediate, read };
  struct Peer {
    Route route;
    enum class State : uint8_t { free, connecting, up, lost } state = State::free;
    uint32_t connection = 0;
    uint32_t in_flight = 0;
  };

  [[nodiscard]] Posted post(Kind kind, PeerId peer, const LocalPart& local,
                            const RemoteMemory& remote, uint32_t immediate,
                            uint64_t context) noexcept;
  [[nodiscard]] Posted refused(Post& entry, ssize_t error) noexcept;
  [[nodiscard]] bool translate(const fi_cq_data_entry& entry, Completion& out) noexcept;
  [[nodiscard]] bool end_post(Post& post, int32_t error, Completion& out) noexcept;
  [[nodiscard]] uint32_t read_error(std::span<Completion> out) noexcept;
  void sweep() noexcept;
  void lose(PeerId peer, int32_t error) noexcept;
  void link_up(PeerId peer, const Route& route) noexcept override;
  void link_lost(PeerId peer, int32_t error) noexcept override { lose(peer, error); }

  std::string name_;
  FabricLimits limits_;
  Domain domain_;
  std::unique_ptr<Links> links_;  ///< closed before the domain
  std::vector<Peer> peers_;
  Posts posts_;
  Pending pending_;  ///< completions that come from us, not from the provider
  uint32_t connections_ = 0;
  uint32_t ending_ = 0;  ///< posts of connections that are closed
  uint32_t polls_to_progress_ = kPollsPerProgress;
};

uint32_t posts_in_total(const OfiOptions& options) {
  const uint64_t wanted = uint64_t{options.peers_max} * options.posts_max;
  return static_cast<uint32_t>(std::min<uint64_t>(wanted, kPostsInTotalMax));
}

OfiFabric::OfiFabric(const OfiOptions& options, Domain domain)
    : name_(options.provider == "tcp" || options.provider == "shm" ? "ofi-" + options.provider
                                                                   : "ofi:" + options.provider),
      domain_(std::move(domain)),
      peers_(options.peers_max),
      posts_(posts_in_total(options)),
      pending_(posts_in_total(options) + options.peers_max * 2) {
  const fi_info& info = *domain_.info;
  limits_.peers_max = options.peers_max;
  limits_.posts_max = std::min(options.posts_max, posts_in_total(options));
  limits_.transfer_bytes_max =
      static_cast<uint32_t>(std::min<uint64_t>(info.ep_attr->max_msg_size, kTransferBytesMax));
  const std::string_view provider = info.fabric_attr->prov_name;
  for (const std::string_view sockets : {"net", "tcp", "udp", "sockets"})
    if (provider.starts_with(sockets)) limits_.poll_is_system_call = true;
}

OfiFabric::~OfiFabric() {
  for (PeerId peer = 0; peer < peers_.size(); ++peer)
    if (peers_[peer].state != Peer::State::free)
      links_->disconnect(peer, peers_[peer].in_flight == 0);
}

Outcome<void> OfiFabric::open() {
  auto links = domain_.connected_endpoints() ? make_connected_links(domain_, limits_.peers_max)
                                             : make_unconnected_links(domain_, limits_.peers_max);
  if (!links) return Failure{links.error};
  links_ = std::move(*links);
  return {};
}

Outcome<void> OfiFabric::connect(PeerId peer, std::string_view address) {
  COPYKV_ASSERT(peer < peers_.size() && peers_[peer].state == Peer::State::free,
                "peer={} peers_max={}", peer, peers_.size());
  auto to = decode_address(address);
  if (!to) return Failure{to.error};
  if (to->connected != domain_.connected_endpoints())
    return Failure{
        "the peer's endpoint is of another transport; every rank of a job must use the "
        "same --transport"};
  if (auto begun = links_->connect(peer, *to); !begun) return begun;
  peers_[peer] = {{}, Peer::State::connecting, ++connections_, 0};
  polls_to_progress_ = 1;
  return {};
}

void OfiFabric::disconnect(PeerId peer) {
  Peer& gone = peers_[peer];
  COPYKV_ASSERT(gone.state != Peer::State::free, "peer={}", peer);
  links_->disconnect(peer, gone.in_flight == 0);
  ending_ += gone.in_flight;
  pending_.drop_peer_lost(peer);
  gone = {};
}

void OfiFabric::link_up(PeerId peer, const Route& route) noexcept {
  if (peers_[peer].state != Peer::State::connecting) return;
  peers_[peer].route = route;
  peers_[peer].state = Peer::State::up;
}

void OfiFabric::lose(PeerId peer, int32_t error) noexcept {
  Peer& lost = peers_[peer];
  if (lost.state == Peer::State::lost || lost.state == Peer::State::free) return;
  lost.state = Peer::State::lost;
  pending_.push({Completion::Kind::peer_lost, error, peer, 0, 0});
}

Fabric::Posted OfiFabric::post(Kind kind, PeerId peer, const LocalPart& local,
                               const RemoteMemory& remote, uint32_t immediate,
                               uint64_t context) noexcept {
  Peer& to = peers_[peer];
  if (to.state != Peer::State::up) [[unlikely]]
    return to.state == Peer::State::connecting ? Posted::full : Posted::down;
  if (to.in_flight == limits_.posts_max) return Posted::full;
  Post* entry = posts_.take(peer, to.connection, context);
  if (entry == nullptr) return Posted::full;

  iovec part{local.memory->base + local.offset, local.bytes};
  void* descriptor = descriptor_of(*local.memory);
  fi_rma_iov target{remote.address, local.bytes, remote.key};
  fi_msg_rma message{};
  message.msg_iov = &part;
  message.desc = &descriptor;
  message.iov_count = 1;
  message.addr = to.route.address;
  message.rma_iov = &target;
  message.rma_iov_count = 1;
  message.context = entry;
  message.data = immediate;
  // Every post is signalled to us, so that what is in flight is known exactly; the caller hears of
  // those that it asked for.
  ssize_t error = 0;
  if (kind == Kind::read)
    error = fi_readmsg(to.route.endpoint, &message, FI_COMPLETION);
  else
    error = fi_writemsg(to.route.endpoint, &message,
                        FI_COMPLETION | (kind == Kind::write_immediate ? FI_REMOTE_CQ_DATA : 0));
  if (error != 0) [[unlikely]]
    return refused(*entry, error);
  ++to.in_flight;
  return Posted::yes;
}

Fabric::Posted OfiFabric::refused(Post& entry, ssize_t error) noexcept {
  const PeerId peer = entry.peer;
  posts_.give_back(entry);
  if (error == -FI_EAGAIN) return Posted::full;
  lose(peer, static_cast<int32_t>(-error));
  return Posted::down;
}

uint32_t OfiFabric::poll(std::span<Completion> completions) noexcept {
  if (--polls_to_progress_ == 0) [[unlikely]] {
    links_->progress(*this);
    polls_to_progress_ = links_->busy() ? kPollsPerProgressBusy : kPollsPerProgress;
  }
  uint32_t taken = pending_.take(completions);
  std::array<fi_cq_data_entry, kEntriesPerPoll> entries;
  const size_t room = std::min<size_t>(entries.size(), completions.size() - taken);
  if (room == 0) return taken;
  const ssize_t found = fi_cq_read(domain_.completions.get(), entries.data(), room);
  for (ssize_t at = 0; at < found; ++at)
    if (translate(entries[static_cast<size_t>(at)], completions[taken])) ++taken;
  if (found == -FI_EAVAIL) [[unlikely]]
    taken += read_error(completions.subspan(taken));
  if (found == -FI_EAGAIN && ending_ > 0) [[unlikely]]
    sweep();
  return taken;
}

bool OfiFabric::translate(const fi_cq_data_entry& entry, Completion& out) noexcept {
  // Of a peer's write only flags and data mean something; the context may be anything.
  if ((entry.flags & (FI_WRITE | FI_READ)) == 0) {
    if ((entry.flags & FI_REMOTE_CQ_DATA) == 0) return false;
    out = {Completion::Kind::arrived, 0, kNoPeer, static_cast<uint32_t>(entry.data), 0};
    return true;
  }
  Post* post = posts_.find(entry.op_context);
  return post != nullptr && end_post(*post, 0, out);
}

bool OfiFabric::end_post(Post& post, int32_t error, Completion& out) noexcept {
  const bool reported = post.state == Post::State::abandoned;
  Peer& peer = peers_[post.peer];
  const bool current = post.connection == peer.connection;
  if (current)
    --peer.in_flight;
  else if (!reported)
    --ending_;
  out = {error == 0 ? Completion::Kind::done : Completion::Kind::failed, error, post.peer, 0,
         post.context};
  posts_.give_back(post);
  if (error != 0 && current) lose(out.peer, error);
  return !reported && (error != 0 || out.context != kUnsignalled);
}

uint32_t OfiFabric::read_error(std::span<Completion> out) noexcept {
  fi_cq_err_entry entry{};
  if (fi_cq_readerr(domain_.completions.get(), &entry, 0) < 0) return 0;
  if ((entry.flags & (FI_WRITE | FI_READ)) == 0) return 0;  // a peer's write that broke off
  Post* post = posts_.find(entry.op_context);
  if (post == nullptr) return 0;
  return end_post(*post, entry.err > 0 ? entry.err : EIO, out[0]) ? 1 : 0;
}

/// The provider has nothing more to tell: what is left of closed connections ends now.
void OfiFabric::sweep() noexcept {
  for (Post& post : posts_.all()) {
    if (post.state != Post::State::in_flight) continue;
    if (post.connection == peers_[post.peer].connection) continue;
    pending_.push({Completion::Kind::failed, ECANCELED, post.peer, 0, post.context});
    post.state = Post::State::abandoned;
    --ending_;
    if (links_->disconnect_is_final()) posts_.give_back(post);
  }
}

bool OfiFabric::arm() noexcept {
  if (!pending_.empty() || ending_ > 0) return false;
  if (!links_->arm(*this) || !pending_.empty()) return false;
  // Looking for connection events may have moved data from a socket, which then wakes nobody, to
  // the completion queue.
  return fi_cq_read(domain_.completions.get(), nullptr, 0) == -FI_EAGAIN;
}

}  // namespace

std::string ofi_provider_of(std::string_view transport) {
  if (transport == "ofi-tcp" || transport == "ofi-shm") return std::string(transport.substr(4));
  return transport.starts_with("ofi:") ? std::string(transport.substr(4)) : std::string();
}

Outcome<std::unique_ptr<Fabric>> make_ofi_fabric(const OfiOptions& options) {
  auto domain = open_domain(options);
  if (!domain) return Failure{domain.error};
  auto fabric = std::make_unique<OfiFabric>(options, std::move(*domain));
  if (auto opened = fabric->open(); !opened) {
    const std::string node = options.node.empty() ? "the first interface" : options.node;
    return Failure{
        fmt::format("{}; opening an endpoint at {}, which must be an address of this "
                    "host",
                    opened.error, node)};
  }
  return std::unique_ptr<Fabric>(std::move(fabric));
}

std::string ofi_missing(const OfiOptions& options) {
  return find_provider(options).error;
}

std::vector<OfiProvider> ofi_providers() {
  std::vector<OfiProvider> all = {{"tcp", {}}, {"shm", {}}};
  fi_info* listed = nullptr;
  if (fi_getinfo(FI_VERSION(1, 14), nullptr, nullptr, FI_PROV_ATTR_ONLY, nullptr, &listed) == 0) {
    const Info owner(listed);
    for (const fi_info* one = listed; one != nullptr; one = one->next) {
      const std::string name = one->fabric_attr->prov_name;
      if (name.starts_with("ofi_")) continue;  // layers over other providers
      const auto same = [&](const OfiProvider& other) { return other.name == name; };
      if (std::find_if(all.begin(), all.end(), same) == all.end()) all.push_back({name, {}});
    }
  }
  for (OfiProvider& provider : all) {
    OfiOptions options;
    options.provider = provider.name;
    provider.reason = ofi_missing(options);
  }
  return all;
}

}  // namespace copyrpc
