// SPDX-License-Identifier: Apache-2.0
#include "tests/storm/ledger.hpp"

#include <fmt/format.h>

#include "tests/storm/record.hpp"

namespace copykv::storm {
namespace {

[[nodiscard]] bool serves(uint64_t life) {
  return life % 2 == 0;
}

void raise(std::atomic<uint64_t>& to, uint64_t value) {
  uint64_t seen = to.load();
  while (value > seen && !to.compare_exchange_weak(seen, value)) {
  }
}

}  // namespace

void Ledger::dies(uint32_t rank, uint64_t now_ns) {
  ranks_[rank].end_ns = now_ns;
  ++ranks_[rank].life;
}

void Ledger::is_dead(uint32_t rank, uint64_t now_ns) {
  ranks_[rank].dead_ns = now_ns;
}

void Ledger::starts(uint32_t rank, uint64_t now_ns) {
  deaths_.push_back({rank, ranks_[rank].end_ns, now_ns});
  ranks_[rank].dead_ns = 0;
  ranks_[rank].ready_ns = UINT64_MAX;
  ++ranks_[rank].life;
}

void Ledger::is_ready(uint32_t rank, uint64_t now_ns) {
  ranks_[rank].ready_ns = now_ns;
}

void Ledger::stops(uint32_t rank, uint64_t now_ns) {
  ranks_[rank].keeps_memory = true;
  dies(rank, now_ns);
}

void Ledger::revives(uint32_t rank, uint64_t now_ns) {
  ranks_[rank].ready_ns = now_ns;
  ranks_[rank].dead_ns = 0;
  ++ranks_[rank].life;
}

void Ledger::enter_deaths(sim::History& history) const {
  for (const Death& death : deaths_) {
    for (uint64_t key = 0; key < keys(); ++key) {
      if (owners_[key] == death.rank) history.wipe(key, death.ordered_ns, death.restart_ns);
    }
  }
}

LedgerCall Ledger::begin(const Caller& caller, uint64_t key, CallKind kind, uint64_t now_ns) const {
  return {.key = key,
          .begin_ns = now_ns,
          .owner_life = ranks_[owners_[key]].life,
          .caller = caller,
          .kind = kind};
}

std::string Ledger::end(const LedgerCall& call, Status status, uint64_t now_ns) {
  ++by_status[static_cast<size_t>(status)];
  const Rank& owner = ranks_[owners_[call.key]];
  const bool same_owner = owner.life == call.owner_life;
  const bool same_caller = ranks_[call.caller.rank].life == call.caller.life;
  const uint64_t took_ns = now_ns - call.begin_ns;
  if (same_caller) raise(longest_call_ns, took_ns);
  const bool told = status == Status::unreachable || status == Status::indeterminate;
  if (told && same_caller && (!same_owner || !serves(call.owner_life))) {
    raise(longest_told_ns, now_ns - std::max(call.begin_ns, owner.end_ns.load()));
  }
  if (status == Status::indeterminate && same_caller && serves(call.caller.life)) ++left_open;
  std::string wrong;
  // Who waits for a stopped rank of its own waits as long as that stands.
  const bool must_end = same_caller || !ranks_[call.caller.rank].keeps_memory;
  if (took_ns > kCallNsMax && must_end) wrong = fmt::format("took {} ms", took_ns / kNanosPerMilli);
  if (wrong.empty()) wrong = check_status(call, status, same_owner, same_caller);
  if (wrong.empty()) return {};
  return fmt::format("a {} of {} (owner {}, life {}{}) from rank {}, {}: {}",
                     call.kind == CallKind::read ? "read" : "write", record_key(call.key),
                     owners_[call.key], call.owner_life, same_owner ? "" : ", now another",
                     call.caller.rank, to_string(status), wrong);
}

std::string Ledger::check_status(const LedgerCall& call, Status status, bool same_owner,
                                 bool same_caller) const {
  const Rank& owner = ranks_[owners_[call.key]];
  const bool stood = same_owner && serves(call.owner_life);  // the owner lived all the time
  const uint64_t ready_ns = owner.ready_ns;
  const bool served = stood && call.begin_ns > ready_ns && call.begin_ns - ready_ns > kServedNsMax;
  const bool with_caller = same_caller && serves(call.caller.life);
  const bool was_dead =
      same_owner && !serves(call.owner_life) && owner.dead_ns != 0 && call.begin_ns > owner.dead_ns;
  switch (status) {
    case Status::ok:
      return was_dead ? "the owner was dead" : "";
    case Status::not_found:
      if (call.kind == CallKind::write) return "a write finds nothing";
      return was_dead ? "the owner was dead" : "";
    case Status::unreachable:
      return served && with_caller ? "the owner lives" : "";
    case Status::indeterminate:
      if (call.kind == CallKind::read) return "only writes can be";
      return served && with_caller ? "the owner lives" : "";
    case Status::disconnected:
      return with_caller ? "the caller's own rank lives" : "";
    default:
      return "no such end was asked for";
  }
}

}  // namespace copykv::storm
