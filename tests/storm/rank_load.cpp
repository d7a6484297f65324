// SPDX-License-Identifier: Apache-2.0
#include "tests/storm/rank_load.hpp"

#include <unistd.h>

#include <algorithm>

#include "tests/storm/record.hpp"

namespace copykv::storm {
namespace {

constexpr uint32_t kInFlight = 8;
constexpr uint64_t kLargeOneIn = 16;
constexpr uint64_t kSmallBytesMax = 400;     // fits every answer: never asked for twice
constexpr uint64_t kMediumBytesMax = 6'000;  // beyond what travels in a message, too
constexpr uint64_t kLargeBytesMax = 300'000;
constexpr uint64_t kWaitMs = 100;
constexpr useconds_t kPauseUs = 300;  // after a call that nobody could serve: it ends at once
const SystemClock kClock;

uint64_t value_bytes_of(uint64_t key, Random& random) {
  if (random.chance(0.7)) return kRecordBytesMin + random.below(64);
  if (!is_large(key)) return kRecordBytesMin + random.below(kSmallBytesMax);
  const bool large = random.below(kLargeOneIn) == 0;
  return kRecordBytesMin + random.below(large ? kLargeBytesMax : kMediumBytesMax);
}

}  // namespace

std::vector<uint32_t> load_owners(const Ranks& ranks) {
  std::vector<uint32_t> owners;
  for (uint64_t key = 0; key < uint64_t{ranks.count()} * kKeysPerRank; ++key) {
    owners.push_back(ranks.owner_of(record_key(key)));
  }
  return owners;
}

void RankLoad::start() {
  for (uint32_t rank = 0; rank < ranks_.count(); ++rank) {
    const uint32_t process = 2 * rank + 1;
    threads_.emplace_back([this, rank, process] {
      run_everything({.rank = rank, .process = process, .random = Random(process)});
    });
    threads_.emplace_back([this, rank, process] {
      run_living({.rank = rank, .process = process + 1, .random = Random(process + 1)});
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

sim::History RankLoad::history() const {
  sim::History history = tapes_.history();
  ledger_.enter_deaths(history);
  return history;
}

/// Enters the call; a write's value stands in seat.value.
RankLoad::Flight RankLoad::begin(Seat& seat, uint64_t key, CallKind kind) {
  Flight flight{.busy = true};
  if (kind == CallKind::write) {
    seat.value.resize(value_bytes_of(key, seat.random));
    write_record(key, seat.process, ++seat.sequence, seat.value);
  }
  flight.call = ledger_.begin(seat.caller, key, kind, kClock.now_ns());
  flight.at = tape(seat).begin(
      kind == CallKind::write ? put_of(key, seat.process, seat.sequence, flight.call.begin_ns)
                              : asking(sim::Kind::get, key, seat.process, flight.call.begin_ns));
  return flight;
}

void RankLoad::ended(const Seat& seat, const Flight& flight, const Result& result) {
  const uint64_t now_ns = kClock.now_ns();
  std::string wrong;
  tape(seat).end(flight.at, ending_of(tape(seat)[flight.at], result, now_ns, wrong));
  if (wrong.empty()) wrong = ledger_.end(flight.call, result.status, now_ns);
  if (!wrong.empty()) violated(wrong);
  if (result.ok()) ++ok_[seat.rank][ledger_.owner(flight.call.key)];
  if (result.status == Status::unreachable) ::usleep(kPauseUs);
}

void RankLoad::run_everything(Seat seat) {
  std::array<Flight, kInFlight> flights;
  std::array<Completion, kInFlight> done;
  const auto wanted = [&](uint64_t key) {
    return !is_large(key) ||
           std::none_of(flights.begin(), flights.end(), [&](const Flight& flight) {
             return flight.busy && flight.call.key == key;
           });
  };
  while (!stopping_) {
    if (!attached(seat)) continue;
    for (uint32_t slot = 0; slot < kInFlight && seat.client->connected(); ++slot) {
      const uint64_t key = seat.random.below(ledger_.keys());
      if (flights[slot].busy || !wanted(key)) continue;
      const bool writes = seat.random.chance(0.5);
      flights[slot] = begin(seat, key, writes ? CallKind::write : CallKind::read);
      const Status status = writes ? seat.client->submit_put(record_key(key), seat.value, slot)
                                   : seat.client->submit_get(record_key(key), slot);
      if (status == Status::ok) continue;
      ended(seat, flights[slot], {.status = status});
      flights[slot].busy = false;
    }
    const size_t taken = seat.client->wait(done, kWaitMs);
    for (size_t index = 0; index < taken; ++index) {
      Flight& flight = flights[done[index].tag];
      ended(seat, flight, done[index].result);
      flight.busy = false;
    }
  }
  finish_all(seat, flights);
}

/// What is still in flight at the end of the storm ends, too.
void RankLoad::finish_all(Seat& seat, std::span<Flight> flights) {
  std::array<Completion, kInFlight> done;
  const uint64_t give_up_ns = kClock.now_ns() + kCallNsMax;
  while (seat.client && seat.client->in_flight() > 0 && kClock.now_ns() < give_up_ns) {
    const size_t taken = seat.client->wait(done, kWaitMs);
    for (size_t index = 0; index < taken; ++index) {
      ended(seat, flights[done[index].tag], done[index].result);
    }
  }
}

void RankLoad::run_living(Seat seat) {
  while (!stopping_) {
    if (!attached(seat)) continue;
    const bool writes = seat.random.chance(0.5);
    const uint64_t key = seat.random.below(ledger_.keys());
    if (ledger_.owner(key) == victim) continue;
    const Flight flight = begin(seat, key, writes ? CallKind::write : CallKind::read);
    const Result result =
        writes ? seat.client->put(record_key(key), seat.value) : seat.client->get(record_key(key));
    ended(seat, flight, result);
    if (result.ok() || result.status == Status::not_found) ++living_ok_[seat.rank];
  }
}

}  // namespace copykv::storm
