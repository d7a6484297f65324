// SPDX-License-Identifier: Apache-2.0
// What the suite needs to know of a fabric. A new one is added by one function that makes a
// Transport, one line in transport.cpp, and one test in meson.build.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "copyrpc/fabric/fabric.hpp"

namespace copyrpc::conformance {

struct Wish {
  uint32_t peers_max = 16;
  uint32_t posts_max = 64;
};

struct Transport {
  std::string absent;  ///< why this machine has none; empty: it has
  /// A new endpoint; all of one test are made by the same Transport.
  std::function<std::unique_ptr<Fabric>(const Wish&)> make;
  /// Lets time pass, where time is not real: to what is due next, 100 us at most.
  std::function<void()> pass_time;
  /// Its endpoints may be in several threads and processes.
  bool is_real = true;

  // Promises that a fabric cannot keep, in words for the log; the cases that need them are left
  // out.
  std::string refusals_untold;  ///< a refused access changes nothing, but the poster is not told
  std::string loss_untold;      ///< nobody is told of a peer's end
  std::string keys_counted;     ///< keys are given out in order: others than the fabric choose them
  std::string one_process;      ///< its endpoints are all in one process, whatever their threads
  std::string loss_fatal;       ///< an endpoint must not end while others use it
};

/// libfabric's ("ofi-tcp", "ofi-shm", "ofi:<provider>").
[[nodiscard]] Transport ofi_transport(const std::string& name);

/// The simulated network, under a clock of its own.
[[nodiscard]] Transport sim_transport();

/// Reliable connected queue pairs, or the dynamically connected ones of mlx5: "rc" or "dc" on every
/// device that can be used, "rc:DEVICE,DEVICE" on these. With two devices or more, each second
/// endpoint is on the second.
[[nodiscard]] Transport verbs_transport(const std::string& name);

/// The transport of that name; `absent` says so when there is none.
[[nodiscard]] Transport make_transport(const std::string& name);

/// The one under test, as the command line has it.
[[nodiscard]] Transport transport_under_test();
[[nodiscard]] const std::string& transport_under_test_name();

}  // namespace copyrpc::conformance
