// SPDX-License-Identifier: Apache-2.0
// The fabric over libfabric: TCP between any hosts, shared memory on one, and whatever else
// libfabric offers.
//
//   transport    provider, endpoint                      round trip of 8 B, empty poll (libfabric
//                                                        1.17, loopback, two quiet cores)
//   ofi-tcp      net (tcp since 1.18), connected         10 us, 200 ns
//   ofi-shm      shm, unconnected                        0.7 us, 15 ns
//   ofi:<name>   <name>, unconnected if it has that, else connected
//
// WHY NET, CONNECTED  bench/micro/bare_writedata: tcp;ofi_rxm takes 13 us, the older tcp provider
//   12 us, net with unconnected endpoints the same 10 us. But unconnected endpoints do not say that
//   a peer is gone or has refused an access, call it again behind our back, and go on writing what
//   it had begun after its name is removed. A connection that is ours to close does none of that.
//
// PROMISES (fabric.hpp; tests/conformance)
//   ofi-tcp  all but this of F5: a message that is half received when its memory is deregistered is
//            received to its end, unless the connection is closed before the next poll: disconnect
//            whoever may be writing. Peers are told from strangers by what the bootstrap alone
//            knows (connected_links.cpp); a peer of the job that sends malformed frames on purpose
//            can end the process.
//   ofi-shm  F1, F2, F5 and F6. Not: F7's being told (a refused access changes nothing, and ends as
//            `done` or not at all), F4 (a post over 4 KiB that a peer never answers holds back the
//            completions of those to others), peer_lost, sleeping; and a read that was in flight at
//            disconnect may still be carried out by a peer that lives. The provider keeps its locks
//            in memory that all peers share: a peer that is killed under load leaves one locked in
//            about one of ten cases, and whoever posts to it then spins for ever. For measuring,
//            not for what must outlive a peer.
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
