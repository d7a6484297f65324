// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/world.hpp"

#include <algorithm>
#include <array>

#include <catch2/catch.hpp>

#include "base/clock.hpp"

namespace copyrpc::conformance {
namespace {

using copykv::kNanosPerMilli;
using copykv::kNanosPerSecond;

constexpr uint64_t kPatienceNs = 10 * kNanosPerSecond;
constexpr uint64_t kSettleNs = 30 * kNanosPerMilli;
constexpr uint32_t kVirtualStepsMax = 1'000'000;
constexpr uint32_t kVirtualSettleSteps = 20'000;

std::byte pattern_byte(uint64_t seed, uint64_t at) {
  const uint64_t mixed = (seed * 0x9e3779b97f4a7c15ULL) ^ (at * 0xbf58476d1ce4e5b9ULL);
  return static_cast<std::byte>((mixed >> 32) ^ (mixed >> 7));
}

uint64_t now_ns() {
  return copykv::SystemClock().now_ns();
}

}  // namespace

void Side::poll() {
  std::array<Completion, 16> completions;
  const uint32_t taken = fabric->poll(completions);
  REQUIRE(taken <= completions.size());
  for (uint32_t at = 0; at < taken; ++at) {
    const Completion& one = completions[at];
    if (one.kind == Completion::Kind::arrived) {
      if (on_arrival) on_arrival(one.immediate);
      arrived.push_back(one.immediate);
    } else if (one.kind == Completion::Kind::peer_lost) {
      lost.push_back(one);
    } else {
      ended.push_back(one);
    }
  }
}

uint32_t Side::count(Completion::Kind kind, uint64_t context) const {
  return static_cast<uint32_t>(std::count_if(ended.begin(), ended.end(), [&](const auto& one) {
    return one.kind == kind && one.context == context;
  }));
}

bool Side::has_lost(PeerId peer) const {
  return std::any_of(lost.begin(), lost.end(), [&](const auto& one) { return one.peer == peer; });
}

Buffer::Buffer(Side& side, uint64_t bytes, Access access, std::byte fill)
    : side_(side), bytes_(bytes, fill) {
  register_again(access);
}

void Buffer::register_again(Access access) {
  auto memory = side_.fabric->register_memory(bytes_.data(), bytes_.size(), access);
  INFO(memory.error);
  REQUIRE(memory);
  memory_ = *memory;
}

Buffer::~Buffer() {
  deregister();
}

void Buffer::deregister() {
  if (memory_.registered() && side_.fabric) side_.fabric->deregister(memory_);
  memory_ = {};
}

void Buffer::fill(std::byte value) noexcept {
  std::fill(bytes_.begin(), bytes_.end(), value);
}

void Buffer::fill_pattern(uint64_t seed) noexcept {
  for (uint64_t at = 0; at < bytes_.size(); ++at) bytes_[at] = pattern_byte(seed, at);
}

bool Buffer::holds(std::byte value) const noexcept {
  return std::all_of(bytes_.begin(), bytes_.end(), [&](std::byte one) { return one == value; });
}

bool Buffer::holds_pattern(uint64_t seed, uint64_t bytes) const noexcept {
  for (uint64_t at = 0; at < bytes; ++at)
    if (bytes_[at] != pattern_byte(seed, at)) return false;
  return true;
}

World::World(const Wish& wish) : transport_(transport_under_test()), wish_(wish) {}

Side& World::add() {
  auto side = std::make_unique<Side>();
  side->fabric = transport_.make(wish_);
  sides_.push_back(std::move(side));
  return *sides_.back();
}

void World::remove(Side& side) {
  side.fabric.reset();
}

void World::connect(Side& from, PeerId as, const Side& to) {
  const auto connected = from.fabric->connect(as, to.fabric->address());
  INFO(connected.error);
  REQUIRE(connected);
}

void World::connect_pair(Side& first, Side& second) {
  connect(first, 1, second);
  connect(second, 0, first);
}

void World::progress(Side* only) {
  for (const auto& side : sides_)
    if (side->fabric && (only == nullptr || only == side.get())) side->poll();
  transport_.pass_time();
}

bool World::until(const std::function<bool()>& condition, Side* only) {
  const uint64_t start_ns = now_ns();
  for (uint32_t step = 0; !condition(); ++step) {
    if (transport_.is_real ? now_ns() - start_ns > kPatienceNs : step > kVirtualStepsMax)
      return false;
    progress(only);
  }
  return true;
}

void World::settle() {
  const uint64_t start_ns = now_ns();
  for (uint32_t step = 0;; ++step) {
    if (transport_.is_real ? now_ns() - start_ns > kSettleNs : step > kVirtualSettleSteps) return;
    progress();
  }
}

Fabric::Posted World::post(const std::function<Fabric::Posted()>& attempt) {
  Fabric::Posted posted = Fabric::Posted::full;
  const bool ended = until([&] {
    posted = attempt();
    return posted != Fabric::Posted::full;
  });
  CHECK(ended);
  return posted;
}

bool World::keeps(std::string Transport::*broken_promise) const {
  const std::string& reason = transport_.*broken_promise;
  if (!reason.empty()) WARN("left out: " << reason);
  return reason.empty();
}

}  // namespace copyrpc::conformance
