// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include <catch2/catch.hpp>

#include "daemon/bootstrap/card_file.hpp"
#include "tests/unit/daemon/bootstrap/ranks.hpp"

namespace copykv::test {
namespace {

using Catch::Matchers::Contains;

std::string url_of(const TemporaryDir& dir) {
  return "file://" + dir.path();
}

std::string file_of(const TemporaryDir& dir, uint32_t rank) {
  return fmt::format("{}/copykv-job-rank{}", dir.path(), rank);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// A card as another run may have left it.
bootstrap::CardFile stale_card(uint32_t rank, uint32_t ranks) {
  bootstrap::CardFile file;
  file.head = {7 + rank, 3, bootstrap::CardPhase::present};
  file.rank = rank;
  file.ranks = ranks;
  file.job = "job";
  file.card = "stale";
  file.heard.assign(rank == 0 ? ranks : 1, 7);
  return file;
}

TEST_CASE("file: every rank gets the cards of all, by rank") {
  const TemporaryDir dir;
  for (const uint32_t ranks : {1U, 2U, 5U}) {
    const auto joined = join_all(job_at(url_of(dir), ranks));
    for (const Rank& rank : joined) {
      INFO(rank.error);
      CHECK(rank.cards == cards_of(ranks));
    }
  }
}

TEST_CASE("file: whoever is through may end at once") {
  const TemporaryDir dir;
  for (int round = 0; round < 20; ++round) {
    for (const Rank& rank : join_all(job_at(url_of(dir), 3), Then::end)) {
      INFO(rank.error);
      CHECK(rank.cards == cards_of(3));
    }
  }
}

TEST_CASE("file: long and empty cards come whole") {
  const TemporaryDir dir;
  const auto all = job_at(url_of(dir), 2);
  Rank zero{all[0]};
  Rank one{all[1]};
  const std::string long_card(kCardBytesMax, '\xff');
  std::thread other([&] { one.join({}); });
  zero.join(long_card);
  other.join();
  CHECK(zero.cards == std::vector<std::string>{long_card, ""});
  CHECK(one.cards == std::vector<std::string>{long_card, ""});
}

TEST_CASE("file: what an earlier run left is not taken for this one") {
  const TemporaryDir dir;
  // Even cards that agree with each other: only an answer to this run counts.
  for (uint32_t rank = 0; rank < 3; ++rank) {
    write_file(file_of(dir, rank), encode_card_file(stale_card(rank, 3)));
  }
  SECTION("nobody else comes") {
    auto all = job_at(url_of(dir), 3, 100);
    Rank zero{all[0]};
    zero.join("card");
    CHECK_THAT(zero.error, Contains("ranks 1 and 2 of 3 are missing"));
    CHECK_THAT(zero.error, Contains("earlier run"));
    CHECK_THAT(zero.error, Contains("--rendezvous"));
  }
  SECTION("nobody but rank 0 is missed by the others") {
    auto all = job_at(url_of(dir), 3, 100);
    Rank one{all[1]};
    one.join("card");
    CHECK_THAT(one.error, Contains("rank 0 of 3 is missing"));
  }
  SECTION("all of them come") {
    for (const Rank& rank : join_all(job_at(url_of(dir), 3))) {
      INFO(rank.error);
      CHECK(rank.cards == cards_of(3));
    }
  }
}

TEST_CASE("file: a rank that starts again is a change for the others") {
  const TemporaryDir dir;
  const auto all = job_at(url_of(dir), 3);
  auto joined = join_all(all);
  Servant zero(*joined[0].bootstrap);
  Servant one(*joined[1].bootstrap);
  const bool by_kill = GENERATE(false, true);
  const std::string before = read_file(file_of(dir, 2));
  joined[2].bootstrap.reset();
  if (by_kill) write_file(file_of(dir, 2), before);  // a killed rank does not say that it leaves
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

TEST_CASE("file: rank 0 starts again and gathers the others") {
  const TemporaryDir dir;
  const auto all = job_at(url_of(dir), 3);
  auto joined = join_all(all);
  Servant one(*joined[1].bootstrap);
  Servant two(*joined[2].bootstrap);
  joined[0].bootstrap.reset();
  Rank again{all[0]};
  again.join(card_of(0, 1));
  CHECK(again.cards == std::vector<std::string>{card_of(0, 1), card_of(1), card_of(2)});
  for (Servant* rank : {&one, &two}) {
    const auto changes = rank->changes(1);
    REQUIRE(changes.size() == 1);
    CHECK(changes[0].rank == 0);
    CHECK(changes[0].card == card_of(0, 1));
  }
}

TEST_CASE("file: the second of two living ranks with one number is turned away") {
  const TemporaryDir dir;
  const auto all = job_at(url_of(dir), 3);
  auto joined = join_all(all);
  Servant zero(*joined[0].bootstrap);
  Servant one(*joined[1].bootstrap);
  Servant two(*joined[2].bootstrap);
  const uint32_t number = GENERATE(0U, 1U);
  const StderrCapture log;
  Rank second{all[number]};
  second.join("of an impostor");
  CHECK_THAT(second.error,
             Contains(fmt::format("rank {} of job 'job' is another living process", number)));
  CHECK_THAT(second.error, Contains("--rank of its own"));
  CHECK_THAT(log.text(), Contains("another process wants to be rank"));
  // ... and nobody was disturbed.
  CHECK(zero.changes(1, 300).empty());
  CHECK(one.changes(1, 0).empty());
  CHECK(two.changes(1, 0).empty());
}

TEST_CASE("file: a number goes over to a new process when the old one does not answer") {
  const TemporaryDir dir;
  const auto all = job_at(url_of(dir), 2);
  auto joined = join_all(all);
  Servant zero(*joined[0].bootstrap);
  const StderrCapture log;
  Rank again{all[1]};  // nobody serves joined[1]: it stands still
  again.join(card_of(1, 1));
  INFO(again.error);
  CHECK(again.cards == std::vector<std::string>{card_of(0), card_of(1, 1)});
  CHECK(zero.changes(1).size() == 1);
  // It wakes up, learns of it, and does not fight for the number.
  CHECK(joined[1].bootstrap->changes().empty());
  CHECK(joined[1].bootstrap->is_superseded());
  joined[1].bootstrap.reset();
  CHECK_THAT(log.text(), Contains("rank 1 of job 'job' is another living process"));
  CHECK(zero.changes(1, 300).empty());
}

TEST_CASE("file: a card of another user is refused") {
  if (::geteuid() != 0) {
    WARN("only root can make a file of another user");
    return;
  }
  const TemporaryDir dir;
  write_file(file_of(dir, 1), encode_card_file(stale_card(1, 2)));
  REQUIRE(::chown(file_of(dir, 1).c_str(), 12345, 12345) == 0);
  Rank zero{job_at(url_of(dir), 2, 100)[0]};
  zero.join("card");
  CHECK_THAT(zero.error, Contains("belongs to user 12345, our files there to user 0"));
}

TEST_CASE("file: a directory that others may change is refused, and nothing is left in it") {
  const TemporaryDir dir;
  const auto refusal = [&] {
    Rank zero{job_at(url_of(dir), 1)[0]};
    zero.join("card");
    return zero.error;
  };
  for (const mode_t mode : {0720U, 0702U, 0777U}) {
    REQUIRE(::chmod(dir.path().c_str(), mode) == 0);
    CHECK_THAT(refusal(),
               Contains("can be changed by other users") && Contains("chmod 700 " + dir.path()));
    CHECK(std::filesystem::is_empty(dir.path()));
  }
  // As in /tmp: others may add files, but not touch ours.
  REQUIRE(::chmod(dir.path().c_str(), 01777) == 0);
  CHECK(refusal().empty());
  REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
  CHECK(refusal().empty());
  struct stat card {};
  REQUIRE(::stat(file_of(dir, 0).c_str(), &card) == 0);
  CHECK((card.st_mode & 07777) == 0600);
  if (::geteuid() != 0) return;  // cannot give it away
  REQUIRE(::chown(dir.path().c_str(), 12345, 12345) == 0);
  CHECK_THAT(refusal(), Contains("(user 12345, mode 0755)"));
}

TEST_CASE("file: two ranks with one number do not both get through at the start") {
  const TemporaryDir dir;
  auto all = job_at(url_of(dir), 2, 1'000);
  all.push_back(all[1]);
  const StderrCapture log;
  const auto joined = join_all(all);
  CHECK_THAT(joined[1].error + joined[2].error, Contains("another living process"));
}

TEST_CASE("file: another number of ranks is told from both sides") {
  const TemporaryDir dir;
  auto all = job_at(url_of(dir), 2, 500);
  all[1].ranks = 3;
  const StderrCapture log;
  const auto joined = join_all(all);
  CHECK_THAT(joined[1].error,
             Contains("rank 0 was started with --ranks 2, this one with --ranks 3"));
  CHECK_THAT(joined[0].error, Contains("rank 1 of 2 is missing"));
  CHECK_THAT(joined[0].error, Contains("--ranks 3"));
  CHECK_THAT(log.text(), Contains("rank 1 was started with --ranks 3"));
}

TEST_CASE("file: all who wait learn who is missing") {
  const TemporaryDir dir;
  auto all = job_at(url_of(dir), 5, 20'000);
  all[0].deadline_ms = 500;
  all.pop_back();
  all.erase(all.begin() + 2);
  for (const Rank& rank : join_all(all)) {
    CHECK_THAT(rank.error, Contains("ranks 2 and 4 of 5 are missing at --rendezvous file:///"));
    CHECK_THAT(rank.error, Contains("after 500ms"));
  }
}

TEST_CASE("file: a directory that cannot be used is named") {
  auto all = job_at("file:///nowhere/at/all", 2);
  Rank zero{all[0]};
  zero.join("card");
  CHECK_THAT(zero.error, Contains("cannot open the directory"));
  CHECK_THAT(zero.error, Contains("/nowhere/at/all: No such file"));
}

TEST_CASE("file: damaged, foreign and newer cards are told apart") {
  const TemporaryDir dir;
  auto all = job_at(url_of(dir), 2, 100);
  std::string bytes = encode_card_file(stale_card(1, 2));
  std::string expected;
  SECTION("damaged") {
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    expected = "is damaged";
  }
  SECTION("cut off") {
    bytes.resize(bytes.size() - 1);
    expected = "is damaged";
  }
  SECTION("no card") {
    bytes = "hello, world; this is a file of somebody else's";
    expected = "is no card of a rank";
  }
  SECTION("another version") {
    bytes[8] = 9;
    expected = "is a card of format 9, this copykvd reads format 1";
  }
  SECTION("another job") {
    auto card = stale_card(1, 2);
    card.job = "other";
    bytes = encode_card_file(card);
    expected = "is the card of rank 1 of job 'other'";
  }
  write_file(file_of(dir, 1), bytes);
  Rank zero{all[0]};
  zero.join("card");
  CHECK_THAT(zero.error, Contains("rank 1 of 2 is missing"));
  CHECK_THAT(zero.error, Contains(expected));
}

TEST_CASE("file: cards survive the way to disk and back") {
  const auto before = stale_card(0, 3);
  const auto after = bootstrap::decode_card_file(encode_card_file(before));
  REQUIRE(after);
  CHECK(after->head == before.head);
  CHECK(after->card == before.card);
  CHECK(after->heard == before.heard);
  CHECK(after->job == before.job);
}

}  // namespace
}  // namespace copykv::test
