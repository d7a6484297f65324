// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/command.hpp"

#include <catch2/catch.hpp>

#include "tools/copykv/rank_view.hpp"
#include "tools/copykv/session.hpp"

using namespace copykv;
using namespace copykv::tools;

TEST_CASE("a time to live is a whole number of milliseconds", "[command]") {
  CHECK(parse_ttl_ms("0") == 0);
  CHECK(parse_ttl_ms("90s") == 90'000);
  CHECK(parse_ttl_ms("1ms") == 1);
  CHECK(parse_ttl_ms("5") == 5000);
  CHECK(parse_ttl_ms("4294967295ms") == UINT32_MAX);
  for (const char* text : {"", "x", "-1s", "4294967296ms", "1us", "1500us", "0.1ms"}) {
    INFO(text);
    CHECK_THROWS_AS(parse_ttl_ms(text), Failed);
  }
}

TEST_CASE("keys are shown on one line, whatever they hold", "[command]") {
  CHECK(show_key("plain key") == "plain key");
  CHECK(show_key("caf\xc3\xa9") == "caf\xc3\xa9");
  CHECK(show_key(std::string_view("\0\n\x1b[2J\xff\x7f", 8)) == "\\x00\\x0a\\x1b[2J\\xff\\x7f");
  CHECK(show_key(std::string(1024, 'x')).size() < 100);
}

TEST_CASE("each status has its exit code and a line", "[command]") {
  const auto exit_of = [](Status status) {
    const Failed failed = failure_of({.status = status}, "key");
    CHECK_FALSE(std::string_view(failed.what()).empty());
    return failed.exit();
  };
  CHECK(exit_of(Status::not_found) == Exit::no_key);
  CHECK(exit_of(Status::condition_failed) == Exit::no_key);
  CHECK(exit_of(Status::disconnected) == Exit::no_daemon);
  CHECK(exit_of(Status::indeterminate) == Exit::no_daemon);
  CHECK(exit_of(Status::unreachable) == Exit::no_daemon);
  for (const Status status : {Status::no_space, Status::invalid_key, Status::value_too_large,
                              Status::not_a_number, Status::bad_request, Status::buffer_too_small,
                              Status::would_block, Status::wrong_owner, Status::unsupported}) {
    CHECK(exit_of(status) == Exit::error);
  }
}

TEST_CASE("an info file is read field by field", "[rank_view]") {
  const std::string text =
      "pid = 12\nrank_page_fd = 7\nepoch = 18446744073709551615\nsocket = \"/run/a = b.sock\"\n";
  const auto info = parse_rank_info(text);
  REQUIRE(info);
  CHECK(info->pid == 12);
  CHECK(info->rank_page_fd == 7);
  CHECK(info->epoch == UINT64_MAX);
  CHECK(info->socket == "/run/a = b.sock");

  CHECK_FALSE(parse_rank_info(""));
  CHECK_FALSE(parse_rank_info("pid = 12\nepoch = 1\n"));
  CHECK_FALSE(parse_rank_info("pid = x\nrank_page_fd = 7\nepoch = 1\n"));
  CHECK_FALSE(parse_rank_info("pid = -1\nrank_page_fd = 7\nepoch = 1\n"));
  CHECK_FALSE(parse_rank_info("pid = 4294967296\nrank_page_fd = 7\nepoch = 1\n"));
}
