// SPDX-License-Identifier: Apache-2.0
// Whether the answers that clients got can come from one store that does one thing at a time.
//
//   const Verdict verdict = check_linearizability(history);
//   if (!verdict.ok()) puts(verdict.story.c_str());
//
// CLAIM      For each key there is an order of its operations, each between its beginning and its
//   end, in which the store's specification (specification.hpp) gives every answer. Operations that
//   are open may be in it or not; wipes are in it, and so is the end of what expires. Operations of
//   one client on one key are in it as they were submitted.
// FOLLOWS    No acknowledged write is lost (it is in the order, and only a wipe, an expiry or
// another
//   write ends what it wrote), nothing is read that was not written or was refused, versions of a
//   key grow within a life of its owner.
// METHOD     Keys by themselves (Herlihy and Wing 1990, locality); per key the search of Wing and
//   Gong 1993 as Lowe 2017 does it: operations are put into the order just in time for their end,
//   and what leads to the same state is searched once.
// COST       About a microsecond per operation. More where many clients have operations other than
//   get and put in flight on one key at once, and where many open ones that nobody read could
//   explain an answer: thousands of states per operation, and then the verdict is undecided.
// THREADS    None of its own; calls share nothing.
// PROVED BY  tests/unit/sim/check_* (against all orders of small histories, and mutations).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/check/history.hpp"

namespace copykv::sim {

struct CheckOptions {
  uint64_t states_max = 2'000'000;  ///< for each key, and 100 more for each of its operations;
                                    ///< then the verdict is undecided
  bool client_order = true;         ///< a client's operations on a key keep their order
};

struct Verdict {
  enum class Outcome : uint8_t { ok, violation, undecided };

  Outcome outcome = Outcome::ok;
  uint64_t key = 0;         ///< of the story
  std::string story;        ///< empty when ok; else lines that tell what cannot be
  uint64_t operations = 0;  ///< that were checked, without those that say nothing
  uint64_t keys = 0;
  uint64_t states = 0;         ///< visited
  uint64_t keys_violated = 0;  ///< the story is of the earliest
  uint64_t keys_undecided = 0;

  [[nodiscard]] bool ok() const noexcept { return outcome == Outcome::ok; }
};

[[nodiscard]] Verdict check_linearizability(const History& history,
                                            const CheckOptions& options = {});

}  // namespace copykv::sim
