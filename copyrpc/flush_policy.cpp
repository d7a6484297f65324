// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/flush_policy.hpp"

#include <fmt/format.h>

#include "base/units.hpp"

namespace copyrpc {

using copykv::Failure;
using copykv::kNanosPerMicro;
using copykv::Outcome;
using copykv::parse_count;

namespace {

constexpr uint64_t kHoldUsMax = 1'000'000;
constexpr uint64_t kInFlightMax = 64;

}  // namespace

Outcome<FlushPolicy> FlushPolicy::parse(std::string_view text) {
  const size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const std::string_view number = colon == text.npos ? "" : text.substr(colon + 1);
  FlushPolicy policy;
  if (name == "clocked") {
    if (colon == text.npos) return policy;
    const Outcome<uint64_t> in_flight = parse_count(number, kInFlightMax);
    if (in_flight && *in_flight > 0) {
      policy.in_flight_max = static_cast<uint32_t>(*in_flight);
      return policy;
    }
  } else if (name == "hold") {
    const Outcome<uint64_t> hold_us = parse_count(number, kHoldUsMax);
    if (hold_us) {
      policy.kind = Kind::hold;
      policy.hold_ns = *hold_us * kNanosPerMicro;
      return policy;
    }
  } else if (colon == text.npos && (name == "loop" || name == "call")) {
    policy.kind = name == "loop" ? Kind::loop : Kind::call;
    return policy;
  }
  return Failure{
      fmt::format("flush policy '{}'; use loop, call, hold:US (0 to {} microseconds), "
                  "clocked or clocked:K (1 to {} batches in flight)",
                  text, kHoldUsMax, kInFlightMax)};
}

std::string FlushPolicy::spell() const {
  switch (kind) {
    case Kind::loop:
      return "loop";
    case Kind::call:
      return "call";
    case Kind::hold:
      return fmt::format("hold:{}", hold_ns / kNanosPerMicro);
    case Kind::clocked:
      break;
  }
  return in_flight_max == FlushPolicy{}.in_flight_max ? "clocked"
                                                      : fmt::format("clocked:{}", in_flight_max);
}

}  // namespace copyrpc
