// SPDX-License-Identifier: Apache-2.0
// The fabric over libfabric: TCP between any hosts, shared memory on one, and whatever else
// libfabric offers.
//
//   transport      provider, endpoint     why
//   ofi-tcp        net, connected         docs in provider.hpp
//   ofi-shm        shm, unconnected
//   ofi:<name>     <name>, unconnected if it offers that, else connected
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "copyrpc/fabric/fabric.hpp"

namespace copyrpc {

struct OfiOptions {
  std::string provider = "tcp";  ///< "tcp", "shm", or a libfabric provider's name
  std::string node;              ///< address or interface to bind to; empty: the first usable one
  uint32_t peers_max = 64;
  uint32_t posts_max = 256;  ///< in flight to one peer
};

/// "ofi-tcp" -> "tcp", "ofi-shm" -> "shm", "ofi:verbs;ofi_rxm" -> "verbs;ofi_rxm"; empty when the
/// transport is not one of libfabric's.
[[nodiscard]] std::string ofi_provider_of(std::string_view transport);

/// Opens one endpoint. An error names the provider and what it lacks.
[[nodiscard]] copykv::Outcome<std::unique_ptr<Fabric>> make_ofi_fabric(const OfiOptions& options);

/// Why an endpoint with these options cannot be had on this machine; empty: it can.
[[nodiscard]] std::string ofi_missing(const OfiOptions& options);

struct OfiProvider {
  std::string name;    ///< as in OfiOptions::provider
  std::string reason;  ///< why it cannot be used here; empty: it can
};
/// The providers that libfabric lists on this machine, "tcp" and "shm" first.
[[nodiscard]] std::vector<OfiProvider> ofi_providers();

}  // namespace copyrpc
