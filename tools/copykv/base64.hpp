// SPDX-License-Identifier: Apache-2.0
// RFC 4648 base64, with padding. Decoding is strict: one text for each sequence of bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace copykv::tools {

[[nodiscard]] std::string base64_encode(std::string_view bytes);
/// Nothing unless `text` is exactly what base64_encode writes for some bytes.
[[nodiscard]] std::optional<std::string> base64_decode(std::string_view text);

}  // namespace copykv::tools
