// SPDX-License-Identifier: Apache-2.0
// What `benchkv run` can be asked: each flag, its default and what it accepts (docs: benchkv
// --help). Presets replace defaults; a flag, the environment or a file still overrides them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include <copykv/client.hpp>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/settings.hpp"
#include "bench/arrival.hpp"
#include "bench/slo.hpp"
#include "bench/workload.hpp"

namespace copykv::bench {

enum ExitCode : int {
  kExitOk = 0,
  kExitRunFailed = 1,
  kExitUsage = 2,
  kExitWrongData = 3,
  kExitSloMissed = 99,
  kExitInterrupted = 130,  ///< SIGINT or SIGTERM; what was measured until then is reported
};

struct RunOptions {
  // Who takes part.
  uint32_t ranks = 1;
  uint32_t daemon_threads = 1;
  uint32_t client_threads = 1;
  bool client_processes = false;
  uint32_t queue_depth = 1;
  bool attach = false;
  std::string runtime_dir{};  ///< with attach, or of a rank that was launched
  std::string job{};          ///< with attach
  uint32_t rank = 0;          ///< that this process is, or attaches to
  std::string rendezvous{};   ///< of ranks that were launched
  bool launched = false;  ///< one process per rank by mpirun, srun or by hand; this is one of them
  uint32_t point = 0;     ///< of a sweep: each has daemons of its own
  std::string backend = "copykv";
  uint64_t memory_bytes = 0;  ///< 0: from the number and size of the keys and values
  std::string transport = "auto";
  std::string flush = "clocked";
  std::string sim_profile = "published-dc";  ///< --transport sim: what things cost
  uint32_t sim_send_queues = 0;              ///< ... of each daemon; 0: as the profile says
  uint64_t start_skew_ns = 0;                ///< ... each rank's clients start so much later
  uint64_t peer_timeout_ns = 3 * kNanosPerSecond;
  Wait wait = Wait::adaptive;

  // What is asked for.
  std::string preset{};
  uint64_t key_range = 1024;
  uint32_t key_bytes = 8;
  std::string value_bytes = "8";
  double read_ratio = 0.5;
  bool modify = false;
  std::string distribution = "uniform";
  std::string local_ratio = "by-key";
  Arrival arrival = Arrival::closed;
  double rate = 0;  ///< open loop: operations per second of all ranks
  uint64_t duration_ns = 10 * kNanosPerSecond;
  uint64_t warmup_ns = kNanosPerSecond;
  uint32_t runs = 1;
  uint64_t seed = 0;

  // What is checked and reported.
  bool verify = true;
  uint32_t stations =
      0;  ///< every so many-th request to another rank is stamped on its way; 0: none
  std::vector<std::string> slo_texts{};
  std::string json_path{};
  std::string hgrm_path{};
  std::string hdr_path{};
  bool histograms = false;
  bool quiet = false;

  // Made from the above.
  Workload workload{};
  std::vector<Slo> slos{};
  std::vector<Settings::Effective> effective{};

  /// Another rank directs and reports.
  [[nodiscard]] bool follows() const noexcept { return !attach && rank > 0; }
  /// The other ranks are this process' to start.
  [[nodiscard]] bool starts_others() const noexcept { return ranks > 1 && !launched && rank == 0; }
  /// How long answers may take to come after the end of a run, beyond what is usual.
  [[nodiscard]] uint64_t drain_ns() const noexcept {
    return arrival == Arrival::closed ? 0 : std::max(duration_ns, kNanosPerSecond);
  }
};

/// The options, or the code to exit with (help, --print-config, or an error that has been printed).
[[nodiscard]] std::variant<RunOptions, int> parse_run_options(int argc, const char* const* argv);

/// Replaces defaults by those of a preset. Fails on an unknown or unavailable name.
[[nodiscard]] Outcome<void> apply_preset(std::string_view name, RunOptions& options);

/// Which rank of how many this process is: from the launcher, unless flags say it.
[[nodiscard]] Outcome<void> find_place(const Settings& settings, RunOptions& options);

/// Checks what no single flag can know, and fills in workload and slos.
[[nodiscard]] Outcome<void> complete(RunOptions& options);

}  // namespace copykv::bench
