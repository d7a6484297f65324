// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/ofi/provider.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace copyrpc::ofi {
namespace {

using copykv::Failure;
using copykv::Outcome;

constexpr uint32_t kApiVersion = FI_VERSION(1, 14);
constexpr uint64_t kCapabilities = FI_RMA | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE;
/// Keys of our own choice come first: a provider that counts its keys up from one would let a late
/// write of an old connection find new memory. Providers whose keys the device makes come last.
constexpr std::array<int, 3> kMemoryModes = {
    0, FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_ENDPOINT,
    FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_ENDPOINT | FI_MR_PROV_KEY};

struct Wanted {
  std::string provider;
  fi_ep_type type;
};

/// In order of preference.
std::vector<Wanted> wanted(const std::string& provider) {
  if (provider == "tcp") return {{"net", FI_EP_MSG}, {"tcp", FI_EP_MSG}};
  if (provider == "shm") return {{"shm", FI_EP_RDM}};
  return {{provider, FI_EP_RDM}, {provider, FI_EP_MSG}};
}

/// The first address of a network interface, or `node` itself when it names none.
std::string address_of_interface(const std::string& node) {
  ifaddrs* all = nullptr;
  if (node.empty() || getifaddrs(&all) != 0) return node;
  std::string found = node;
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || node != one->ifa_name) continue;
    if (one->ifa_addr->sa_family != AF_INET) continue;
    std::array<char, INET_ADDRSTRLEN> text{};
    const auto* address = reinterpret_cast<const sockaddr_in*>(one->ifa_addr);
    found = inet_ntop(AF_INET, &address->sin_addr, text.data(), text.size());
    break;
  }
  freeifaddrs(all);
  return found;
}

Info make_hints(const Wanted& want, int memory_mode, uint32_t posts_max) {
  Info hints(fi_allocinfo());
  if (!hints) return hints;
  hints->caps = kCapabilities;
  hints->mode = FI_CONTEXT | FI_CONTEXT2;
  hints->ep_attr->type = want.type;
  hints->domain_attr->mr_mode = memory_mode;
  // One thread uses a fabric at a time, and it polls: no locks, no helper threads.
  hints->domain_attr->threading = FI_THREAD_DOMAIN;
  hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
  hints->domain_attr->control_progress = FI_PROGRESS_MANUAL;
  hints->tx_attr->msg_order = FI_ORDER_RMA_WAW;
  hints->rx_attr->msg_order = FI_ORDER_RMA_WAW;
  hints->tx_attr->size = posts_max;
  hints->fabric_attr->prov_name = strdup(want.provider.c_str());  // freed by fi_freeinfo
  return hints;
}

Info query(const Wanted& want, int memory_mode, const std::string& node, uint32_t posts_max) {
  Info hints = make_hints(want, memory_mode, posts_max);
  if (!hints) return nullptr;
  fi_info* found = nullptr;
  const char* host = node.empty() || want.provider == "shm" ? nullptr : node.c_str();
  const uint64_t flags = host != nullptr ? FI_SOURCE : 0;
  if (fi_getinfo(kApiVersion, host, nullptr, flags, hints.get(), &found) != 0) return nullptr;
  return Info(found);
}

/// Empty: this provider keeps what Fabric promises.
std::string missing_promise(const fi_info& info) {
  if ((info.tx_attr->msg_order & FI_ORDER_RMA_WAW) == 0 || info.ep_attr->max_order_waw_size == 0)
    return "it does not keep writes to one peer in order";
  if (info.domain_attr->cq_data_size < sizeof(uint32_t))
    return fmt::format("its immediates have {} bytes, 4 are needed",
                       info.domain_attr->cq_data_size);
  if ((info.mode & ~uint64_t{FI_CONTEXT | FI_CONTEXT2}) != 0)
    return "it wants the application to do what only its own protocol can (mode bits)";
  return {};
}

/// The first entry that a peer can reach: link-local IPv6 needs a scope that peers do not know.
fi_info* first_reachable(fi_info* all) {
  for (fi_info* one = all; one != nullptr; one = one->next) {
    if (one->addr_format != FI_SOCKADDR_IN6 || one->src_addr == nullptr) return one;
    const auto* address = static_cast<const sockaddr_in6*>(one->src_addr);
    if (!IN6_IS_ADDR_LINKLOCAL(&address->sin6_addr)) return one;
  }
  return nullptr;
}

