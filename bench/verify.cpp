// SPDX-License-Identifier: Apache-2.0
#include "bench/verify.hpp"

#include <string>

namespace copykv::bench {

void note_wrong_value(Measurement& measured, uint32_t client, std::string_view key,
                      std::string_view value) noexcept {
  ++measured.wrong_values;
  if (measured.first_wrong) return;
  measured.first_wrong = WrongValue{client, std::string(key), value.size(),
                                    std::string(value.substr(0, kWrongBytesShown))};
}

}  // namespace copykv::bench
