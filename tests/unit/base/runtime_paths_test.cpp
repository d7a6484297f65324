// SPDX-License-Identifier: Apache-2.0
#include "base/runtime_paths.hpp"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include <catch2/catch.hpp>

namespace copykv {
namespace {

namespace fs = std::filesystem;

class TemporaryDir {
 public:
  TemporaryDir() {
    char name[] = "/tmp/copykv-test-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path_ = name;
  }
  ~TemporaryDir() { fs::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Sets a variable (nullptr: unset) for the life of the object.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* before = getenv(name)) before_ = before;
    value == nullptr ? unsetenv(name) : setenv(name, value, 1);
  }
  ~Environment() { before_.empty() ? unsetenv(name_) : setenv(name_, before_.c_str(), 1); }

 private:
  const char* name_;
  std::string before_{};
};

TEST_CASE("the runtime directory follows the order of precedence") {
  const Environment own("COPYKV_RUNTIME_DIR", "/run/mine");
  const Environment xdg("XDG_RUNTIME_DIR", "/run/user/7");
  CHECK(runtime_dir("/given") == "/given");
  CHECK(runtime_dir() == "/run/mine");
  const Environment no_own("COPYKV_RUNTIME_DIR", nullptr);
  CHECK(runtime_dir() == "/run/user/7/copykv");
  const Environment no_xdg("XDG_RUNTIME_DIR", nullptr);
  CHECK(runtime_dir() == fmt::format("/tmp/copykv-{}", geteuid()));
}

TEST_CASE("the job name follows the order of precedence") {
  const Environment none("COPYKV_JOB", nullptr);
  CHECK(job_name() == "default");
  const Environment set("COPYKV_JOB", "nightly");
  CHECK(job_name() == "nightly");
  CHECK(job_name("given") == "given");
}

TEST_CASE("job names cannot leave their directory") {
  CHECK(check_job_name("a.B-c_9"));
  CHECK(check_job_name(std::string(64, 'x')));
  for (const auto& bad : {std::string(), std::string("."), std::string(".."), std::string("a/b"),
                          std::string("a b"), std::string("a\0b", 3), std::string(65, 'x')}) {
    INFO(bad);
    CHECK_FALSE(check_job_name(bad));
    CHECK_FALSE(socket_path("/run", bad, 0));
  }
}

TEST_CASE("a socket path is as long as the kernel takes, or names the remedy") {
  CHECK(*socket_path("/run/copykv", "default", 12) == "/run/copykv/default/rank12.sock");
  const std::string tail = "/j/rank0.sock";
  const std::string dir(kSocketPathBytesMax - tail.size(), 'd');
  CHECK(socket_path(dir, "j", 0)->size() == kSocketPathBytesMax);
  const auto too_long = socket_path(dir + "d", "j", 0);
  REQUIRE_FALSE(too_long);
  CHECK(too_long.error.find("COPYKV_RUNTIME_DIR") != std::string::npos);
}

TEST_CASE("job directories are created closed, with their parents") {
  const TemporaryDir base;
  const std::string runtime = base.path() + "/deep/runtime";
  const auto made = make_job_dir(runtime, "job");
  REQUIRE(made);
  CHECK(*made == runtime + "/job");
  struct stat entry {};
  REQUIRE(stat(made->c_str(), &entry) == 0);
  CHECK((entry.st_mode & 07777) == 0700);
  REQUIRE(stat(runtime.c_str(), &entry) == 0);
  CHECK((entry.st_mode & 07777) == 0700);
  CHECK(make_job_dir(runtime, "job"));
  CHECK(check_job_dir(runtime, "job"));
  CHECK_FALSE(check_job_dir(runtime, "other"));
}

TEST_CASE("directories that others can enter, replace or own are refused") {
  const TemporaryDir base;
  REQUIRE(make_job_dir(base.path(), "job"));
  const std::string job = base.path() + "/job";
  SECTION("open to others") {
    fs::permissions(job, fs::perms{0750});
    CHECK(check_job_dir(base.path(), "job").error.find("chmod 700") != std::string::npos);
  }
  SECTION("a link") {
    fs::rename(job, base.path() + "/elsewhere");
    fs::create_directory_symlink(base.path() + "/elsewhere", job);
    CHECK_FALSE(check_job_dir(base.path(), "job"));
    CHECK_FALSE(make_job_dir(base.path(), "job"));
  }
  SECTION("a file") {
    fs::remove(job);
    REQUIRE(mknod(job.c_str(), S_IFREG | 0600, 0) == 0);
    CHECK_FALSE(make_job_dir(base.path(), "job"));
  }
  SECTION("a parent that anybody may change, unless it is sticky") {
    REQUIRE(chmod(base.path().c_str(), 0777) == 0);
    CHECK_FALSE(check_job_dir(base.path(), "job"));
    REQUIRE(chmod(base.path().c_str(), 01777) == 0);
    CHECK(check_job_dir(base.path(), "job"));
  }
  SECTION("somebody else's") {
    if (geteuid() != 0) return;  // only root can give a directory away
    REQUIRE(chown(job.c_str(), 12345, 12345) == 0);
    CHECK(check_job_dir(base.path(), "job").error.find("belongs to user 12345") !=
          std::string::npos);
    REQUIRE(chown(job.c_str(), 0, 0) == 0);
    REQUIRE(chown(base.path().c_str(), 12345, 12345) == 0);
    CHECK_FALSE(check_job_dir(base.path(), "job"));
  }
}

}  // namespace
}  // namespace copykv
