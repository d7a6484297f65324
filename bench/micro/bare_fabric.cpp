// SPDX-License-Identifier: Apache-2.0
#include "bench/micro/bare_fabric.hpp"

#include <array>
#include <cstring>

#include "base/clock.hpp"
#include "copyrpc/fabric/ofi/memory.hpp"

namespace copykv::bench {
namespace {

using namespace copyrpc;
using namespace copyrpc::ofi;

constexpr uint64_t kPatienceNs = 10 * kNanosPerSecond;
constexpr uint32_t kPollsPerClock = 4096;
constexpr uint32_t kPayloadBytes = 8;

uint64_t now_ns() noexcept {
  return SystemClock().now_ns();
}

}  // namespace

Outcome<std::unique_ptr<BareFabric>> BareFabric::open(const OfiOptions& options, uint64_t bytes) {
  std::unique_ptr<BareFabric> made(new BareFabric);
  auto domain = open_domain(options);
  if (!domain) return Failure{domain.error};
  made->domain_ = std::move(*domain);
  auto links = made->domain_.connected_endpoints() ? make_connected_links(made->domain_, 1)
                                                   : make_unconnected_links(made->domain_, 1);
  if (!links) return Failure{links.error};
  made->links_ = std::move(*links);
  made->bytes_.resize(bytes);
  auto memory = register_memory(made->domain_, made->links_->memory_endpoint(), made->bytes_.data(),
                                bytes, Access::remote_read_write);
  if (!memory) return Failure{memory.error};
  made->memory_ = *memory;
  return made;
}

BareFabric::~BareFabric() {
  deregister(memory_);
}

std::string BareFabric::provider() const {
  return domain_.info->fabric_attr->prov_name;
}

std::string BareFabric::card() const {
  std::string card(sizeof(RemoteMemory), '\0');
  std::memcpy(card.data(), &memory_.remote, sizeof(RemoteMemory));
  return card + links_->address();
}

Outcome<void> BareFabric::connect(const std::string& card) {
  if (card.size() < sizeof(RemoteMemory)) return Failure{"the other process is gone"};
  std::memcpy(&remote_, card.data(), sizeof(RemoteMemory));
  auto address = decode_address(std::string_view(card).substr(sizeof(RemoteMemory)));
  if (!address) return Failure{address.error};
  if (auto called = links_->connect(0, *address); !called) return called;
  const uint64_t start_ns = now_ns();
  while (route_.endpoint == nullptr) {
    links_->progress(*this);
    if (lost_ || !poll() || now_ns() - start_ns > kPatienceNs)
      return Failure{"no connection to the other process"};
  }
  return {};
}

bool BareFabric::poll() noexcept {
  std::array<fi_cq_data_entry, 16> entries;
  const ssize_t found = fi_cq_read(domain_.completions.get(), entries.data(), entries.size());
  for (ssize_t at = 0; at < found; ++at) {
    const fi_cq_data_entry& entry = entries[static_cast<size_t>(at)];
    if ((entry.flags & FI_WRITE) != 0)
      ++finished_;
    else if (entry.data == arrived_ + 1)
      ++arrived_;
  }
  return found >= 0 || found == -FI_EAGAIN;
}

bool BareFabric::write(uint32_t bytes, uint64_t immediate, bool announced) noexcept {
  void* descriptor = descriptor_of(memory_);
  for (;;) {
    const ssize_t error =
        announced ? fi_writedata(route_.endpoint, bytes_.data(), bytes, descriptor, immediate,
                                 route_.address, remote_.address, remote_.key, nullptr)
                  : fi_write(route_.endpoint, bytes_.data(), bytes, descriptor, route_.address,
                             remote_.address, remote_.key, nullptr);
    if (error == 0) break;
    if (error != -FI_EAGAIN || !poll()) return false;
  }
  ++written_;
  return true;
}

bool BareFabric::wait_arrival(uint64_t immediate) noexcept {
  const uint64_t start_ns = now_ns();
  while (now_ns() - start_ns < kPatienceNs) {
    for (uint32_t at = 0; at < kPollsPerClock; ++at) {
      if (arrived_ == immediate) return true;
      if (!poll()) return false;
    }
  }
  return false;
}

bool BareFabric::ping(uint32_t rounds, Histogram& round_trip_ns) noexcept {
  for (uint32_t round = 0; round < rounds; ++round) {
    const uint64_t start_ns = now_ns();
    if (!write(kPayloadBytes, ++sent_, true) || !wait_arrival(++expected_)) return false;
    round_trip_ns.record(now_ns() - start_ns);
  }
  return true;
}

bool BareFabric::serve(uint32_t rounds) noexcept {
  for (uint32_t round = 0; round < rounds; ++round)
    if (!wait_arrival(++expected_) || !write(kPayloadBytes, ++sent_, true)) return false;
  return true;
}

double BareFabric::stream(uint32_t count, uint32_t bytes) noexcept {
  const uint64_t start_ns = now_ns();
  for (uint32_t at = 0; at < count; ++at) {
    while (written_ - finished_ >= kWindow)
      if (!poll()) return 0;
    if (!write(bytes, 0, false)) return 0;
  }
  if (!write(kPayloadBytes, ++sent_, true) || !wait_arrival(++expected_)) return 0;
  return static_cast<double>(count) * bytes * 1e9 / static_cast<double>(now_ns() - start_ns);
}

double BareFabric::empty_poll_ns() noexcept {
  constexpr uint32_t kPolls = 100'000;
  const uint64_t start_ns = now_ns();
  for (uint32_t at = 0; at < kPolls; ++at)
    if (!poll()) return 0;
  return static_cast<double>(now_ns() - start_ns) / kPolls;
}

}  // namespace copykv::bench
