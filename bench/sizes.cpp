// SPDX-License-Identifier: Apache-2.0
#include "bench/sizes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.hpp"

namespace copykv::bench {
namespace {

constexpr uint64_t kWeightMax = 1'000'000;

Outcome<uint32_t> parse_length(std::string_view text) {
  const Outcome<uint64_t> bytes = parse_bytes(text);
  if (!bytes) return Failure{bytes.error};
  if (*bytes > kValueBytesLimit) {
    return Failure{fmt::format("value length {} is over the limit of {}", format_bytes(*bytes),
                               format_bytes(kValueBytesLimit))};
  }
  return static_cast<uint32_t>(*bytes);
}

Failure bad_spec(std::string_view text, std::string_view why) {
  return Failure{fmt::format(
      "value lengths '{}': {}; write 64, 16-4096 or LENGTH:WEIGHT,LENGTH:WEIGHT", text, why)};
}

}  // namespace

Outcome<ValueSizes> ValueSizes::parse(std::string_view text) {
  if (text.find(':') != std::string_view::npos) return parse_weighted(text);
  const size_t dash = text.find('-');
  const Outcome<uint32_t> low = parse_length(text.substr(0, dash));
  if (!low) return bad_spec(text, low.error);
  ValueSizes sizes;
  sizes.low_ = sizes.high_ = *low;
  if (dash == std::string_view::npos) return sizes;
  const Outcome<uint32_t> high = parse_length(text.substr(dash + 1));
  if (!high) return bad_spec(text, high.error);
  if (*high < *low) return bad_spec(text, "the range runs backwards");
  sizes.high_ = *high;
  return sizes;
}

Outcome<ValueSizes> ValueSizes::parse_weighted(std::string_view text) {
  ValueSizes sizes;
  uint64_t weight_sum = 0;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const std::string_view part = text.substr(at, comma - at);
    at = comma + 1;
    const size_t colon = part.find(':');
    if (colon == std::string_view::npos) return bad_spec(text, "a length without a weight");
    const Outcome<uint32_t> bytes = parse_length(part.substr(0, colon));
    if (!bytes) return bad_spec(text, bytes.error);
    const Outcome<uint64_t> weight = parse_count(part.substr(colon + 1), kWeightMax);
    if (!weight) return bad_spec(text, weight.error);
    if (*weight == 0) return bad_spec(text, "a weight of 0");
    weight_sum += *weight;
    sizes.low_ = sizes.steps_.empty() ? *bytes : std::min(sizes.low_, *bytes);
    sizes.high_ = std::max(sizes.high_, *bytes);
    sizes.steps_.push_back({weight_sum, *bytes});
  }
  return sizes;
}

uint32_t ValueSizes::draw_weighted(Random& random) const noexcept {
  const uint64_t at = random.below(steps_.back().weight_up_to);
  for (const Step& step : steps_) {
    if (at < step.weight_up_to) return step.bytes;
  }
  return steps_.back().bytes;
}

double ValueSizes::mean_bytes() const noexcept {
  if (steps_.empty()) return (static_cast<double>(low_) + static_cast<double>(high_)) / 2;
  double sum = 0;
  uint64_t before = 0;
  for (const Step& step : steps_) {
    sum += static_cast<double>(step.weight_up_to - before) * step.bytes;
    before = step.weight_up_to;
  }
  return sum / static_cast<double>(before);
}

}  // namespace copykv::bench
