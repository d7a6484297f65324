// SPDX-License-Identifier: Apache-2.0
// What copykvd can be told, and the checks that need no machine.
#pragma once

#include <cstdint>
#include <string>

#include <copykv/wait.hpp>

#include "base/error.hpp"
#include "base/settings.hpp"
#include "copyrpc/flush_policy.hpp"
#include "shm/slot.hpp"
#include "shm/store_memory.hpp"

namespace copykv {

/// Connections that have not said hello yet.
inline constexpr uint32_t kSilentConnectionsMax = 256;

struct DaemonOptions {
  std::string runtime_dir{};
  std::string job{};
  uint32_t rank = 0;
  uint32_t ranks = 1;
  uint32_t daemon_threads = 1;
  uint64_t memory_bytes = uint64_t{1} << 30;
  uint64_t value_bytes_max = kValueBytesMaxDefault;
  uint32_t clients_max = 4096;
  uint64_t client_bulk_bytes = uint64_t{64} << 20;
  uint64_t clients_memory_bytes = uint64_t{4} << 30;
  uint32_t attach_rate = 1000;  ///< of one process, per second
  std::string transport = "auto";
  std::string rendezvous{};
  std::string address{};  ///< that other ranks reach this one by; empty: the transport's choice
  std::string device{};   ///< of RDMA; empty: the nearest
  uint32_t port = 0;      ///< of the device; 0: the first active one
  std::string gid_index = "auto";
  bool relaxed_ordering = false;
  uint32_t traffic_class = 0;
  uint32_t dci_count = 16;
  std::string job_secret_file{};
  uint64_t rendezvous_timeout_ns = 30 * kNanosPerSecond;
  uint64_t receive_memory_bytes = uint64_t{64} << 20;
  copyrpc::FlushPolicy flush{};
  std::string flush_text = "clocked";
  uint64_t peer_timeout_ns = 800 * kNanosPerMilli;
  std::string pin = "auto";
  HugePages huge_pages = HugePages::attempt;
  Wait wait = Wait::adaptive;
  bool lock_memory = false;
  bool stations = false;  ///< stamp sampled requests to and from other ranks
};

/// Registers every option of copykvd.
void add_settings(Settings& settings, DaemonOptions& options);

/// Takes rank and ranks from the launcher (mpirun, srun) where the command line names neither.
[[nodiscard]] Outcome<void> follow_launcher(const Settings& settings, DaemonOptions& options);

/// Whether the options make sense together; the error line names the remedy.
[[nodiscard]] Outcome<void> check_options(DaemonOptions& options);

/// Whether this machine can keep them: memory, open files, locked memory. Raises the soft limit of
/// open files as far as it may.
[[nodiscard]] Outcome<void> check_machine(const DaemonOptions& options);

}  // namespace copykv
