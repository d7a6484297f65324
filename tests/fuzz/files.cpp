// SPDX-License-Identifier: Apache-2.0
// Files that people give to the programs: lines of `copykv load`, profiles of a simulation, result
// documents of benchkv. Each is taken or refused with a reason, and what is taken survives being
// written again.
#include <nlohmann/json.hpp>

#include "bench/analysis/documents.hpp"
#include "bench/analysis/model_report.hpp"
#include "bench/analysis/plan.hpp"
#include "bench/commands.hpp"
#include "sim/profile.hpp"
#include "tests/fuzz/input.hpp"
#include "tools/copykv/json_lines.hpp"

namespace {

using namespace copykv;
using fuzz::require;

void record(const std::string& line, tools::Encoding encoding) {
  const auto parsed = tools::parse_record(line, encoding);
  if (!parsed) return require(!parsed.error.empty(), "a refusal has a reason");
  const auto written = tools::format_record(parsed->key, parsed->value, parsed->flags, encoding);
  require(written.has_value(), "a record can be written");
  const auto again = tools::parse_record(*written, encoding);
  require(again && again->key == parsed->key && again->value == parsed->value &&
              again->flags == parsed->flags,
          "a record reads back");
}

void profiles(const std::string& text) {
  const auto parsed = sim::parse_profiles(text, "fuzz");
  if (!parsed) return require(!parsed.error.empty(), "a refusal has a reason");
  for (const sim::Profile& profile : *parsed) {
    const auto again = sim::parse_profiles(sim::to_toml(profile), "fuzz");
    require(
        again && again->size() == 1 && sim::numbers_of(again->front()) == sim::numbers_of(profile),
        "a profile reads back");
  }
}

constexpr bench::analysis::Target kTarget{
    .rate_per_s = 1e6, .p99_s = 1e-3, .items = 1'000'000, .item_bytes = 100};

/// As `benchkv model`, `benchkv plan` and `benchkv compare` read it.
void document(const std::string& text) {
  const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  if (json.is_discarded()) return;
  bench::analysis::Study study;
  const auto added = bench::analysis::add_document(json, study);
  require(added || !added.error.empty(), "a refusal has a reason");
  for (const bench::analysis::Series& series : study.series) {
    const auto report = bench::analysis::explain(series, {});
    (void)bench::analysis::to_text(series, report);
    const auto planned = bench::analysis::plan(series, report, kTarget);
    require(planned || !planned.error.empty(), "a refusal has a reason");
  }
  const auto compared = bench::compare_documents(json, json, 0.05);
  require(!compared || !compared->worse, "nothing is worse than itself");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  fuzz::Input input(data, bytes);
  const uint32_t which = input.take<uint8_t>() % 4;
  const std::string text = input.text(input.rest().size());
  if (which == 0) record(text, tools::Encoding::utf8);
  if (which == 1) record(text, tools::Encoding::base64);
  if (which == 2) profiles(text);
  if (which == 3) document(text);
  return 0;
}
