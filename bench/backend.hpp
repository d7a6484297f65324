// SPDX-License-Identifier: Apache-2.0
// What the measured loop needs of the service and of time. copykv::Client is a Backend as it is;
// FakeBackend (fake_backend.hpp) is one whose service times are known, which is how the tests hold
// the loop to its promises.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>

#include <copykv/client.hpp>

namespace copykv::bench {

template <class B>
concept Backend = requires(B backend, std::string_view text, std::span<Completion> completions) {
  { backend.submit_get(text, uint64_t{}) } -> std::same_as<Status>;
  { backend.submit_put(text, text, uint64_t{}) } -> std::same_as<Status>;
  { backend.poll(completions) } -> std::same_as<size_t>;
  { backend.wait(completions, uint64_t{}) } -> std::same_as<size_t>;
  { backend.in_flight() } -> std::convertible_to<size_t>;
};

static_assert(Backend<Client>);

/// `idle_until` is called when nothing is left to do before that moment but to look for answers;
/// `in_flight` tells whether any can come. It may return early.
template <class T>
concept TimeSource = requires(T time, uint64_t ns, bool in_flight) {
  { time.now_ns() } -> std::same_as<uint64_t>;
  { time.idle_until(ns, in_flight) } -> std::same_as<void>;
};

}  // namespace copykv::bench
