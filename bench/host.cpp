// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sched.h>
#include <sys/utsname.h>

#include <fstream>

#include "bench/commit.hpp"
#include "bench/run_control.hpp"

namespace copykv::bench {
namespace {

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

std::string compiler_name() {
#if defined(__clang__)
  return fmt::format("clang {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  return fmt::format("g++ {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
}

}  // namespace

Host describe_host() {
  Host host;
  host.cpu = cpu_name();
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    host.cores = static_cast<uint32_t>(CPU_COUNT(&allowed));
  }
  utsname system{};
  if (uname(&system) == 0) host.kernel = system.release;
  host.commit = kCommit;
  host.compiler = compiler_name();
  host.build_type = COPYKV_BUILD_TYPE;
  return host;
}

}  // namespace copykv::bench
