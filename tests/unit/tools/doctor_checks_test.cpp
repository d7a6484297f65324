// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/doctor_checks.hpp"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <catch2/catch.hpp>

#include "base/units.hpp"
#include "tools/copykv/rdma.hpp"

using namespace copykv;
using namespace copykv::tools;

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kUnlimited = UINT64_MAX;

class TemporaryDir {
 public:
  TemporaryDir() { REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  ~TemporaryDir() { fs::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

  void write(const std::string& name, const std::string& text) const {
    const fs::path path = fs::path(path_) / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }

 private:
  std::string path_ = "/tmp/copykv-doctor-XXXXXX";
};

// Every finding but a good one says what to do.
Verdict verdict_of(const Check& check) {
  CHECK_FALSE(check.name.empty());
  CHECK_FALSE(check.finding.empty());
  CHECK(check.remedy.empty() == (check.verdict == Verdict::ok));
  return check.verdict;
}

}  // namespace

TEST_CASE("RDMA ports, their limits, and what auto takes", "[doctor]") {
  copyrpc::VerbsPort port;
  port.device = "mlx5_0";
  port.port = 1;
  port.link = "RoCE";
  port.state = "active";
  port.near = true;
  port.queue_pairs_max = 131'072;
  port.queue_entries_max = 32'768;
  port.receive_entries_max = 32'767;
  port.completion_entries_max = 4'194'303;
  port.rc_inline_bytes = 220;
  port.dc_reason = "it is too old";
  const auto look = [&] {
    return check_rdma({std::vector{port}, {"rc", "auto: rc, since there is one"}});
  };
  CHECK(look().size() == 2);
  CHECK(verdict_of(look()[0]) == Verdict::ok);
  CHECK_THAT(look()[0].finding,
             Catch::Contains("mlx5_0 port 1: RoCE, active") &&
                 Catch::Contains("max_qp 131,072, max_qp_wr 32,768, max_srq_wr 32,767, max_cqe "
                                 "4,194,303; rc, 220 B inline; no dc: it is too old"));
  CHECK(look()[1].finding == "auto: rc, since there is one");
  port.rc_reason = "no room";
  CHECK(verdict_of(look()[0]) == Verdict::warn);
  port.reason = "its state is down";
  CHECK(verdict_of(look()[0]) == Verdict::warn);
  CHECK(look()[0].remedy == "its state is down");
}

TEST_CASE("no RDMA device: one line says so and why", "[doctor]") {
  const auto checks = check_rdma({Failure{"this machine has none: no driver"}, {"ofi-tcp", "why"}});
  REQUIRE(checks.size() == 2);
  CHECK(verdict_of(checks[0]) == Verdict::ok);
  CHECK(checks[0].finding == "this machine has none: no driver");
}

TEST_CASE("limits are judged at their edges", "[doctor]") {
  CHECK(verdict_of(check_cores(8, 2)) == Verdict::ok);
  CHECK(verdict_of(check_cores(8, 1)) == Verdict::warn);

  CHECK(verdict_of(check_locked_memory(kUnlimited)) == Verdict::ok);
  CHECK(verdict_of(check_locked_memory(8 << 20)) == Verdict::warn);

  CHECK(verdict_of(check_open_files(kUnlimited, kUnlimited)) == Verdict::ok);
  CHECK(verdict_of(check_open_files(4096, 4096)) == Verdict::ok);
  CHECK(verdict_of(check_open_files(1024, 524'288)) == Verdict::warn);
  CHECK_THAT(check_open_files(1024, 2048).remedy, Catch::Contains("ulimit -n 2048"));
  CHECK_THAT(check_open_files(1024, 1024).remedy, Catch::Contains("hard limit"));
  CHECK(verdict_of(check_open_files(255, 255)) == Verdict::fail);
}

TEST_CASE("huge pages: either kind will do", "[doctor]") {
  CHECK(verdict_of(check_huge_pages("always within_size [advise] never deny force\n", 0)) ==
        Verdict::ok);
  CHECK(verdict_of(check_huge_pages("always within_size advise [never] deny force\n", 0)) ==
        Verdict::warn);
  CHECK(verdict_of(check_huge_pages("always within_size advise [never] deny force\n", 4)) ==
        Verdict::ok);
  CHECK(verdict_of(check_huge_pages("", 0)) == Verdict::warn);
  CHECK(verdict_of(check_huge_pages("]broken[", 0)) == Verdict::warn);
}

TEST_CASE("memory is what machine and cgroup both leave", "[doctor]") {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  CHECK(verdict_of(check_memory(2 * kGiB, std::nullopt)) == Verdict::ok);
  CHECK(verdict_of(check_memory(2 * kGiB, kGiB)) == Verdict::ok);
  CHECK(verdict_of(check_memory(2 * kGiB, kGiB - 1)) == Verdict::warn);
  CHECK(verdict_of(check_memory(kGiB - 1, 2 * kGiB)) == Verdict::warn);
  CHECK(verdict_of(check_memory(2 * kGiB, 0)) == Verdict::fail);
}

TEST_CASE("the least of all cgroup limits counts", "[doctor]") {
  const TemporaryDir mount;
  const auto left = [&](const std::string& cgroups) {
    return cgroup_memory_left(cgroups, mount.path());
  };
  CHECK_FALSE(left(""));
  CHECK_FALSE(left("0::/\n"));

  SECTION("v2: itself and those above") {
    mount.write("a/memory.max", "1000\n");
    mount.write("a/memory.current", "400\n");
    mount.write("a/b/memory.max", "max\n");
    mount.write("a/b/memory.current", "100\n");
    CHECK(left("0::/a/b\n") == 600);
    CHECK(left("0::/a\n") == 600);
    CHECK_FALSE(left("0::/\n"));
    mount.write("a/b/memory.max", "300\n");
    CHECK(left("0::/a/b\n") == 200);
    mount.write("a/b/memory.current", "301\n");
    CHECK(left("0::/a/b\n") == 0);
  }
  SECTION("v1: the memory controller, whose path may be that of the host") {
    mount.write("memory/memory.limit_in_bytes", "5000\n");
    mount.write("memory/memory.usage_in_bytes", "1000\n");
    CHECK(left("4:memory:/docker/123\n0::/\n") == 4000);
    CHECK(left("9:cpu,memory:/\n") == 4000);
    CHECK_FALSE(left("4:cpu:/docker/123\n"));
    mount.write("memory/memory.limit_in_bytes", "9223372036854771712\n");
    CHECK_FALSE(left("4:memory:/docker/123\n"));
  }
}

TEST_CASE("the runtime directory is judged by owner and mode", "[doctor]") {
  const TemporaryDir runtime;
  CHECK(verdict_of(check_runtime_dir(runtime.path(), "job")) == Verdict::ok);  // not made yet
  CHECK(verdict_of(check_runtime_dir(runtime.path(), "no/job")) == Verdict::fail);
  const std::string job = runtime.path() + "/job";
  REQUIRE(::mkdir(job.c_str(), 0700) == 0);
  CHECK(verdict_of(check_runtime_dir(runtime.path(), "job")) == Verdict::ok);
  REQUIRE(::chmod(job.c_str(), 0755) == 0);
  const Check open = check_runtime_dir(runtime.path(), "job");
  CHECK(verdict_of(open) == Verdict::fail);
  CHECK_THAT(open.remedy, Catch::Contains("chmod 700"));
}

TEST_CASE("what the kernel offers is tried, not guessed", "[doctor]") {
  CHECK(verdict_of(check_memfd()) == Verdict::ok);
  (void)verdict_of(check_membarrier());  // either answer is one
  CHECK(verdict_of(check_dev_shm()) == Verdict::ok);
}
