// SPDX-License-Identifier: Apache-2.0
#include "bench/micro/bare_verbs.hpp"

#include <array>
#include <cstring>

#include "base/clock.hpp"

namespace copykv::bench {
namespace {

using namespace copyrpc::verbs;

constexpr uint32_t kRequests = 256;
constexpr uint32_t kReceives = 1024;
constexpr uint32_t kInlineBytes = 220;
constexpr uint32_t kSignalEach = 16;
constexpr uint32_t kMemoryBytes = 4096;
constexpr uint64_t kPatienceNs = 10 * kNanosPerSecond;
constexpr uint32_t kPollsPerClock = 4096;

}  // namespace

std::string BareVerbs::open(const copyrpc::VerbsOptions& options) {
  auto device = open_device(options);
  if (!device) return device.error;
  device_.emplace(std::move(*device));
  auto completions = CompletionQueue::make(*device_, kReceives + kRequests);
  if (!completions) return completions.error;
  completions_.emplace(std::move(*completions));
  auto receives = ReceiveQueue::make(*device_, kReceives);
  if (!receives) return receives.error;
  receives_.emplace(std::move(*receives));
  auto queue =
      RcQueuePair::make(*device_, completions_->get(), receives_->get(), {kRequests, kInlineBytes});
  if (!queue) return queue.error;
  queue_ = std::move(*queue);
  raw_ = queue_.raw();
  bytes_.resize(kMemoryBytes);
  auto memory =
      register_memory(*device_, bytes_.data(), bytes_.size(), copyrpc::Access::remote_write, false);
  if (!memory) return memory.error;
  memory_ = *memory;
  return {};
}

BareVerbs::~BareVerbs() {
  if (memory_.registered()) deregister(*device_, memory_);
}

std::string BareVerbs::card() const {
  const Card card{queue_.end(*device_), memory_.remote};
  return {reinterpret_cast<const char*>(&card), sizeof(card)};
}

bool BareVerbs::connect(const std::string& text) {
  Card card;
  if (text.size() != sizeof(card)) return false;
  std::memcpy(&card, text.data(), sizeof(card));
  remote_ = card.memory;
  return queue_.connect(*device_, card.end);
}

bool BareVerbs::write(uint32_t bytes) noexcept {
  ibv_sge part{reinterpret_cast<uint64_t>(bytes_.data()) + kMemoryBytes / 2, bytes,
               local_key(memory_)};
  ibv_send_wr work{};
  work.sg_list = &part;
  work.num_sge = 1;
  work.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
  work.send_flags = IBV_SEND_INLINE;
  if (++unsignalled_ == kSignalEach) {
    unsignalled_ = 0;
    work.send_flags |= IBV_SEND_SIGNALED;
  }
  work.wr.rdma.remote_addr = remote_.address;
  work.wr.rdma.rkey = static_cast<uint32_t>(remote_.key);
  ibv_send_wr* refused = nullptr;
  return ibv_post_send(raw_, &work, &refused) == 0;
}

int BareVerbs::arrivals() noexcept {
  std::array<ibv_wc, 32> found;
  const uint32_t count = completions_->poll(found);
  int arrived = 0;
  for (uint32_t at = 0; at < count; ++at) {
    if (found[at].status != IBV_WC_SUCCESS) return -1;
    if (found[at].wr_id != kReceiveId) continue;
    receives_->taken();
    ++arrived;
  }
  return receives_->replenish() ? arrived : -1;
}

int BareVerbs::await_arrivals() noexcept {
  const uint64_t begin_ns = SystemClock().now_ns();
  for (uint32_t polls = 1;; ++polls) {
    if (const int arrived = arrivals(); arrived != 0) return arrived;
    if (polls % kPollsPerClock == 0 && SystemClock().now_ns() - begin_ns > kPatienceNs) return -1;
  }
}

bool BareVerbs::ask(uint32_t depth, uint32_t count, uint32_t bytes,
                    Histogram* round_trip_ns) noexcept {
  uint32_t sent = 0;
  uint32_t done = 0;
  uint64_t began_ns = 0;
  while (done < count) {
    if (round_trip_ns != nullptr) began_ns = SystemClock().now_ns();
    for (; sent < count && sent - done < depth; ++sent)
      if (!write(bytes)) return false;
    const int arrived = await_arrivals();
    if (arrived < 0) return false;
    done += static_cast<uint32_t>(arrived);
    if (round_trip_ns != nullptr) round_trip_ns->record(SystemClock().now_ns() - began_ns);
  }
  return true;
}

bool BareVerbs::echo(uint32_t count, uint32_t bytes) noexcept {
  for (uint32_t done = 0; done < count;) {
    const int arrived = await_arrivals();
    if (arrived < 0) return false;
    for (int at = 0; at < arrived; ++at)
      if (!write(bytes)) return false;
    done += static_cast<uint32_t>(arrived);
  }
  return true;
}

}  // namespace copykv::bench
