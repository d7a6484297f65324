// SPDX-License-Identifier: Apache-2.0
// Talking to a daemon within --timeout, and what to say when it ends otherwise than hoped.
#pragma once

#include <string>
#include <string_view>

#include <copykv/client.hpp>

#include "tools/copykv/command.hpp"

namespace copykv::tools {

/// Attaches to the rank that was asked for, or fails with Exit::no_daemon (nobody there) or
/// Exit::error (refused, or no answer in time).
[[nodiscard]] Client attach(const Common& common, uint32_t queue_depth = 1);

/// The result of the one operation whose submission returned `submitted`. Fails when no answer
/// comes in time; every other end is in the result's status. `what` names the operation ("get").
[[nodiscard]] Result finish(Client& client, Status submitted, const Common& common,
                            std::string_view what);

/// The line for an operation that did not end with ok, and the exit code that goes with it.
[[nodiscard]] Failed failure_of(const Result& result, std::string_view key);

/// What is said when an answer does not come in time.
[[nodiscard]] std::string no_answer_line(std::string_view what, const Common& common);

}  // namespace copykv::tools
