// SPDX-License-Identifier: Apache-2.0
// A peer in a process of its own, to be killed.
#pragma once

#include <sys/types.h>

#include <string>

#include "copyrpc/fabric/fabric.hpp"

namespace copyrpc::conformance {

inline constexpr char kPeerFlag[] = "--be-a-peer";
inline constexpr uint32_t kPeerMemoryBytes = 1 << 20;

/// What the two tell each other over pipes.
struct PeerCard {
  char address[128];
  uint32_t address_bytes;
  RemoteMemory memory;

  [[nodiscard]] std::string text() const { return {address, address_bytes}; }
};
[[nodiscard]] PeerCard make_card(const Fabric& fabric, const RemoteMemory& memory);

class PeerProcess {
 public:
  /// Starts one on that transport; it tells its card first, then waits for ours.
  explicit PeerProcess(const std::string& transport);
  ~PeerProcess();
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  [[nodiscard]] const PeerCard& card() const noexcept { return card_; }
  /// From now on it writes to that memory as fast as it can, until it is killed.
  void start_writing(const PeerCard& ours);
  /// SIGKILL, and gone when this returns.
  void kill();
  void stop();  ///< SIGSTOP

 private:
  pid_t pid_ = -1;
  int to_peer_ = -1;
  PeerCard card_{};
};

/// The program of such a process.
int be_a_peer(const std::string& transport);

}  // namespace copyrpc::conformance
