// SPDX-License-Identifier: Apache-2.0
// Where the secret of a job comes from. The first of these that there is:
//   the file that --job-secret-file names; nobody but its owner may read it
//   $COPYKV_JOB_SECRET
//   with a rendezvous on loopback only: <runtime dir>/<job>/secret, made by whoever comes first
#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"

namespace copykv {

inline constexpr uint32_t kJobSecretBytesMin = 16;  ///< fewer could be found by trying
inline constexpr uint32_t kJobSecretBytesMax = 1024;

struct JobSecretSource {
  std::string rendezvous{};   ///< as --rendezvous has it
  std::string file{};         ///< as --job-secret-file has it; empty: not given
  std::string runtime_dir{};  ///< as copykv::runtime_dir() says
  std::string job{};
};

/// Empty for a rendezvous that needs none. The error never contains a part of the secret.
[[nodiscard]] Outcome<std::string> find_job_secret(const JobSecretSource& source);

}  // namespace copykv
