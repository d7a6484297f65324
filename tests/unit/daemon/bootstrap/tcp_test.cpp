// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>

#include <catch2/catch.hpp>

#include "base/fd.hpp"
#include "daemon/bootstrap/tcp_socket.hpp"
#include "tests/unit/daemon/bootstrap/ranks.hpp"

namespace copykv::test {
namespace {

using Catch::Matchers::Contains;

std::string url_at(uint16_t port) {
  return fmt::format("tcp://127.0.0.1:{}", port);
}

/// How long strangers have rank 0 for themselves before anybody else comes.
constexpr useconds_t kSiegeUs = 300'000;

/// What a rank says that alone does something wrong, beside a right rank 0 whose log is `log`.
std::string wrong_rank(const BootstrapOptions& options, std::string* log) {
  const StderrCapture capture;
  auto all = job_at(options.url, 3, 500);
  Rank zero{all[0]};
  std::thread other([&] { zero.join("card"); });
  Rank wrong{options};
  wrong.join("card");
  other.join();
  if (log != nullptr) *log = capture.text();
  CHECK_THAT(zero.error, Contains("missing"));
  return wrong.error;
}

TEST_CASE("tcp: every rank gets the cards of all, by rank") {
  for (const uint32_t ranks : {1U, 2U, 8U}) {
    for (const Rank& rank : join_all(job_at(url_at(free_port()), ranks))) {
      INFO(rank.error);
      CHECK(rank.cards == cards_of(ranks));
    }
  }
}

TEST_CASE("tcp: whoever is through may end at once") {
  for (int round = 0; round < 20; ++round) {
    for (const Rank& rank : join_all(job_at(url_at(free_port()), 4), Then::end)) {
      INFO(rank.error);
      CHECK(rank.cards == cards_of(4));
    }
  }
}

TEST_CASE("tcp: by name, and over IPv6") {
  for (const char* host : {"localhost", "[::1]"}) {
    const auto all = job_at(fmt::format("tcp://{}:{}", host, free_port()), 3);
    for (const Rank& rank : join_all(all)) {
      INFO(rank.error);
      CHECK(rank.cards == cards_of(3));
    }
  }
}

TEST_CASE("tcp: long and empty cards come whole") {
  const auto all = job_at(url_at(free_port()), 3);
  Rank ranks[] = {{all[0]}, {all[1]}, {all[2]}};
  const std::string long_card(kCardBytesMax, '\xff');
  std::thread one([&] { ranks[1].join(long_card); });
  std::thread two([&] { ranks[2].join(long_card); });
  ranks[0].join({});
  one.join();
  two.join();
  for (const Rank& rank : ranks) {
    INFO(rank.error);
    CHECK(rank.cards == std::vector<std::string>{"", long_card, long_card});
  }
}

TEST_CASE("tcp: rank 0 may come last") {
  const auto all = job_at(url_at(free_port()), 2);
  Rank one{all[1]};
  std::thread other([&] { one.join(card_of(1)); });
  ::usleep(300'000);
  Rank zero{all[0]};
  zero.join(card_of(0));
  other.join();
  CHECK(one.cards == cards_of(2));
  CHECK(zero.cards == cards_of(2));
}

/// A process that keeps `count` connections to the port open, sends each a piece of something that
/// is no message, and opens new ones in place of those that end. Ends with the object.
class Strangers {
 public:
  Strangers(uint16_t port, uint32_t count) : pid_(::fork()) {
    if (pid_ == 0) besiege(port, count);
  }
  ~Strangers() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Strangers(const Strangers&) = delete;

 private:
  [[noreturn]] static void besiege(uint16_t port, uint32_t count) {
    const auto address = bootstrap::resolve({bootstrap::Scheme::tcp, {}, "127.0.0.1", port});
    std::vector<Fd> sockets(count);
    const char* const words[] = {"", "CKVB\1\0\1\0", "GET / HTTP/1.1\r\n\r\n", "CK",
                                 "\xff\xff\xff\xff"};
    for (uint32_t turn = 0;; ++turn) {
      Fd& socket = sockets[turn % count];
      char byte;
      if (!socket || ::recv(socket.get(), &byte, 1, MSG_DONTWAIT) >= 0) {
        socket = bootstrap::start_connect((*address)[0]);
        if (!socket) ::usleep(1'000);
      }
      const char* const word = words[turn % std::size(words)];
      (void)::send(socket.get(), word, std::char_traits<char>::length(word), MSG_NOSIGNAL);
      if (turn % 16 == 0) ::usleep(1'000);  // bounded: 16,000 attempts a second
    }
  }

  pid_t pid_;
};

TEST_CASE("tcp: strangers do not stop the exchange, nor what comes after it") {
  const StderrCapture log;
  const uint16_t port = free_port();
  const Strangers strangers(port, 600);
  const auto all = job_at(url_at(port), 3, 8'000);
  Rank ranks[] = {{all[0]}, {all[1]}, {all[2]}};
  std::thread waits([&] { ranks[0].join(card_of(0)); });
  ::usleep(kSiegeUs);
  std::thread comes([&] { ranks[1].join(card_of(1)); });
  ranks[2].join(card_of(2));
  waits.join();
  comes.join();
  for (const Rank& rank : ranks) {
    INFO(rank.error);
    REQUIRE(rank.cards == cards_of(3));
  }
  Servant zero(*ranks[0].bootstrap);
  Servant one(*ranks[1].bootstrap);
  ranks[2].bootstrap.reset();
  Rank again{all[2]};
  again.join(card_of(2, 1));
  CHECK(again.error.empty());
  CHECK(zero.changes(1).size() == 1);
  CHECK(one.changes(1).size() == 1);
  const std::string said = log.text();
  CHECK_THAT(said, Contains("no message of copykv"));  // they were there
  CHECK(std::count(said.begin(), said.end(), '\n') < 50);
}

TEST_CASE("tcp: strangers do not stop a rank 0 that has no descriptors left") {
  const StderrCapture log;
  const uint16_t port = free_port();
  const Strangers strangers(port, 100);
  const auto all = job_at(url_at(port), 2, 8'000);
  const pid_t other = ::fork();
  if (other == 0) {
    ::usleep(kSiegeUs);
    Rank one{all[1]};
    one.join(card_of(1));
    ::_exit(one.cards == cards_of(2) ? 0 : 1);
  }
  const Fd probe(::dup(STDIN_FILENO));
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit few{static_cast<rlim_t>(probe.get()) + 24, limit.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  Rank zero{all[0]};
  zero.join(card_of(0));
  int status = -1;
  ::waitpid(other, &status, 0);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  INFO(zero.error);
  CHECK(zero.cards == cards_of(2));
  CHECK(status == 0);
  CHECK_THAT(log.text(), Contains("no message of copykv"));
}

TEST_CASE("tcp: a rank that starts again is a change for the others") {
  const auto all = job_at(url_at(free_port()), 3);
  auto joined = join_all(all);
  Servant zero(*joined[0].bootstrap);
  Servant one(*joined[1].bootstrap);
  joined[2].bootstrap.reset();
  Rank again{all[2]};
  again.join(card_of(2, 1));
  CHECK(again.cards == std::vector<std::string>{card_of(0), card_of(1), card_of(2, 1)});
  for (Servant* rank : {&zero, &one}) {
    const auto changes = rank->changes(1);
    REQUIRE(changes.size() == 1);
    CHECK(changes[0].rank == 2);
    CHECK(changes[0].card == card_of(2, 1));
  }
}

TEST_CASE("tcp: rank 0 starts again and gathers the others, also those that have changed") {
  const auto all = job_at(url_at(free_port()), 3);
  auto joined = join_all(all);
  Servant one(*joined[1].bootstrap);
  joined[0].bootstrap.reset();
  joined[2].bootstrap.reset();
  Rank zero_again{all[0]};
  Rank two_again{all[2]};
  std::thread other([&] { two_again.join(card_of(2, 1)); });
  zero_again.join(card_of(0, 1));
  other.join();
  const std::vector<std::string> expected = {card_of(0, 1), card_of(1), card_of(2, 1)};
  INFO(zero_again.error << two_again.error);
  CHECK(zero_again.cards == expected);
  CHECK(two_again.cards == expected);
  auto changes = one.changes(2);
  REQUIRE(changes.size() == 2);
  std::sort(changes.begin(), changes.end(),
            [](const auto& a, const auto& b) { return a.rank < b.rank; });
  CHECK(changes[0].card == card_of(0, 1));
  CHECK(changes[1].card == card_of(2, 1));
}

TEST_CASE("tcp: the second of two living ranks with one number is turned away") {
  const auto all = job_at(url_at(free_port()), 3);
  auto joined = join_all(all);
  Servant zero(*joined[0].bootstrap);
  Servant one(*joined[1].bootstrap);
  Servant two(*joined[2].bootstrap);
  const StderrCapture log;
  Rank second{all[1]};
  second.join("of an impostor");
  CHECK_THAT(second.error, Contains("rank 1 of job 'job' is another living process as well"));
  CHECK_THAT(second.error, Contains("--rank of its own"));
  CHECK_THAT(log.text(), Contains("has the number of another living process"));
  CHECK(zero.changes(1, 200).empty());
  CHECK(two.changes(1, 0).empty());
}

TEST_CASE("tcp: a number goes over to a new process when the old one does not answer") {
  const auto all = job_at(url_at(free_port()), 2);
  auto joined = join_all(all);
  Servant zero(*joined[0].bootstrap);
  const StderrCapture log;
  Rank again{all[1]};  // nobody serves joined[1]: it stands still
  again.join(card_of(1, 1));
  INFO(again.error);
  CHECK(again.cards == std::vector<std::string>{card_of(0), card_of(1, 1)});
  const auto changes = zero.changes(1);
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].card == card_of(1, 1));
  // It wakes up, learns of it, and does not fight for the number.
  Servant one(*joined[1].bootstrap);
  CHECK(one.changes(1, 300).empty());
  CHECK(zero.changes(1, 300).empty());
  CHECK_THAT(log.text(), Contains("which came while this one did not answer"));
  CHECK(joined[1].bootstrap->is_superseded());
  CHECK_FALSE(again.bootstrap->is_superseded());
}

TEST_CASE("tcp: a second rank 0 cannot listen") {
  const auto all = job_at(url_at(free_port()), 1);
  auto joined = join_all(all);
  Rank second{all[0]};
  second.join("card");
  CHECK_THAT(second.error, Contains("another program listens there already"));
  CHECK_THAT(second.error, Contains("a port of its own"));
}

TEST_CASE("tcp: a rank without the job secret gets nothing") {
  auto wrong = job_at(url_at(free_port()), 3, 2'000)[1];
  wrong.secret = "not the same secret";
  std::string log;
  CHECK_THAT(wrong_rank(wrong, &log), Contains("has another job secret than this rank") &&
                                          Contains("COPYKV_JOB_SECRET or --job-secret-file"));
  CHECK_THAT(log, Contains("rank 1 at 127.0.0.1:") && Contains("has another job secret"));
  CHECK_THAT(log, !Contains("0123456789abcdef") && !Contains("not the same"));
}

TEST_CASE("tcp: another number of ranks, another job") {
  auto wrong = job_at(url_at(free_port()), 5, 2'000)[4];
  std::string log;
  SECTION("ranks") {
    CHECK_THAT(wrong_rank(wrong, &log),
               Contains("rank 0 was started with --ranks 3, this one with --ranks 5"));
    CHECK_THAT(log, Contains("rank 4 at 127.0.0.1:") && Contains("was started with --ranks 5"));
  }
  SECTION("job") {
    wrong.job = "other";
    CHECK_THAT(wrong_rank(wrong, &log),
               Contains("serves another job than 'other'; give all ranks the same --job"));
    CHECK_THAT(log, Contains("belongs to job 'other', this is job 'job'"));
  }
}

TEST_CASE("tcp: all who wait learn who is missing") {
  auto all = job_at(url_at(free_port()), 5, 20'000);
  all[0].deadline_ms = 400;
  all.pop_back();
  all.erase(all.begin() + 2);
  for (const Rank& rank : join_all(all)) {
    CHECK_THAT(rank.error, Contains("ranks 2 and 4 of 5 are missing at"));
    CHECK_THAT(rank.error, Contains("start every rank with the same --job"));
  }
}

TEST_CASE("tcp: a rank whose time is over first knows who is missing as well") {
  auto all = job_at(url_at(free_port()), 4, 900);
  all[1].deadline_ms = 400;
  all.pop_back();
  const auto joined = join_all(all);
  CHECK_THAT(joined[1].error, Contains("rank 3 of 4 is missing") && Contains("after 400ms"));
  CHECK_THAT(joined[2].error, Contains("ranks 1 and 3 of 4 are missing"));
}

TEST_CASE("tcp: a connection to itself is none") {
  // What a search for a listener may come to: both ends are the same socket.
  const uint16_t port = free_port();
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* const self = reinterpret_cast<sockaddr*>(&address);
  REQUIRE(::bind(socket.get(), self, sizeof(address)) == 0);
  CHECK_FALSE(bootstrap::is_own_end(socket.get()));
  REQUIRE(::connect(socket.get(), self, sizeof(address)) == 0);
  CHECK(bootstrap::is_own_end(socket.get()));
}

TEST_CASE("tcp: a rendezvous that cannot be reached") {
  const auto fails = [](const std::string& url) {
    Rank one{job_at(url, 2, 300)[1]};
    one.join("card");
    return one.error;
  };
  CHECK_THAT(fails(url_at(free_port())), Contains("cannot reach rank 0") &&
                                             Contains("Connection refused") &&
                                             Contains("start rank 0 there"));
  CHECK_THAT(fails("tcp://no-such-host.invalid:7"), Contains("no such host as"));
  Rank zero{job_at("tcp://192.0.2.1:7", 2, 300)[0]};
  zero.join("card");
  CHECK_THAT(zero.error, Contains("this machine has no such address"));
}

}  // namespace
}  // namespace copykv::test
