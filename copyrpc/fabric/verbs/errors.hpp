// SPDX-License-Identifier: Apache-2.0
// What went wrong, in words.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace copyrpc::verbs {

/// What a completion's status means, as an operator would want to read it.
[[nodiscard]] std::string_view status_words(ibv_wc_status status) noexcept;
/// The nearest errno value, for Completion::error.
[[nodiscard]] int32_t status_errno(ibv_wc_status status) noexcept;

/// "ibv_create_cq on rxe0: Cannot allocate memory; <what an administrator can do>".
[[nodiscard]] copykv::Failure failure(std::string_view device, std::string_view call, int error);

}  // namespace copyrpc::verbs
