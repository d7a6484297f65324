// SPDX-License-Identifier: Apache-2.0
#include "tests/storm/rank_load.hpp"

#include <unistd.h>

#include "tests/storm/record.hpp"

namespace copykv::storm {
namespace {

constexpr uint32_t kInFlight = 8;
constexpr uint64_t kLargeOneIn = 64;
constexpr uint64_t kSmallBytesMax = 6'000;  // beyond what travels in a message, too
constexpr uint64_t kLargeBytesMax = 300'000;
constexpr uint64_t kWaitMs = 100;
constexpr useconds_t kPauseUs = 300;  // after a call that nobody could serve: it ends at once
const SystemClock kClock;

}  // namespace

std::vector<uint32_t> load_owners(const Ranks& ranks) {
  std::vector<uint32_t> owners;
  for (uint64_t key = 0; key < uint64_t{ranks.count()} * 2 * kKeysPerThread; ++key) {
    owners.push_back(ranks.owner_of(record_key(key)));
  }
  return owners;
}

void RankLoad::start() {
  for (uint32_t rank = 0; rank < ranks_.count(); ++rank) {
    const uint64_t first_key = uint64_t{rank} * 2 * kKeysPerThread;
    threads_.emplace_back([this, rank, first_key] {
      run_everything({.rank = rank, .first_key = first_key, .random = Random(first_key + 1)});
    });
    threads_.emplace_back([this, rank, first_key] {
      const uint64_t own_key = first_key + kKeysPerThread;
      run_living({.rank = rank, .first_key = own_key, .random = Random(own_key + 1)});
    });
  }
}

void RankLoad::stop() {
  stopping_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

uint64_t RankLoad::living_ok(uint32_t but) const {
  uint64_t sum = 0;
  for (uint32_t rank = 0; rank < ranks_.count(); ++rank) {
    if (rank != but) sum += living_ok_[rank];
  }
  return sum;
}

std::string RankLoad::violation() const {
  const std::lock_guard guard(lock_);
  return violation_;
}

void RankLoad::violated(const std::string& what) {
  const std::lock_guard guard(lock_);
  if (violation_.empty()) violation_ = what;
}

/// False: its rank is not there now.
bool RankLoad::attached(Seat& seat) {
  // What was in flight when the daemon went is told first.
  if (seat.client && (seat.client->connected() || seat.client->in_flight() > 0)) return true;
  seat.client.reset();
  seat.caller = {seat.rank, ledger_.life(seat.rank)};
  try {
    Options options;
    options.wait = Wait::park;
    options.queue_depth = kInFlight;
    seat.client = ranks_.attach(seat.rank, options);
    return true;
  } catch (const std::runtime_error&) {
    ::usleep(1'000);
    return false;
  }
}

std::string RankLoad::value_for(const LedgerCall& call, Random& random) const {
  const uint64_t more =
      random.below(random.below(kLargeOneIn) == 0 ? kLargeBytesMax : kSmallBytesMax);
  std::string value(kRecordBytesMin + (random.chance(0.7) ? more % 64 : more), '\0');
  write_record(call.key, call.caller.rank, call.sequence, value);
  return value;
}

void RankLoad::ended(const LedgerCall& call, const Result& result) {
  if (const std::string wrong = ledger_.end(call, result, kClock.now_ns()); !wrong.empty()) {
    violated(wrong);
  }
  if (result.ok()) ++ok_[call.caller.rank][ledger_.owner(call.key)];
  if (result.status == Status::unreachable) ::usleep(kPauseUs);
}

/// A key has at most one write in flight; reads are of anybody's keys.
void RankLoad::run_everything(Seat seat) {
  std::array<LedgerCall, kInFlight> calls;
  std::array<bool, kInFlight> busy{};
  std::array<Completion, kInFlight> done;
  while (!stopping_) {
    if (!attached(seat)) continue;
    for (uint32_t slot = 0; slot < kInFlight && seat.client->connected(); ++slot) {
      if (busy[slot]) continue;
      const bool writes = seat.random.chance(0.5);
      // Each slot writes keys of its own.
      const uint64_t own = seat.first_key + slot * (kKeysPerThread / kInFlight) +
                           seat.random.below(kKeysPerThread / kInFlight);
      const uint64_t key = writes ? own : seat.random.below(ledger_.keys());
      calls[slot] = ledger_.begin(seat.caller, key, writes ? CallKind::write : CallKind::read,
                                  kClock.now_ns());
      const Status status = writes ? seat.client->submit_put(
                                         record_key(key), value_for(calls[slot], seat.random), slot)
                                   : seat.client->submit_get(record_key(key), slot);
      busy[slot] = status == Status::ok;
      if (status != Status::ok) ended(calls[slot], {.status = status});
    }
    const size_t taken = seat.client->wait(done, kWaitMs);
    for (size_t index = 0; index < taken; ++index) {
      const auto slot = static_cast<uint32_t>(done[index].tag);
      ended(calls[slot], done[index].result);
      busy[slot] = false;
    }
  }
  for (uint32_t slot = 0; slot < kInFlight; ++slot) {
    if (busy[slot] && kClock.now_ns() - calls[slot].begin_ns > kCallNsMax) {
      violated(fmt::format("a call of {} never ends", record_key(calls[slot].key)));
    }
  }
}

void RankLoad::run_living(Seat seat) {
  while (!stopping_) {
    if (!attached(seat)) continue;
    const bool writes = seat.random.chance(0.5);
    const uint64_t key = writes ? seat.first_key + seat.random.below(kKeysPerThread)
                                : seat.random.below(ledger_.keys());
    if (ledger_.owner(key) == victim) continue;
    const LedgerCall call =
        ledger_.begin(seat.caller, key, writes ? CallKind::write : CallKind::read, kClock.now_ns());
    const Result result = writes ? seat.client->put(record_key(key), value_for(call, seat.random))
                                 : seat.client->get(record_key(key));
    ended(call, result);
    if (result.ok() || result.status == Status::not_found) ++living_ok_[seat.rank];
  }
}

}  // namespace copykv::storm
