// SPDX-License-Identifier: Apache-2.0
// The ranks of one job as processes of this machine, one daemon thread each.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/storm/daemon_process.hpp"

namespace copykv::storm {

struct RanksOptions {
  uint32_t ranks = 3;
  std::string transport = "ofi-tcp";
  bool by_tcp = false;  ///< rendezvous at rank 0 instead of in a directory
  std::vector<std::string> flags{};
};

/// Memory that a process has written to, in KiB.
[[nodiscard]] uint64_t own_memory_kib(pid_t pid);

class Ranks {
 public:
  explicit Ranks(const RanksOptions& options);
  ~Ranks();

  /// Throws when not all of them become ready.
  void start_all();
  [[nodiscard]] DaemonProcess& operator[](uint32_t rank) { return *daemons_[rank]; }
  [[nodiscard]] uint32_t count() const { return static_cast<uint32_t>(daemons_.size()); }
  /// SIGTERM to all; the exit codes.
  [[nodiscard]] std::vector<int> stop_all();

  /// Throws std::runtime_error with the attach error.
  [[nodiscard]] Client attach(uint32_t rank, Options options = {}) const;
  /// Which rank owns a key: partitions go round over the daemons of the job.
  [[nodiscard]] uint32_t owner_of(const std::string& key) const;

 private:
  std::string directory_;
  std::vector<std::unique_ptr<DaemonProcess>> daemons_;
};

}  // namespace copykv::storm
