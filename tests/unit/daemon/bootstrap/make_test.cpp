// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include <catch2/catch.hpp>

#include "daemon/bootstrap/job_secret.hpp"
#include "daemon/bootstrap/rank_list.hpp"
#include "daemon/bootstrap/rendezvous_url.hpp"
#include "daemon/bootstrap/tcp_socket.hpp"
#include "tests/unit/daemon/bootstrap/ranks.hpp"

namespace copykv::test {
namespace {

using bootstrap::parse_rendezvous;
using bootstrap::Scheme;
using Catch::Matchers::Contains;

std::string refusal_of(const BootstrapOptions& options) {
  return Bootstrap::make(options).error;
}

TEST_CASE("rendezvous: what can be said") {
  CHECK(parse_rendezvous("")->scheme == Scheme::none);
  CHECK(parse_rendezvous("none")->scheme == Scheme::none);
  CHECK(parse_rendezvous("pmix")->scheme == Scheme::pmix);
  CHECK(parse_rendezvous("file:///a/b c")->dir == "/a/b c");
  const auto v4 = parse_rendezvous("tcp://node-1.example:65535");
  REQUIRE(v4);
  CHECK(v4->host == "node-1.example");
  CHECK(v4->port == 65535);
  CHECK(v4->where() == "node-1.example:65535");
  const auto v6 = parse_rendezvous("tcp://[fe80::1%eth0]:7");
  REQUIRE(v6);
  CHECK(v6->host == "fe80::1%eth0");
  CHECK(v6->where() == "[fe80::1%eth0]:7");
}

TEST_CASE("rendezvous: what cannot") {
  for (const char* text :
       {"tcp://host", "tcp://host:", "tcp://:7", "tcp://host:0", "tcp://host:65536", "tcp://host:x",
        "tcp://::1:7", "tcp://a/b:7", "tcp://[]:7", "file://dir", "http://host:7", "host:7",
        "TCP://host:7", "tcp://user@host:7"}) {
    const auto url = parse_rendezvous(text);
    CAPTURE(text);
    CHECK_FALSE(url);
    CHECK_THAT(url.error, Contains("use tcp://host:port, file:///dir, pmix or none"));
  }
}

TEST_CASE("rendezvous: loopback is told by its name or address alone") {
  for (const char* host : {"localhost", "127.0.0.1", "127.8.9.1", "[::1]"}) {
    CHECK(parse_rendezvous(fmt::format("tcp://{}:7", host))->is_loopback());
  }
  for (const char* host : {"node", "128.0.0.1", "[::2]", "localhost.example", "0.0.0.0"}) {
    CHECK_FALSE(parse_rendezvous(fmt::format("tcp://{}:7", host))->is_loopback());
  }
}

TEST_CASE("bootstrap: one rank has nobody to meet, more need a place") {
  auto alone = job_at("none", 1)[0];
  auto made = Bootstrap::make(alone);
  REQUIRE(made);
  CHECK(*(*made)->exchange("card") == std::vector<std::string>{"card"});
  CHECK((*made)->changes().empty());
  CHECK((*made)->wait_fd() == -1);
  alone.ranks = 2;
  CHECK_THAT(refusal_of(alone), Contains("--ranks 2 without --rendezvous"));
  alone.rank = 2;
  CHECK_THAT(refusal_of(alone), Contains("--rank 2 with --ranks 2"));
  alone = job_at("none", 1)[0];
  alone.job = "../x";
  CHECK_THAT(refusal_of(alone), Contains("job name '../x' is not usable"));
}

TEST_CASE("bootstrap: tcp needs a secret") {
  auto options = job_at("tcp://node:7", 2)[0];
  options.secret.clear();
  CHECK_THAT(refusal_of(options), Contains("COPYKV_JOB_SECRET or --job-secret-file"));
}

TEST_CASE("ranks are listed as people read them") {
  using bootstrap::ranks_are;
  using bootstrap::spell_ranks;
  CHECK(spell_ranks({3}) == "3");
  CHECK(spell_ranks({3, 4}) == "3 and 4");
  CHECK(spell_ranks({1, 4, 5, 6, 9}) == "1, 4..6 and 9");
  std::vector<uint32_t> odd;
  for (uint32_t rank = 1; rank < 100; rank += 2) odd.push_back(rank);
  CHECK_THAT(spell_ranks(odd), Catch::Matchers::EndsWith("31 and 34 more"));
  CHECK(ranks_are({3}, 8) == "rank 3 of 8 is");
  CHECK(ranks_are({1, 2}, 8) == "ranks 1 and 2 of 8 are");
}

TEST_CASE("bootstrap: a rank that waits can be stopped") {
  const TemporaryDir dir;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  for (const std::string& url :
       {fmt::format("tcp://127.0.0.1:{}", free_port()), "file://" + dir.path()}) {
    for (const uint32_t number : {0U, 1U}) {
      Rank rank{job_at(url, 2, 20'000)[number]};
      rank.options.stop_fd = ends[0];
      std::thread waits([&] { rank.join("card"); });
      ::usleep(30'000);
      REQUIRE(::write(ends[1], "!", 1) == 1);
      waits.join();
      char byte;
      REQUIRE(::read(ends[0], &byte, 1) == 1);
      CHECK_THAT(rank.error, Contains(fmt::format("rank {} was stopped before all", number)));
    }
  }
  ::close(ends[0]);
  ::close(ends[1]);
}

class SecretEnvironment {
 public:
  explicit SecretEnvironment(const char* value) {
    value == nullptr ? ::unsetenv("COPYKV_JOB_SECRET") : ::setenv("COPYKV_JOB_SECRET", value, 1);
  }
  ~SecretEnvironment() { ::unsetenv("COPYKV_JOB_SECRET"); }
};

TEST_CASE("job secret: file, then environment, then made on loopback") {
  const TemporaryDir dir;
  const std::string file = dir.path() + "/given";
  std::ofstream(file) << "the secret in a file\n";
  ::chmod(file.c_str(), 0600);
  const JobSecretSource local{"tcp://localhost:7", {}, dir.path() + "/run", "job"};
  {
    const SecretEnvironment environment("the secret of the environment");
    CHECK(*find_job_secret(local) == "the secret of the environment");
    auto by_file = local;
    by_file.file = file;
    CHECK(*find_job_secret(by_file) == "the secret in a file");
    CHECK(find_job_secret({"file:///x", {}, dir.path(), "job"})->empty());
  }
  const SecretEnvironment none(nullptr);
  const auto made = find_job_secret(local);
  REQUIRE(made);
  CHECK(made->size() == 64);
  CHECK(*find_job_secret(local) == *made);
  struct stat entry {};
  REQUIRE(::stat((dir.path() + "/run/job/secret").c_str(), &entry) == 0);
  CHECK((entry.st_mode & 07777) == 0600);
  auto other_job = local;
  other_job.job = "other";
  CHECK(*find_job_secret(other_job) != *made);
  const auto remote = find_job_secret({"tcp://node:7", {}, dir.path(), "job"});
  CHECK_FALSE(remote);
  CHECK_THAT(remote.error, Contains("set COPYKV_JOB_SECRET or --job-secret-file") &&
                               Contains("openssl rand -hex 32"));
}

TEST_CASE("job secret: all ranks that come at one time agree on one") {
  const TemporaryDir dir;
  const SecretEnvironment none(nullptr);
  std::vector<std::string> secrets(8);
  std::vector<std::thread> threads;
  threads.reserve(secrets.size());
  for (std::string& secret : secrets) {
    threads.emplace_back([&] {
      const auto found = find_job_secret({"tcp://[::1]:7", {}, dir.path() + "/run", "job"});
      secret = found ? *found : found.error;
    });
  }
  for (auto& thread : threads) thread.join();
  for (const std::string& secret : secrets) CHECK(secret == secrets[0]);
  CHECK(secrets[0].size() == 64);
}

TEST_CASE("rendezvous: the own address on the way there") {
  const auto towards = [](const char* url) {
    return bootstrap::own_address_towards(*parse_rendezvous(url));
  };
  CHECK(towards("tcp://127.0.0.1:7") == "127.0.0.1");
  CHECK(towards("tcp://127.7.7.7:7").rfind("127.", 0) == 0);
  CHECK(towards("tcp://no-such-host.invalid:7").empty());
  // This machine by its name: never a loopback address, which other machines have as well.
  char name[256] = {};
  REQUIRE(::gethostname(name, sizeof(name) - 1) == 0);
  const std::string own = towards(fmt::format("tcp://{}:7", name).c_str());
  CHECK((own.rfind("127.", 0) != 0 && own != "::1"));
}

TEST_CASE("job secret: what is refused, without telling it") {
  const TemporaryDir dir;
  const std::string file = dir.path() + "/given";
  const JobSecretSource source{"tcp://node:7", file, dir.path(), "job"};
  CHECK_THAT(find_job_secret(source).error, Contains("cannot read the job secret in"));
  std::ofstream(file) << "a secret for everybody";
  ::chmod(file.c_str(), 0640);
  const auto open = find_job_secret(source);
  CHECK_THAT(open.error, Contains("run: chmod 600 " + file) && !Contains("everybody"));
  ::chmod(file.c_str(), 0600);
  CHECK(find_job_secret(source));
  std::ofstream(file) << "too-short";
  CHECK_THAT(find_job_secret(source).error,
             Contains("has 9 bytes, 16 to 1024 are needed") && !Contains("too-short"));
  std::ofstream(file) << std::string(1025, 'x');
  CHECK_THAT(find_job_secret(source).error, Contains("has more than 1024 bytes"));
  const SecretEnvironment brief("brief");
  CHECK_THAT(find_job_secret({"tcp://node:7", {}, dir.path(), "job"}).error,
             Contains("in COPYKV_JOB_SECRET has 5 bytes"));
}

}  // namespace
}  // namespace copykv::test
