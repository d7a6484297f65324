// SPDX-License-Identifier: Apache-2.0
// Orders of operations that overlap, open ones, deaths of owners, lives of items; and the stories.
#include <catch2/catch.hpp>

#include "tests/unit/sim/scene.hpp"

namespace copykv::sim {
namespace {

using Outcome = Verdict::Outcome;

[[nodiscard]] bool tells(const Scene& scene, const std::string& words) {
  const Verdict verdict = scene.check();
  INFO(verdict.story);
  CHECK(verdict.outcome == Outcome::violation);
  CHECK_FALSE(scene.by_all_orders());
  CHECK(verdict.story.find(words) != std::string::npos);
  return verdict.story.find(words) != std::string::npos;
}

[[nodiscard]] bool accepts(const Scene& scene) {
  const Verdict verdict = scene.check();
  INFO(verdict.story);
  CHECK(verdict.ok());
  CHECK(scene.by_all_orders());
  return verdict.ok();
}

}  // namespace

TEST_CASE("an empty history is fine") {
  CHECK(check_linearizability({}).ok());
}

TEST_CASE("what overlaps may be seen in either order, but by all in the same") {
  Scene scene;
  scene.put({1, 10, 1}, 21, 1);
  scene.put({1, 10, 2}, 22, 2);
  scene.get({2, 3, 3}, 21, 1);
  Scene grows = scene;
  grows.get({4, 5, 4}, 22, 2);
  CHECK(accepts(grows));
  Scene back = scene;
  back.get({4, 5, 4}, 22, 2);
  back.get({6, 7, 3}, 21, 1);
  CHECK(tells(back, "no order of the operations explains get by client 3"));
  scene.put({1, 10, 5}, 23, 3);
  scene.get({2, 3, 6}, 23, 3);
  scene.get({4, 5, 3}, 22, 2);
  CHECK(tells(scene, "value 22 of client 0"));
}

TEST_CASE("a read of what was overwritten is told with who wrote it and who overwrote it") {
  Scene scene;
  scene.put({1'000, 2'000, 2}, value_id(2, 17), 5);
  scene.put({3'000, 4'000, 1}, value_id(1, 18), 6);
  scene.get({12'400, 13'000, 3}, value_id(2, 17), 5);
  const std::string story = scene.check().story;
  CHECK(tells(scene,
              "get by client 3 from 11.400 us to 12.000 us: ok, value 17 of client 2, "
              "version 5"));
  CHECK(tells(scene, "gone after\n    put of value 18 of client 1 by client 1"));
}

TEST_CASE("reads of values that were never written, refused, or written only later") {
  Scene nobody;
  nobody.get({1, 2}, 9, 1);
  CHECK(tells(nobody, "nobody wrote it"));
  Scene refused;
  refused.line({1, 2}, Kind::put, Status::no_space).argument = 9;
  refused.get({3, 4}, 9, 1);
  CHECK(tells(refused, "its write was refused"));
  Scene later;
  later.get({1, 2, 2}, 9, 1);
  later.put({3, 4}, 9, 1);
  CHECK(tells(later, "only later"));
  Scene other;
  other.put({1, 2}, 9, 1);
  other.get({3, 4}, 9, 2);
  CHECK(tells(other, "with another version"));
}

TEST_CASE("a write that is lost, and one that comes back") {
  Scene lost;
  lost.put({1, 2}, 9, 1);
  lost.missing({3, 4});
  CHECK(tells(lost, "nothing could take away"));
  Scene back;
  back.put({1, 2}, 9, 1);
  back.del({3, 4});
  back.get({5, 6}, 9, 1);
  CHECK(tells(back, "gone after"));
  Scene removed;
  removed.put({1, 2}, 9, 1);
  removed.del({3, 4});
  removed.missing({5, 6});
  CHECK(accepts(removed));
}

TEST_CASE("versions grow, also across a delete, but not across the owner's death") {
  Scene scene;
  scene.put({1, 2}, 9, 7);
  scene.del({3, 4});
  Scene lower = scene;
  lower.put({5, 6}, 10, 6);
  CHECK(tells(lower, "its version is not above"));
  Scene higher = scene;
  higher.put({5, 6}, 10, 8);
  CHECK(accepts(higher));
  scene.wipe(5, 6);
  scene.put({7, 8}, 10, 6);
  CHECK(accepts(scene));
}

TEST_CASE("an open write may happen late, or never; once it was read it has happened") {
  Scene scene;
  scene.put({1, 2}, 9, 1);
  scene.open_put({3, 4, 2}, 10);
  scene.get({5, 6}, 9, 1);
  CHECK(accepts(scene));
  scene.get({7, 8}, 10, 2);
  CHECK(accepts(scene));
  scene.get({9, 10}, 9, 1);
  CHECK(tells(scene, "no order"));
  Scene unread;
  unread.open_put({3, 4, 2}, 10);
  unread.line({5, 6}, Kind::exists, Status::ok, 4);
  unread.put({7, 8}, 11, 5);
  CHECK(accepts(unread));
  unread.missing({9, 10});
  CHECK(tells(unread, "nothing could take away"));
}

TEST_CASE("one open delete explains one loss, not two") {
  Scene scene;
  scene.line({1, 2, 2}, Kind::del, Status::indeterminate);
  scene.put({3, 4}, 9, 1);
  scene.missing({5, 6});
  scene.put({7, 8}, 10, 2);
  CHECK(accepts(scene));
  scene.missing({9, 10});
  CHECK(tells(scene, "no order"));
}

TEST_CASE("open adds count once each, or not") {
  Scene scene;
  for (uint32_t client = 1; client <= 3; ++client) {
    scene.line({1, 2, client}, Kind::add, Status::indeterminate).argument = 10;
  }
  scene.add({3, 4}, 1, 21, 9);
  CHECK(accepts(scene));
  Scene more = scene;
  more.add({5, 6}, 1, 42, 10);
  CHECK(tells(more, "sum 42"));
  scene.add({5, 6}, 1, 32, 11);
  CHECK(accepts(scene));
}

TEST_CASE("nothing survives the death of its owner") {
  Scene scene;
  scene.put({1, 2}, 9, 1);
  scene.wipe(3, 6);
  Scene lost = scene;
  lost.missing({7, 8});
  CHECK(accepts(lost));
  scene.get({7, 8}, 9, 1);
  CHECK(tells(scene, "gone after\n    death and restart of the owner"));
}

TEST_CASE("what was told indeterminate before a life begins is not done in it") {
  Scene scene;
  scene.open_put({1, 4, 2}, 9);
  scene.wipe(3, 6);
  Scene read_in_time = scene;
  read_in_time.get({2, 3}, 9, 1);
  CHECK(accepts(read_in_time));
  Scene late = scene;
  late.get({7, 8}, 9, 1);
  CHECK(tells(late, "indeterminate before a restart"));
  Scene never_told;  // its client died: what it sent may still be on its way
  never_told.open_put({1, kOpen, 2}, 9);
  never_told.wipe(3, 6);
  never_told.get({7, 8}, 9, 1);
  CHECK(accepts(never_told));
  Scene unread = scene;
  unread.line({7, 8}, Kind::exists, Status::ok, 1);
  CHECK(tells(unread, "no order"));
}

TEST_CASE("an item with a life vanishes within its time, unless it is replaced or touched") {
  Scene scene;
  Operation& put = scene.put({1, 2}, 9, 1);
  put.expires_from_ns = 100;
  put.expires_until_ns = 110;
  const auto with = [&](auto change) {
    Scene more = scene;
    change(more);
    return more;
  };
  CHECK(accepts(with([](Scene& s) { s.get({50, 60}, 9, 1); })));
  CHECK(tells(with([](Scene& s) { s.missing({50, 60}); }), "no order"));
  CHECK(accepts(with([](Scene& s) { s.get({105, 106}, 9, 1); })));
  CHECK(accepts(with([](Scene& s) { s.missing({105, 106}); })));
  CHECK(accepts(with([](Scene& s) { s.missing({111, 112}); })));
  CHECK(tells(with([](Scene& s) { s.get({111, 112}, 9, 1); }), "no order"));
  CHECK(tells(with([](Scene& s) {
                s.missing({102, 103});
                s.get({104, 105}, 9, 1);
              }),
              "no order"));
  CHECK(accepts(with([](Scene& s) {
    s.line({50, 51}, Kind::touch, Status::ok, 1);
    s.get({111, 112}, 9, 1);
  })));
  CHECK(accepts(with([](Scene& s) {
    s.put({50, 51}, 10, 2);
    s.get({111, 112}, 10, 2);
  })));
  CHECK(tells(with([](Scene& s) {
                Operation& touch = s.line({50, 51}, Kind::touch, Status::ok, 1);
                touch.expires_from_ns = 60;
                touch.expires_until_ns = 70;
                s.get({80, 81}, 9, 1);
              }),
              "no order"));
  CHECK(accepts(with([](Scene& s) {
    s.put({112, 113}, 10, 2, When::if_absent);
    s.get({114, 115}, 10, 2);
  })));
}

TEST_CASE("a client's operations keep their order, also when they are in flight at once") {
  Scene scene;
  scene.put({1, 10, 1}, 9, 1);
  scene.missing({2, 10, 1});
  CHECK(tells(scene, "no order"));
  CHECK(scene.check(/*client_order=*/false).ok());
  CHECK(scene.by_all_orders(/*client_order=*/false));
  Scene of_two;
  of_two.put({1, 10, 1}, 9, 1);
  of_two.missing({2, 10, 2});
  CHECK(accepts(of_two));
  Scene same_moment;  // under virtual time
  same_moment.put({1, 1, 1}, 9, 1);
  same_moment.put({1, 1, 1}, 10, 2);
  same_moment.get({1, 1, 1}, 9, 1);
  CHECK(tells(same_moment, "no order"));
}

TEST_CASE("hundreds of open writes that nobody read are no burden") {
  Scene scene;
  for (uint32_t client = 0; client < 600; ++client) {
    scene.open_put({client * 10 + 1, kOpen, client + 100}, 1'000'000 + client);
    scene.line({client * 10 + 1, kOpen, client + 100}, Kind::del, Status::indeterminate);
    scene.put({client * 10 + 2, client * 10 + 3}, client, 1 + client);
    if (client % 2 == 0) scene.get({client * 10 + 4, client * 10 + 5}, client, 1 + client);
    if (client % 3 == 0) scene.missing({client * 10 + 6, client * 10 + 7});
  }
  const Verdict verdict = scene.check();
  INFO(verdict.story);
  CHECK(verdict.ok());
  CHECK(verdict.states < 600 * 20);
}

TEST_CASE("what would take too long is said to be undecided; it is not ok") {
  Scene scene;
  uint64_t delta = 1;
  for (uint32_t client = 1; client <= 40; ++client, delta = delta * 3 + 1) {
    scene.line({1, 2, client}, Kind::add, Status::indeterminate).argument = delta;
  }
  scene.add({3, 4}, 1, -5, 50);
  const Verdict verdict = check_linearizability(scene.history(), {.states_max = 10'000});
  CHECK(verdict.outcome == Outcome::undecided);
  CHECK_FALSE(verdict.ok());
  CHECK(verdict.keys_undecided == 1);
  CHECK(verdict.story.find("undecided after 14101 states") != std::string::npos);
}

TEST_CASE("a history whose values are not unique cannot be decided") {
  Scene scene;
  scene.put({1, 2}, 9, 1);
  scene.put({3, 4}, 9, 2);
  CHECK(scene.check().outcome == Outcome::undecided);
  Scene reserved;
  reserved.put({1, 2}, kUnread, 1);
  CHECK(reserved.check().outcome == Outcome::undecided);
}

TEST_CASE("deaths of one owner follow each other") {
  Scene scene;
  scene.wipe(1, 5);
  scene.wipe(4, 6);
  CHECK(scene.check().story.find("overlap") != std::string::npos);
}

TEST_CASE("keys are checked by themselves; the story is of the earliest violation") {
  History history;
  for (uint64_t key = 3; key <= 5; ++key) {
    history.append({.key = key,
                    .begin_ns = 100 - key * 10,
                    .end_ns = 101 - key * 10,
                    .observed = 1,
                    .version = 1,
                    .kind = Kind::get,
                    .status = Status::ok});
  }
  history.append({.key = 6,
                  .begin_ns = 1,
                  .end_ns = 2,
                  .argument = 1,
                  .version = 1,
                  .kind = Kind::put,
                  .status = Status::ok});
  const Verdict verdict = check_linearizability(history);
  CHECK(verdict.keys == 4);
  CHECK(verdict.keys_violated == 3);
  CHECK(verdict.key == 5);
  CHECK(verdict.story.rfind("key 5: ", 0) == 0);
}

}  // namespace copykv::sim
