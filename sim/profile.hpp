// SPDX-License-Identifier: Apache-2.0
// What things cost in virtual time: processors, and the stations of the network. Named profiles
// stand in sim/profiles.toml; a file of the same form does as well.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "copyrpc/fabric/sim/sim_fabric.hpp"

namespace copykv::sim {

struct Profile {
  std::string name{};
  std::string what{};       ///< where its numbers come from
  uint64_t turn_ns = 30;    ///< of a daemon that finds nothing
  uint64_t item_ns = 60;    ///< more for each request, call or answer that it works on
  uint64_t post_ns = 30;    ///< more for each post
  uint64_t line_ns = 60;    ///< a cache line from one core to another
  uint64_t client_ns = 50;  ///< of a client, from an answer to its next operation
  copyrpc::SimOptions network{};
};

/// `name`: of a profile, or the path of a TOML file with one table per profile (its first is taken)
/// when it contains a '/' or ends in ".toml". The error names what is known, or the line.
[[nodiscard]] Outcome<Profile> load_profile(std::string_view name);
[[nodiscard]] Outcome<std::vector<Profile>> parse_profiles(std::string_view toml,
                                                           std::string_view file);

}  // namespace copykv::sim
