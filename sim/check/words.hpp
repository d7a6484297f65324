// SPDX-License-Identifier: Apache-2.0
// Operations in plain words, for stories.
#pragma once

#include <cstdint>
#include <string>

#include "sim/check/history.hpp"

namespace copykv::sim {

/// "12.4 us", "3.000 120 s": enough digits to tell neighbours apart.
[[nodiscard]] std::string time_words(uint64_t ns);

/// "value 17 of client 3".
[[nodiscard]] std::string value_words(uint64_t value);

/// "get by client 3 from 12.4 us to 13.0 us: ok, value 17 of client 2, version 9". Times count from
/// `origin_ns`.
[[nodiscard]] std::string operation_words(const Operation& operation, uint64_t origin_ns);

}  // namespace copykv::sim
