// SPDX-License-Identifier: Apache-2.0
// Items that a simulated rank has from the beginning.
#pragma once

#include <string_view>

#include <copykv/status.hpp>

#include "sim/cluster.hpp"

namespace copykv::sim {

/// Into the store itself: costs no virtual time.
[[nodiscard]] Status put_directly(Life& life, std::string_view key, std::string_view value);

}  // namespace copykv::sim
