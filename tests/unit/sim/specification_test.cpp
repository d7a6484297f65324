// SPDX-License-Identifier: Apache-2.0
// Every kind with every status that tells something, accepted and rejected.
#include "sim/check/specification.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/sim/scene.hpp"

namespace copykv::sim {
namespace {

/// value 10 with version 3 stands from time 2 on.
[[nodiscard]] Scene with_item() {
  Scene scene;
  scene.put({1, 2}, 10, 3);
  return scene;
}

/// Whether the scene may go on with `operation`, by the search and by all orders.
[[nodiscard]] bool goes_on(Scene scene, const Operation& operation) {
  scene.line({operation.begin_ns, operation.end_ns}, operation.kind, operation.status) = operation;
  const bool ok = scene.ok();
  CHECK(ok == scene.by_all_orders());
  return ok;
}

[[nodiscard]] Operation at_10(Kind kind, Status status, uint64_t version = kNotTold) {
  return {.key = kKey,
          .begin_ns = 10,
          .end_ns = 11,
          .version = version,
          .process = 2,
          .kind = kind,
          .status = status};
}

[[nodiscard]] Operation get_of(uint64_t value, uint64_t version, bool number = false) {
  Operation get = at_10(Kind::get, Status::ok, version);
  get.observed = value;
  get.number = number;
  return get;
}

[[nodiscard]] Operation put_when(When when, Status status, uint64_t version,
                                 uint64_t if_version = 0) {
  Operation put = at_10(Kind::put, status, version);
  put.argument = 77;
  put.when = when;
  put.if_version = if_version;
  return put;
}

[[nodiscard]] Operation add_of(int64_t delta, Status status, int64_t sum, uint64_t version) {
  Operation add = at_10(Kind::add, status, version);
  add.argument = static_cast<uint64_t>(delta);
  add.observed = static_cast<uint64_t>(sum);
  return add;
}

}  // namespace

TEST_CASE("get") {
  CHECK(goes_on(with_item(), get_of(10, 3)));
  CHECK(goes_on(with_item(), get_of(10, kNotTold)));
  CHECK_FALSE(goes_on(with_item(), get_of(10, 4)));
  CHECK_FALSE(goes_on(with_item(), get_of(11, 3)));
  CHECK_FALSE(goes_on(with_item(), get_of(10, 3, true)));
  CHECK_FALSE(goes_on(with_item(), at_10(Kind::get, Status::not_found)));
  CHECK(goes_on(with_item(), at_10(Kind::get, Status::buffer_too_small, 3)));
  CHECK_FALSE(goes_on(with_item(), at_10(Kind::get, Status::buffer_too_small, 2)));
  CHECK(goes_on({}, at_10(Kind::get, Status::not_found)));
  CHECK_FALSE(goes_on({}, get_of(10, 3)));
  CHECK_FALSE(goes_on({}, at_10(Kind::get, Status::buffer_too_small)));
}

TEST_CASE("exists") {
  CHECK(goes_on(with_item(), at_10(Kind::exists, Status::ok, 3)));
  CHECK_FALSE(goes_on(with_item(), at_10(Kind::exists, Status::ok, 2)));
  CHECK_FALSE(goes_on(with_item(), at_10(Kind::exists, Status::not_found)));
  CHECK(goes_on({}, at_10(Kind::exists, Status::not_found)));
  CHECK_FALSE(goes_on({}, at_10(Kind::exists, Status::ok, 3)));
}

TEST_CASE("put with each condition") {
  const Status ok = Status::ok;
  const Status failed = Status::condition_failed;
  CHECK(goes_on(with_item(), put_when(When::always, ok, 4)));
  CHECK_FALSE(goes_on(with_item(), put_when(When::always, ok, 3)));
  CHECK_FALSE(goes_on(with_item(), put_when(When::always, ok, 2)));
  CHECK_FALSE(goes_on({}, put_when(When::always, ok, 0)));
  CHECK_FALSE(goes_on(with_item(), put_when(When::always, failed, 3)));

  CHECK_FALSE(goes_on(with_item(), put_when(When::if_absent, ok, 4)));
  CHECK(goes_on(with_item(), put_when(When::if_absent, failed, 3)));
  CHECK_FALSE(goes_on(with_item(), put_when(When::if_absent, failed, 2)));
  CHECK(goes_on({}, put_when(When::if_absent, ok, 4)));
  CHECK_FALSE(goes_on({}, put_when(When::if_absent, failed, 0)));

  CHECK(goes_on(with_item(), put_when(When::if_present, ok, 4)));
  CHECK_FALSE(goes_on(with_item(), put_when(When::if_present, failed, 3)));
  CHECK_FALSE(goes_on({}, put_when(When::if_present, ok, 4)));
  CHECK(goes_on({}, put_when(When::if_present, failed, 0)));
  CHECK_FALSE(goes_on({}, put_when(When::if_present, failed, 3)));

  CHECK(goes_on(with_item(), put_when(When::if_version, ok, 4, 3)));
  CHECK_FALSE(goes_on(with_item(), put_when(When::if_version, ok, 4, 2)));
  CHECK(goes_on(with_item(), put_when(When::if_version, failed, 3, 2)));
  CHECK_FALSE(goes_on(with_item(), put_when(When::if_version, failed, 3, 3)));
  CHECK_FALSE(goes_on({}, put_when(When::if_version, ok, 4, 3)));
  CHECK(goes_on({}, put_when(When::if_version, failed, 0, 3)));
}

TEST_CASE("del and touch") {
  CHECK(goes_on(with_item(), at_10(Kind::del, Status::ok)));
  CHECK_FALSE(goes_on(with_item(), at_10(Kind::del, Status::not_found)));
  CHECK(goes_on({}, at_10(Kind::del, Status::not_found)));
  CHECK_FALSE(goes_on({}, at_10(Kind::del, Status::ok)));

  CHECK(goes_on(with_item(), at_10(Kind::touch, Status::ok, 3)));
  CHECK_FALSE(goes_on(with_item(), at_10(Kind::touch, Status::ok, 4)));
  CHECK_FALSE(goes_on(with_item(), at_10(Kind::touch, Status::not_found)));
  CHECK(goes_on({}, at_10(Kind::touch, Status::not_found)));
  CHECK_FALSE(goes_on({}, at_10(Kind::touch, Status::ok, 4)));
}

TEST_CASE("add") {
  Scene five;
  five.add({1, 2}, 5, 5, 3);
  CHECK(goes_on(five, add_of(2, Status::ok, 7, 4)));
  CHECK(goes_on(five, add_of(-9, Status::ok, -4, 4)));
  CHECK_FALSE(goes_on(five, add_of(2, Status::ok, 8, 4)));
  CHECK_FALSE(goes_on(five, add_of(2, Status::ok, 7, 3)));
  CHECK_FALSE(goes_on(five, add_of(2, Status::not_a_number, 0, 3)));
  CHECK(goes_on(five, get_of(5, 3, true)));
  CHECK_FALSE(goes_on(five, get_of(5, 3, false)));
  CHECK(goes_on({}, add_of(2, Status::ok, 2, 1)));
  CHECK_FALSE(goes_on({}, add_of(2, Status::not_a_number, 0, 0)));
  CHECK(goes_on(with_item(), add_of(2, Status::not_a_number, 0, 3)));
  CHECK_FALSE(goes_on(with_item(), add_of(2, Status::ok, 2, 4)));
  Scene large;
  Operation& put = large.put({1, 2}, static_cast<uint64_t>(INT64_MAX), 3);
  put.number = true;
  CHECK(goes_on(large, add_of(1, Status::not_a_number, 0, 3)));
  CHECK_FALSE(goes_on(large, add_of(1, Status::ok, INT64_MIN, 4)));
  CHECK(goes_on(large, add_of(-1, Status::ok, INT64_MAX - 1, 4)));
}

TEST_CASE("statuses that promise that nothing was done are held to it") {
  for (const Status status :
       {Status::no_space, Status::value_too_large, Status::bad_request, Status::unreachable,
        Status::disconnected, Status::would_block, Status::wrong_owner}) {
    INFO(to_string(status));
    Scene scene = with_item();
    scene.line({3, 4}, Kind::put, status).argument = 11;
    CHECK(goes_on(scene, get_of(10, 3)));
    CHECK_FALSE(goes_on(scene, get_of(11, 4)));
  }
  Scene scene = with_item();
  scene.open_put({3, 4}, 11);
  CHECK(goes_on(scene, get_of(10, 3)));
  CHECK(goes_on(scene, get_of(11, 4)));
}

TEST_CASE("a status that no operation of its kind has is a violation by itself") {
  const auto possible = [](Kind kind, Status status) { return can_end_so(at_10(kind, status)); };
  CHECK_FALSE(possible(Kind::get, Status::indeterminate));
  CHECK_FALSE(possible(Kind::exists, Status::indeterminate));
  CHECK_FALSE(possible(Kind::get, Status::condition_failed));
  CHECK_FALSE(possible(Kind::put, Status::not_found));
  CHECK_FALSE(possible(Kind::put, Status::condition_failed));  // without a condition
  CHECK_FALSE(possible(Kind::add, Status::not_found));
  CHECK_FALSE(possible(Kind::del, Status::no_space));
  CHECK_FALSE(possible(Kind::put, Status::not_a_number));
  CHECK_FALSE(possible(Kind::put, Status::buffer_too_small));
  CHECK(possible(Kind::put, Status::indeterminate));
  CHECK(possible(Kind::touch, Status::no_space));
  Operation never_ended = at_10(Kind::get, Status::indeterminate);
  never_ended.end_ns = kOpen;
  CHECK(can_end_so(never_ended));

  Scene scene;
  scene.line({1, 2}, Kind::put, Status::not_found).argument = 10;
  const Verdict verdict = scene.check();
  CHECK(verdict.outcome == Verdict::Outcome::violation);
  CHECK(verdict.story.find("no put ends so") != std::string::npos);
}

}  // namespace copykv::sim
