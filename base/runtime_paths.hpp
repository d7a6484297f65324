// SPDX-License-Identifier: Apache-2.0
// Where the daemons of a job are found: <runtime dir>/<job>/rank<r>.sock, directories 0700.
//
// TRUST  /tmp is shared with other users: a directory that someone else made, or a link, is refused
//   before anything is created or connected inside it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace copykv {

inline constexpr uint32_t kJobNameBytesMax = 64;
inline constexpr uint32_t kSocketPathBytesMax = 107;  ///< sockaddr_un::sun_path without its NUL

/// `given` when not empty, else $COPYKV_RUNTIME_DIR, else $XDG_RUNTIME_DIR/copykv, else
/// /tmp/copykv-<uid>.
[[nodiscard]] std::string runtime_dir(std::string_view given = {});

/// `given` when not empty, else $COPYKV_JOB, else "default".
[[nodiscard]] std::string job_name(std::string_view given = {});

/// A job name is 1..64 of A-Z a-z 0-9 . _ - and neither "." nor "..".
[[nodiscard]] Outcome<void> check_job_name(std::string_view job);

/// The directory of a job; fails on a bad job name.
[[nodiscard]] Outcome<std::string> job_dir(std::string_view runtime_dir, std::string_view job);

/// The socket of a rank; fails on a bad job name and when the path is too long for a Unix socket.
[[nodiscard]] Outcome<std::string> socket_path(std::string_view runtime_dir, std::string_view job,
                                               uint32_t rank);

/// Creates <runtime dir>/<job> as far as it is missing (mode 0700), checks it as below, and returns
/// its path.
[[nodiscard]] Outcome<std::string> make_job_dir(const std::string& runtime_dir,
                                                std::string_view job);

/// Fails unless the job's directory exists, is no link, belongs to this user and is closed to all
/// others, and nobody but this user and root can replace it.
[[nodiscard]] Outcome<void> check_job_dir(const std::string& runtime_dir, std::string_view job);

}  // namespace copykv
