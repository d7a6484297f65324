// SPDX-License-Identifier: Apache-2.0
// What one key of a store does, one operation after the other: the daemon's store
// (daemon/store.hpp) and what docs/protocol.md promises of its answers, without memory and time.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "sim/check/history.hpp"

namespace copykv::sim {

/// What the key holds, as far as answers have told.
struct KeyState {
  enum class Holds : uint8_t { nothing, record, number };

  uint64_t value = 0;    ///< of a record its name
  uint64_t version = 0;  ///< newest that was told of the key; version_told: it is the item's, else
                         ///< the item's is above it
  uint32_t expiry = 0;   ///< who gave the item its life: what was given to `apply`; 0: no end
  Holds holds = Holds::nothing;
  bool version_told = true;
  uint16_t spare = 0;

  [[nodiscard]] bool present() const noexcept { return holds != Holds::nothing; }
  bool operator==(const KeyState&) const = default;
};
static_assert(sizeof(KeyState) == 24 && std::has_unique_object_representations_v<KeyState>);

/// Whether an operation of this kind can end so at all, whatever the key holds.
[[nodiscard]] bool can_end_so(const Operation& operation) noexcept;

/// It neither changes the key nor says what the key holds: its status promises that nothing was
/// done, or it is a read that told nothing.
[[nodiscard]] bool says_nothing(const Operation& operation) noexcept;

/// Does the operation in this state. False: it cannot have been answered as it was, and the state
/// is of no use any more. An open operation was answered by nothing; where it would change nothing,
/// because its condition does not hold, it counts as not done: false. `id` (not 0) names the
/// operation where it gives the item a life.
[[nodiscard]] bool apply(KeyState& state, const Operation& operation, uint32_t id) noexcept;

/// The item's time is over.
void expire(KeyState& state) noexcept;

[[nodiscard]] std::string describe(const KeyState& state);

}  // namespace copykv::sim
