// SPDX-License-Identifier: Apache-2.0
// All orders of a small history of one key, tried one after the other: what the fast search is
// compared with.
#pragma once

#include "sim/check/history.hpp"

namespace copykv::sim {

/// Whether there is an order. For about ten operations.
[[nodiscard]] bool has_an_order(const History& history, bool client_order);

}  // namespace copykv::sim
