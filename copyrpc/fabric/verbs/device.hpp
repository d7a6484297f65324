// SPDX-License-Identifier: Apache-2.0
// One device, one port of it, one GID: what every verbs endpoint begins with.
#pragma once

#include <string>

#include "base/error.hpp"
#include "copyrpc/fabric/verbs/owned.hpp"
#include "copyrpc/fabric/verbs/verbs_fabric.hpp"

namespace copyrpc::verbs {

struct Device {
  Owned<ibv_context> context;
  Owned<ibv_pd> domain;
  std::string name;
  uint8_t port = 0;
  ibv_device_attr limits{};
  ibv_port_attr link{};
  uint32_t gid_index = 0;
  ibv_gid gid{};
  uint8_t traffic_class = 0;
  uint8_t service_level = 0;

  [[nodiscard]] bool ethernet() const noexcept {
    return link.link_layer == IBV_LINK_LAYER_ETHERNET;
  }
};

/// Finds the port that `options` ask for, or the best one, and opens it. An error says what is
/// missing, of what there is.
[[nodiscard]] copykv::Outcome<Device> open_device(const VerbsOptions& options);

}  // namespace copyrpc::verbs
