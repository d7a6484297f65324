// SPDX-License-Identifier: Apache-2.0
// The search against all orders: on answers that are made up, on true ones, and on true ones of
// which one was changed.
#include "tests/unit/sim/brute_force.hpp"

#include <fmt/format.h>

#include <cstdlib>

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

/// COPYKV_CHECK_EFFORT times as many histories as usual, and others.
[[nodiscard]] uint32_t effort() {
  const char* text = std::getenv("COPYKV_CHECK_EFFORT");
  return text == nullptr ? 1 : static_cast<uint32_t>(std::strtoul(text, nullptr, 10));
}

/// One of each that can contradict another.
[[nodiscard]] std::vector<Operation> alphabet() {
  const Status ok = Status::ok;
  const Status missing = Status::not_found;
  const Status open = Status::indeterminate;
  return {
      {.argument = 1, .version = 1, .kind = Kind::put, .status = ok},
      {.argument = 2, .version = 2, .kind = Kind::put, .status = ok},
      {.argument = 3, .version = 2, .kind = Kind::put, .status = ok, .when = When::if_absent},
      {.argument = 4, .kind = Kind::put, .status = open},
      {.argument = 5,
       .if_version = 1,
       .version = 3,
       .kind = Kind::put,
       .status = ok,
       .when = When::if_version},
      {.argument = 6,
       .version = 1,
       .expires_from_ns = 1,
       .expires_until_ns = 1,
       .kind = Kind::put,
       .status = ok},
      {.argument = 7,
       .version = 1,
       .kind = Kind::put,
       .status = Status::condition_failed,
       .when = When::if_absent},
      {.observed = 1, .version = 1, .kind = Kind::get, .status = ok},
      {.observed = 4, .version = 2, .kind = Kind::get, .status = ok},
      {.observed = 6, .version = 1, .kind = Kind::get, .status = ok},
      {.kind = Kind::get, .status = missing},
      {.kind = Kind::del, .status = ok},
      {.kind = Kind::del, .status = missing},
      {.kind = Kind::del, .status = open},
      {.version = 1, .kind = Kind::exists, .status = ok},
      {.argument = 1, .observed = 1, .version = 2, .kind = Kind::add, .status = ok},
      {.version = 1, .kind = Kind::touch, .status = ok},
      {.kind = Kind::wipe, .status = ok},
  };
}

}  // namespace

TEST_CASE("every history of three operations: the search and all orders agree") {
  constexpr uint64_t kTimes[][2] = {{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 2}};
  std::vector<Operation> all;
  for (const Operation& letter : alphabet()) {
    for (const auto& time : kTimes) {
      Operation operation = letter;
      operation.begin_ns = time[0];
      operation.end_ns = time[1];
      all.push_back(operation);
    }
  }
  uint64_t count = 0;
  uint64_t ordered = 0;
  for (size_t a = 0; a < all.size(); ++a) {
    for (size_t b = a + 1; b < all.size(); ++b) {
      for (size_t c = b + 1; c < all.size(); ++c) {
        if (all[b].kind == Kind::wipe && (all[a].kind == Kind::wipe || all[c].kind == Kind::wipe)) {
          continue;  // deaths of one owner do not overlap
        }
        History history;
        uint32_t process = 0;
        for (const size_t at : {a, b, c}) {
          Operation operation = all[at];
          operation.process = ++process % 2;
          // A letter twice: what it writes differs.
          if (operation.kind == Kind::put) operation.argument += at % std::size(kTimes) * 10;
          history.append(operation);
        }
        ++count;
        ordered += compare(history, true) ? 1 : 0;
      }
    }
  }
  fmt::print("{} histories of three operations, {} have an order\n", count, ordered);
  CHECK(ordered > 0);
  CHECK(ordered < count);
}

TEST_CASE("made-up answers: the search and all orders agree") {
  Random random(effort());
  uint32_t ordered = 0;
  const uint32_t histories = effort() * 150'000;
  for (uint32_t count = 0; count < histories; ++count) {
    const History history = make_up(static_cast<uint32_t>(2 + random.below(6)), random);
    ordered += compare(history, random.chance(0.5)) ? 1 : 0;
  }
  fmt::print("{} made-up histories, {} have an order\n", histories, ordered);
  CHECK(ordered > histories / 50);
  CHECK(ordered < histories - histories / 50);
}

TEST_CASE("true answers of few operations, and with one changed: the search and all orders agree") {
  Random random(effort() + 1);
  uint32_t rejected = 0;
  const uint32_t histories = effort() * 40'000;
  for (uint32_t count = 0; count < histories; ++count) {
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
  fmt::print("{} true histories, {} of them no more with one change\n", histories, rejected);
  CHECK(rejected > histories / 20);
}

}  // namespace copykv::sim
