// SPDX-License-Identifier: Apache-2.0
// Long true histories, and each way in which a store could have lied once: the canaries of the
// checker.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>

#include <catch2/catch.hpp>

#include "sim/check/linearizability.hpp"
#include "tests/unit/sim/random_history.hpp"

namespace copykv::sim {
namespace {

using Operations = std::vector<Operation>;

[[nodiscard]] History history_of(const Operations& operations) {
  History history;
  for (const Operation& operation : operations) history.append(operation);
  return history;
}

[[nodiscard]] bool writes(const Operation& operation) {
  return operation.kind == Kind::put && operation.status == Status::ok && !operation.number;
}

[[nodiscard]] bool reads(const Operation& operation) {
  return operation.kind == Kind::get && operation.status == Status::ok && !operation.number;
}

/// The first write of that key that `holds`, and that has ended before `moment_ns`.
[[nodiscard]] const Operation* write_before(const Operations& all, uint64_t key, uint64_t moment_ns,
                                            const std::function<bool(const Operation&)>& holds) {
  for (const Operation& operation : all) {
    if (writes(operation) && operation.key == key && operation.end_ns < moment_ns &&
        holds(operation)) {
      return &operation;
    }
  }
  return nullptr;
}

void answer_with(Operation& get, const Operation& put) {
  get.status = Status::ok;
  get.observed = put.argument;
  get.version = put.version;
  get.number = false;
}

/// Changes one answer into a lie; false: it finds no place for it.
using Lie = std::function<bool(Operations&, Random&)>;

[[nodiscard]] bool stale_read(Operations& all, Random& random) {
  Operation& get = all[random.below(all.size())];
  if (!reads(get)) return false;
  const Operation* later = write_before(all, get.key, get.begin_ns, [&](const Operation& second) {
    return write_before(all, get.key, second.begin_ns, [](const auto&) { return true; }) != nullptr;
  });
  if (later == nullptr) return false;
  answer_with(get, *write_before(all, get.key, later->begin_ns, [](const auto&) { return true; }));
  return true;
}

/// A read says not_found although nothing ever removes anything.
[[nodiscard]] bool lost_write(Operations& all, Random& random) {
  Operation& get = all[random.below(all.size())];
  if (!reads(get) ||
      write_before(all, get.key, get.begin_ns, [](const auto&) { return true; }) == nullptr) {
    return false;
  }
  get.status = Status::not_found;
  get.version = 0;
  return true;
}

[[nodiscard]] bool swapped_versions(Operations& all, Random& random) {
  Operation& second = all[random.below(all.size())];
  if (!writes(second)) return false;
  const Operation* first =
      write_before(all, second.key, second.begin_ns, [](const auto&) { return true; });
  if (first == nullptr) return false;
  std::swap(const_cast<Operation*>(first)->version, second.version);
  return true;
}

[[nodiscard]] bool value_from_nowhere(Operations& all, Random& random) {
  Operation& get = all[random.below(all.size())];
  if (!reads(get)) return false;
  get.observed = value_id(999, get.observed);
  return true;
}

[[nodiscard]] bool refused_and_yet_read(Operations& all, Random& random) {
  Operation& put = all[random.below(all.size())];
  if (!writes(put)) return false;
  const bool is_read = std::any_of(all.begin(), all.end(), [&](const Operation& get) {
    return reads(get) && get.key == put.key && get.observed == put.argument;
  });
  put.status = Status::no_space;
  return is_read;
}

/// A read that begins after a wipe or a delete has ended returns what stood before it.
[[nodiscard]] bool resurrected(Operations& all, Random& random, Kind by) {
  const Operation& remover = all[random.below(all.size())];
  if (remover.kind != by || remover.status != Status::ok) return false;
  const Operation* put =
      write_before(all, remover.key, remover.begin_ns, [](const auto&) { return true; });
  if (put == nullptr) return false;
  for (Operation& get : all) {
    if (!reads(get) || get.key != remover.key || get.begin_ns <= remover.end_ns) continue;
    answer_with(get, *put);
    return true;
  }
  return false;
}

[[nodiscard]] bool expired_item_served(Operations& all, Random& random) {
  const Operation& put = all[random.below(all.size())];
  if (!writes(put) || !put.expires()) return false;
  for (Operation& get : all) {
    const bool touched = std::any_of(all.begin(), all.end(), [&](const Operation& touch) {
      return touch.kind == Kind::touch && touch.key == put.key && touch.end_ns > put.begin_ns &&
             touch.begin_ns < put.expires_until_ns;
    });
    if (!reads(get) || get.key != put.key || get.begin_ns <= put.expires_until_ns || touched) {
      continue;
    }
    answer_with(get, put);
    return true;
  }
  return false;
}

[[nodiscard]] bool wrong_sum(Operations& all, Random& random) {
  Operation& add = all[random.below(all.size())];
  if (add.kind != Kind::add || add.status != Status::ok) return false;
  add.observed += 1'000'000;
  return true;
}

void expect_found(const char* name, const ExecutionOptions& options, const Lie& lie) {
  Random random(7);
  uint32_t told = 0;
  constexpr uint32_t kLies = 60;
  for (uint32_t tries = 0; told < kLies && tries < 200'000; ++tries) {
    Operations all;
    if (tries % 400 == 0 || all.empty()) {
      const History truth = execute(options, random);
      const Verdict verdict = check_linearizability(truth);
      INFO(verdict.story);
      REQUIRE(verdict.ok());
      all = truth.operations();
    }
    for (uint32_t places = 0; places < 400; ++places) {
      Operations changed = all;
      if (!lie(changed, random)) continue;
      ++told;
      const Verdict verdict = check_linearizability(history_of(changed));
      INFO(name);
      REQUIRE(verdict.outcome == Verdict::Outcome::violation);
      REQUIRE(!verdict.story.empty());
      break;
    }
  }
  CHECK(told == kLies);
}

}  // namespace

TEST_CASE("long histories of a true store are accepted, whatever happens to it") {
  Random random(3);
  for (uint32_t round = 0; round < 60; ++round) {
    ExecutionOptions options{.operations = 2'000,
                             .processes = static_cast<uint32_t>(1 + random.below(6)),
                             .keys = 1 + random.below(8),
                             .reads = random.unit(),
                             .plain = random.unit(),
                             .open = random.unit() * 0.1,
                             .lives = random.unit() * 0.4,
                             .wipes = static_cast<uint32_t>(random.below(4)),
                             .numbers = random.chance(0.5)};
    const Verdict verdict = check_linearizability(execute(options, random));
    INFO(verdict.story);
    CHECK(verdict.ok());
  }
}

TEST_CASE("every lie is found") {
  const ExecutionOptions plain{.operations = 400,
                               .processes = 6,
                               .keys = 3,
                               .plain = 1,
                               .open = 0,
                               .lives = 0,
                               .numbers = false};
  ExecutionOptions wiped = plain;
  wiped.wipes = 2;
  ExecutionOptions mixed = plain;
  mixed.plain = 0.4;
  mixed.numbers = true;
  ExecutionOptions living = plain;
  living.lives = 0.3;
  living.open = 0.05;
  expect_found("stale read", plain, stale_read);
  expect_found("lost write", plain, lost_write);
  expect_found("swapped versions", plain, swapped_versions);
  expect_found("value from nowhere", mixed, value_from_nowhere);
  expect_found("refused and yet read", mixed, refused_and_yet_read);
  expect_found("resurrected after a delete", mixed,
               [](Operations& all, Random& random) { return resurrected(all, random, Kind::del); });
  expect_found("resurrected after a wipe", wiped, [](Operations& all, Random& random) {
    return resurrected(all, random, Kind::wipe);
  });
  expect_found("expired item served", living, expired_item_served);
  expect_found("wrong sum", mixed, wrong_sum);
}

}  // namespace copykv::sim