Outcome<Info> choose(const Wanted& want, const OfiOptions& options) {
  const std::string node = address_of_interface(options.node);
  for (const int mode : kMemoryModes) {
    const Info all = query(want, mode, node, options.posts_max);
    if (!all) continue;
    const fi_info* one = first_reachable(all.get());
    if (one == nullptr) continue;
    if (std::string missing = missing_promise(*one); !missing.empty())
      return Failure{fmt::format("libfabric provider {}: {}", want.provider, missing)};
    return Info(fi_dupinfo(one));
  }
  const std::string at = options.node.empty() ? "" : fmt::format(" at {}", options.node);
  return Failure{fmt::format(
      "libfabric has no provider {} with ordered RMA writes and {} endpoints{}; "
      "fi_info -p '{}' shows what it offers",
      want.provider, want.type == FI_EP_MSG ? "connected" : "unconnected", at, want.provider)};
}

/// The shm provider takes SIGINT, SIGTERM, SIGSEGV and SIGBUS for itself when an endpoint is made;
/// a library must not. (What its handlers clean up stays in /dev/shm after such a death, as it does
/// after SIGKILL.)
class KeepSignals {
 public:
  KeepSignals() noexcept {
    for (size_t at = 0; at < kSignals.size(); ++at) sigaction(kSignals[at], nullptr, &actions_[at]);
  }
  ~KeepSignals() {
    for (size_t at = 0; at < kSignals.size(); ++at) sigaction(kSignals[at], &actions_[at], nullptr);
  }
  KeepSignals(const KeepSignals&) = delete;
  KeepSignals& operator=(const KeepSignals&) = delete;

 private:
  static constexpr std::array<int, 4> kSignals = {SIGBUS, SIGSEGV, SIGTERM, SIGINT};
  std::array<struct sigaction, kSignals.size()> actions_{};
};

}  // namespace

Failure failure(const Domain& domain, const char* what, int64_t error) {
  const char* provider =
      domain.info ? domain.info->fabric_attr->prov_name : static_cast<const char*>("?");
  return {fmt::format("{} of libfabric provider {}: {}", what, provider,
                      fi_strerror(static_cast<int>(error < 0 ? -error : error)))};
}

Outcome<Info> find_provider(const OfiOptions& options) {
  std::string errors;
  for (const Wanted& want : wanted(options.provider)) {
    auto info = choose(want, options);
    if (info) return info;
    if (!errors.empty()) errors += "; ";
    errors += info.error;
  }
  return Failure{errors};
}

Outcome<Domain> open_domain(const OfiOptions& options) {
  auto info = find_provider(options);
  if (!info) return Failure{info.error};
  Domain made;
  made.info = std::move(*info);

  fid_fabric* fabric = nullptr;
  if (const int error = fi_fabric(made.info->fabric_attr, &fabric, nullptr); error != 0)
    return failure(made, "fi_fabric", error);
  made.fabric.reset(fabric);
  fid_domain* domain = nullptr;
  if (const int error = fi_domain(fabric, made.info.get(), &domain, nullptr); error != 0)
    return failure(made, "fi_domain", error);
  made.domain.reset(domain);

  // A queue of connected endpoints sleeps with the event queue that announces connections, which
  // watches the same sockets (connected_links.cpp); asking here too would cost a signal per entry.
  fi_cq_attr attributes{};
  attributes.format = FI_CQ_FORMAT_DATA;
  attributes.wait_obj = made.connected_endpoints() ? FI_WAIT_NONE : FI_WAIT_FD;
  fid_cq* queue = nullptr;
  int error = fi_cq_open(domain, &attributes, &queue, nullptr);
  if (error != 0 && attributes.wait_obj != FI_WAIT_NONE) {
    attributes.wait_obj = FI_WAIT_NONE;
    error = fi_cq_open(domain, &attributes, &queue, nullptr);
  }
  if (error != 0) return failure(made, "fi_cq_open", error);
  made.completions.reset(queue);
  if (attributes.wait_obj == FI_WAIT_FD && fi_control(&queue->fid, FI_GETWAIT, &made.wait_fd) != 0)
    made.wait_fd = -1;
  return made;
}

Outcome<Owned<fid_ep>> open_endpoint(Domain& domain, fi_info* info, void* context) {
  const KeepSignals keep;
  fid_ep* endpoint = nullptr;
  if (const int error = fi_endpoint(domain.domain.get(), info, &endpoint, context); error != 0)
    return failure(domain, "fi_endpoint", error);
  Owned<fid_ep> made(endpoint);
  const int error = fi_ep_bind(endpoint, &domain.completions->fid, FI_TRANSMIT | FI_RECV);
  if (error != 0) return failure(domain, "fi_ep_bind", error);
  return made;
}

}  // namespace copyrpc::ofi
