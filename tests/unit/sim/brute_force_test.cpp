// SPDX-License-Identifier: Apache-2.0
// The search against all orders: on answers that are made up, on true ones, and on true ones of
// which one was changed.
#include "tests/unit/sim/brute_force.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "sim/check/linearizability.hpp"
#include "sim/check/words.hpp"
#include "tests/unit/sim/random_history.hpp"

namespace copykv::sim {
namespace {

[[nodiscard]] std::string words_of(const History& history) {
  std::string text;
  for (const Operation& operation : history.operations()) {
    text += operation_words(operation, 0) + "\n";
  }
  return text;
}

/// Returns whether there is an order.
bool compare(const History& history, bool client_order) {
  const Verdict verdict = check_linearizability(history, {.client_order = client_order});
  const bool expected = has_an_order(history, client_order);
  if (verdict.outcome == Verdict::Outcome::undecided || verdict.ok() != expected) {
    FAIL(fmt::format("all orders: {}, search: {}\n{}{}", expected, verdict.ok(), words_of(history),
                     verdict.story));
  }
  return expected;
}

/// One answer, changed to another that it could have been.
[[nodiscard]] History with_one_change(const History& history, Random& random) {
  std::vector<Operation> operations = history.operations();
  Operation& changed = operations[random.below(operations.size())];
  const Operation& other = operations[random.below(operations.size())];
  switch (random.below(6)) {
    case 0:
      if (!changed.open()) changed.version = other.version;
      break;
    case 1:
      if (changed.kind == Kind::get) {
        changed.observed = other.kind == Kind::put ? other.argument : other.observed;
        changed.number = other.number;
      }
      break;
    case 2:
      if (changed.kind != Kind::put && changed.kind != Kind::add && changed.kind != Kind::wipe) {
        changed.status = Status::not_found;
      }
      break;
    case 3:
      std::swap(changed.begin_ns, operations[0].begin_ns);
      changed.begin_ns = std::min(changed.begin_ns, changed.end_ns);
      operations[0].begin_ns = std::min(operations[0].begin_ns, operations[0].end_ns);
      break;
    case 4:
      if (changed.kind == Kind::put && changed.status == Status::ok) {
        changed.status = Status::no_space;
      }
      break;
    default:
      if (changed.expires()) {
        changed.expires_from_ns = changed.begin_ns;
        changed.expires_until_ns = changed.begin_ns + random.below(200);
      }
  }
  History result;
  for (const Operation& operation : operations) result.append(operation);
  return result;
}

}  // namespace

TEST_CASE("made-up answers: the search and all orders agree") {
  Random random(1);
  uint32_t ordered = 0;
  constexpr uint32_t kHistories = 150'000;
  for (uint32_t count = 0; count < kHistories; ++count) {
    const History history = make_up(static_cast<uint32_t>(2 + random.below(6)), random);
    ordered += compare(history, random.chance(0.5)) ? 1 : 0;
  }
  fmt::print("{} made-up histories, {} have an order\n", kHistories, ordered);
  CHECK(ordered > kHistories / 50);
  CHECK(ordered < kHistories - kHistories / 50);
}

TEST_CASE("true answers of few operations, and with one changed: the search and all orders agree") {
  Random random(2);
  uint32_t rejected = 0;
  constexpr uint32_t kHistories = 40'000;
  for (uint32_t count = 0; count < kHistories; ++count) {
    const ExecutionOptions options{.operations = static_cast<uint32_t>(6 + 2 * random.below(2)),
                                   .processes = 2,
                                   .reads = 0.4,
                                   .plain = 0.3,
                                   .open = 0.2,
                                   .lives = 0.2,
                                   .wipes = static_cast<uint32_t>(random.below(2))};
    const History history = execute(options, random);
    REQUIRE(compare(history, true));
    rejected += compare(with_one_change(history, random), true) ? 0 : 1;
  }
  fmt::print("{} true histories, {} of them no more with one change\n", kHistories, rejected);
  CHECK(rejected > kHistories / 20);
}

}  // namespace copykv::sim
