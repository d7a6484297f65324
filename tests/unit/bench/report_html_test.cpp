// SPDX-License-Identifier: Apache-2.0
// The HTML report: complete, self-contained, and safe with whatever the documents say.
#include "bench/report_html/report_html.hpp"

#include <catch2/catch.hpp>

namespace copykv::bench {
namespace {

using Json = nlohmann::ordered_json;

size_t count_of(std::string_view text, std::string_view what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

Json point_of(int clients, const std::string& text) {
  Json h = {
      {"count", 3}, {"mean", 5e3}, {"p50", 4e3},  {"p90", 9e3},
      {"p99", 9e3}, {"p999", 9e3}, {"max", 9000}, {"buckets", {{4000, 1}, {5000, 1}, {9000, 1}}}};
  Json run = {
      {"seconds", 1.0},
      {"operations", 3},
      {"ops_per_second", 1e5 * clients / (1 + clients)},
      {"failures", {text}},
      {"littles_law",
       {{"in_flight_mean", 1.0 * clients},
        {"throughput_per_second", 1e5},
        {"latency_mean_ns", 1e4 * clients},
        {"residual", 0.001}}},
      {"copyrpc", {{"rtt_ns", h}, {"remote_ops_per_second_per_rank", 5e4}}},
      {"latency_ns", {{"all", h}, {text, h}}},
      {"stations", {{"remote", {{"parts", {{{"name", text}, {"mean", 10.0}, {"count", 3}}}}}}}},
      {"resources", {{{"name", "rank0." + text}, {"busy_fraction", 0.5}}}},
      {"ranks", {{{"rank", 0}, {"ops_per_second", 1e5}}}},
      {"daemons", {{{"turns", 10}, {"phase_ns", {{text, h}}}}}}};
  return {
      {"schema", 1},
      {"config", {{"ranks", 2}, {"client_threads", clients}, {"queue_depth", 1}, {"flush", text}}},
      {"host", {{"transport", text}, {"cpu", text}, {"commit", text}, {"simulated", true}}},
      {"slos", {{{"slo", text}, {"met", false}}}},
      {"runs", {run, run}}};
}

std::string report_of(const std::string& text) {
  analysis::Study study;
  for (const int clients : {1, 2, 4, 8}) {
    const auto added = analysis::add_document(point_of(clients, text), study);
    INFO(added.error);
    REQUIRE(added);
  }
  study.skipped.push_back(text);
  analysis::arrange(study);
  return to_html(study, text);
}

}  // namespace

TEST_CASE("html: text from outside is text, never markup") {
  const std::string hostile =
      "\"><script>alert('x')</script><img src=x onerror=alert(1)>&lt;\x01\x1b";
  const std::string page = report_of(hostile);
  CHECK(count_of(page, "<script") == 0);
  CHECK(count_of(page, "<img") == 0);
  CHECK(count_of(page, "&lt;script&gt;") > 10);
  CHECK(page.find('\x01') == std::string::npos);
  CHECK(count_of(page, "<svg") == count_of(report_of("plain"), "<svg"));
}

TEST_CASE("html: needs nothing from outside, and has every section and chart") {
  const std::string page = report_of("plain");
  for (const char* reference : {"http://", "https://", "src=", "@import", "url("}) {
    CHECK(count_of(page, reference) == 0);
  }
  CHECK(count_of(page, "<h2") == 12);
  CHECK(count_of(page, "<svg") >= 10);
  CHECK(count_of(page, "<svg") == count_of(page, "<figcaption>"));
  CHECK(count_of(page, "class=\"mark\"") > 50);
  CHECK(count_of(page, "simulated, transport plain, plain, commit plain") >= 10);
  CHECK(count_of(page, "nan") + count_of(page, "inf ") == 0);
}

TEST_CASE("html: a study with next to nothing in it is a report too") {
  analysis::Study study;
  REQUIRE(analysis::add_document({{"schema", 1}, {"runs", {Json::object()}}}, study));
  analysis::arrange(study);
  CHECK(count_of(to_html(study, "empty"), "<h2") == 12);
}

TEST_CASE("documents of the wrong shape are refused, not guessed at") {
  analysis::Study study;
  CHECK_FALSE(analysis::add_document({{"schema", 2}}, study));
  CHECK_FALSE(analysis::add_document(Json::object(), study));
  CHECK_FALSE(analysis::add_document(Json::array(), study));
  CHECK_FALSE(analysis::add_document({{"schema", 1}, {"runs", {{{"seconds", "x"}}}}}, study));
  // Models walk from one customer to all: nobody ran so many.
  const auto with = [](const char* key, double value) {
    return Json{{"schema", 1}, {"config", {{key, value}}}, {"runs", {Json::object()}}};
  };
  CHECK(
      analysis::add_document(with("client_threads", 4e9), study).error.find("client_threads is") !=
      std::string::npos);
  CHECK_FALSE(analysis::add_document(with("client_threads", 0), study));
  CHECK_FALSE(analysis::add_document(with("ranks", -1), study));
  CHECK(study.series.empty());
}

TEST_CASE("runs of the same conditions in several files become one point") {
  analysis::Study study;
  REQUIRE(analysis::add_document(point_of(4, "a"), study));
  REQUIRE(analysis::add_document(point_of(4, "a"), study));
  REQUIRE(analysis::add_document(point_of(4, "b"), study));
  analysis::arrange(study);
  REQUIRE(study.series.size() == 2);
  CHECK(study.series[0].points[0].runs.size() == 4);
  CHECK(study.series[0].name.find("flush a") != std::string::npos);
}

TEST_CASE("charts: a log axis leaves out what it cannot show, short texts are short") {
  html::Chart chart("t", {"x", html::Unit::number, true}, {"y", html::Unit::number, true});
  chart.marks("m", {{1, 1, 0, 0}, {10, 0, 0, 0}, {100, NAN, 0, 0}});
  CHECK(chart.svg().find("nan") == std::string::npos);
  CHECK(html::short_text(13900, html::Unit::nanoseconds) == "13.9 us");
  CHECK(html::short_text(1.05e6, html::Unit::rate) == "1.05 M");
  CHECK(html::short_text(0.22, html::Unit::share) == "22 %");
}

}  // namespace copykv::bench
