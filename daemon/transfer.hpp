// SPDX-License-Identifier: Apache-2.0
// A large value on its way between a client's memory and the arena, a chunk per turn. Private
// memory of the engine, one per lane; Store fills it in and moves it on.
#pragma once

#include <cstdint>

#include "shm/item.hpp"
#include "shm/slot.hpp"

namespace copykv {

struct Transfer {
  enum class Kind : uint8_t { idle, put, get };

  Kind kind = Kind::idle;
  Condition condition = Condition::always;  ///< put
  uint32_t ttl_ms = 0;                      ///< put: counts from the commit
  uint32_t value_bytes = 0;
  uint32_t done_bytes = 0;
  uint64_t if_version = 0;  ///< put
  uint64_t hash = 0;        ///< put: of the key
  Offset item = 0;          ///< put: not linked yet. get: pinned

  [[nodiscard]] bool idle() const noexcept { return kind == Kind::idle; }
  [[nodiscard]] uint32_t left_bytes() const noexcept { return value_bytes - done_bytes; }
};

}  // namespace copykv
