// SPDX-License-Identifier: Apache-2.0
// Files of histories, and what is checked beside the order of a key's operations.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <catch2/catch.hpp>

#include "base/fd.hpp"
#include "base/hash.hpp"
#include "sim/check/calls.hpp"
#include "sim/check/linearizability.hpp"
#include "tests/unit/sim/random_history.hpp"

namespace copykv::sim {
namespace {

[[nodiscard]] History some_history() {
  Random random(5);
  return execute({.operations = 200, .processes = 3, .keys = 4, .wipes = 1}, random);
}

void seal(std::string& bytes) {
  const uint64_t check = hash_key(std::string_view(bytes).substr(0, bytes.size() - 8));
  std::memcpy(bytes.data() + bytes.size() - 8, &check, 8);
}

[[nodiscard]] Operation write(uint64_t key, uint64_t begin_ns, uint64_t end_ns, uint64_t version) {
  return {.key = key,
          .begin_ns = begin_ns,
          .end_ns = end_ns,
          .version = version,
          .kind = Kind::put,
          .status = Status::ok};
}

}  // namespace

TEST_CASE("a history comes back from its file as it was") {
  const History history = some_history();
  std::string path = (std::filesystem::temp_directory_path() / "copykv-history-XXXXXX").string();
  const Fd made(::mkstemp(path.data()));
  REQUIRE(made.get() >= 0);
  REQUIRE(save(history, path));
  const auto loaded = load_history(path);
  REQUIRE(loaded);
  CHECK(loaded->operations() == history.operations());
  std::remove(path.c_str());
  CHECK(load_history(path).error.find("cannot be opened") != std::string::npos);
  CHECK(save(history, "/proc/nowhere/file").error.find("cannot be made") != std::string::npos);
  CHECK(history_of(to_bytes({}))->size() == 0);
}

TEST_CASE("bytes that are no history give an error that says so") {
  const std::string good = to_bytes(some_history());
  CHECK(history_of("").error.find("does not begin") != std::string::npos);
  CHECK(history_of("cpkvhist").error.find("version 0") != std::string::npos);
  CHECK(history_of(good.substr(0, 24)).error.find("cut off") != std::string::npos);
  CHECK(history_of(good.substr(0, good.size() - 1)).error.find("cut off") != std::string::npos);
  CHECK(history_of(good + "x").error.find("cut off or grown") != std::string::npos);
  std::string changed = good;
  changed[100] = static_cast<char>(changed[100] ^ 1);
  CHECK(history_of(changed).error == "the checksum is wrong");
  const auto error_with = [&](size_t at, char byte) {
    std::string bytes = good;
    bytes[at] = byte;
    seal(bytes);
    return history_of(bytes).error;
  };
  CHECK(error_with(8, 9).find("version 9") != std::string::npos);
  CHECK(error_with(12, 9).find("head is broken") != std::string::npos);
  CHECK(error_with(24 + 76, 8) == "operation 0: no such kind");
  CHECK(error_with(24 + 77, 99) == "operation 0: no such status");
  CHECK(error_with(24 + 78, 4) == "operation 0: no such condition");
  CHECK(error_with(24 + 79, 2) == "operation 0: `number` is neither 0 nor 1");
  CHECK(error_with(24 + 15, 127).find("ends before it begins") != std::string::npos);
}

TEST_CASE("any bytes are read to a history or an error, and any history is checked") {
  const std::string good = to_bytes(some_history());
  Random random(9);
  uint32_t read = 0;
  for (uint32_t round = 0; round < 3'000; ++round) {
    std::string bytes = good;
    for (uint64_t changes = 1 + random.below(4); changes > 0; --changes) {
      bytes[random.below(bytes.size())] = static_cast<char>(random.next());
    }
    if (random.chance(0.2)) bytes.resize(24 + 8 + 80 * random.below(4));
    if (random.chance(0.9)) seal(bytes);
    const auto history = history_of(bytes);
    REQUIRE((history || !history.error.empty()));
    if (!history) continue;
    ++read;
    (void)check_linearizability(*history, {.states_max = 10'000});
    (void)check_calls_end(*history);
    (void)check_versions(*history, [](uint64_t key) { return key; });
  }
  CHECK(read > 500);
}

TEST_CASE("a call that never ends is told, unless its process died") {
  History history;
  history.append(write(1, 1, 2, 1));
  const size_t at = history.begin({.key = 2, .begin_ns = 3, .process = 9, .kind = Kind::get});
  CHECK(check_calls_end(history).find("never ends: get by client 9") != std::string::npos);
  History dead = history;
  dead.death(9, 5);
  CHECK(check_calls_end(dead).empty());
  dead.begin({.key = 2, .begin_ns = 3, .process = 8, .kind = Kind::put});
  CHECK_FALSE(check_calls_end(dead).empty());
  history.end(at, {.status = Status::not_found, .end_ns = 4});
  CHECK(check_calls_end(history).empty());
}

TEST_CASE("versions of a shard grow over all its keys, within a life") {
  const auto of_one_shard = [](std::initializer_list<Operation> operations) {
    History history;
    for (const Operation& operation : operations) history.append(operation);
    return check_versions(history, [](uint64_t key) { return key / 10; });
  };
  CHECK(of_one_shard({write(1, 1, 2, 1), write(2, 3, 4, 2)}).empty());
  CHECK(of_one_shard({write(1, 1, 2, 2), write(2, 3, 4, 1)}).find("do not grow") !=
        std::string::npos);
  CHECK(of_one_shard({write(1, 1, 3, 2), write(2, 3, 4, 1)}).empty());
  CHECK(of_one_shard({write(1, 1, 3, 2), write(2, 3, 4, 2)}).find("given twice") !=
        std::string::npos);
  CHECK(of_one_shard({write(1, 1, 2, 2), write(11, 3, 4, 1)}).empty());
  const Operation wipe{
      .key = 3, .begin_ns = 3, .end_ns = 4, .kind = Kind::wipe, .status = Status::ok};
  CHECK(of_one_shard({write(1, 1, 2, 2), wipe, write(2, 5, 6, 1)}).empty());
  CHECK_FALSE(
      of_one_shard({write(1, 1, 2, 2), wipe, write(2, 5, 6, 3), write(2, 7, 8, 1)}).empty());
}

}  // namespace copykv::sim
