// SPDX-License-Identifier: Apache-2.0
// What things cost in virtual time: processors, and the stations of the network. Named profiles
// stand in sim/profiles.toml; a file of the same form does as well.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "copyrpc/fabric/sim/sim_fabric.hpp"

namespace copykv::sim {

struct Profile {
  std::string name{};
  std::string what{};       ///< where its numbers come from
  uint64_t turn_ns = 30;    ///< of a daemon that finds nothing
  uint64_t item_ns = 60;    ///< more for each request, call or answer that it works on
  uint64_t local_ns = 0;    ///< ... and on top of that for a request of an own client, own key
  uint64_t call_ns = 0;     ///< ... for one that goes to another rank
  uint64_t inbound_ns = 0;  ///< ... for one of another rank
  uint64_t answer_ns = 0;   ///< ... for an answer to a call
  uint64_t lane_ns = 0;     ///< more for each lane that is looked at, whatever is there
  uint64_t post_ns = 30;    ///< more for each post
  uint64_t line_ns = 60;    ///< a cache line from one core to another
  uint64_t client_ns = 50;  ///< of a client, from an answer to its next operation
  copyrpc::SimOptions network{};
};

/// The numbers of a profile by the names that they have in a file, and one by its name; the error
/// says which there are.
[[nodiscard]] std::vector<std::pair<std::string, uint64_t>> numbers_of(const Profile& profile);
[[nodiscard]] Outcome<void> set_number(Profile& profile, std::string_view name, uint64_t value);
/// As a table of a file.
[[nodiscard]] std::string to_toml(const Profile& profile);

/// `name`: of a profile, or the path of a TOML file with one table per profile (its first is taken)
/// when it contains a '/' or ends in ".toml". The error names what is known, or the line.
[[nodiscard]] Outcome<Profile> load_profile(std::string_view name);
[[nodiscard]] Outcome<std::vector<Profile>> parse_profiles(std::string_view toml,
                                                           std::string_view file);

}  // namespace copykv::sim
