// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace copykv {

/// How a thread waits for work or for an answer.
enum class Wait : uint8_t {
  spin,      ///< busy; fastest, needs a core of its own
  adaptive,  ///< spins briefly, then yields, then sleeps (default)
  park,      ///< sleeps at once; cheapest for the machine
};

}  // namespace copykv
