// SPDX-License-Identifier: Apache-2.0
// Every value that is read is checked, by clients that run and by those that are simulated.
#pragma once

#include <string_view>

#include "bench/keys.hpp"
#include "bench/measure.hpp"
#include "bench/values.hpp"

namespace copykv::bench {

/// Counts it; the first one is kept.
void note_wrong_value(Measurement& measured, uint32_t client, std::string_view key,
                      std::string_view value) noexcept;

inline void verify_read(Measurement& measured, uint32_t client, KeyText& key_text,
                        uint32_t key_index, std::string_view value) noexcept {
  ++measured.reads_verified;
  if (value_is_right(value, key_index)) [[likely]]
    return;
  note_wrong_value(measured, client, key_text(key_index), value);
}

}  // namespace copykv::bench
