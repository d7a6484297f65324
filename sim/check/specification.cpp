// SPDX-License-Identifier: Apache-2.0
#include "sim/check/specification.hpp"

#include <fmt/format.h>

#include "sim/check/words.hpp"

namespace copykv::sim {
namespace {

using Holds = KeyState::Holds;

/// The answer told this version of the item that stands.
[[nodiscard]] bool sees_version(KeyState& state, uint64_t version) noexcept {
  if (version == kNotTold) return true;
  if (state.version_told) return state.version == version;
  if (version <= state.version) return false;
  state.version = version;
  state.version_told = true;
  return true;
}

[[nodiscard]] bool sees_item(KeyState& state, uint64_t version) noexcept {
  return state.present() && sees_version(state, version);
}

/// Every change has a version above all before it.
[[nodiscard]] bool write(KeyState& state, Holds holds, uint64_t value, uint64_t version) noexcept {
  state.holds = holds;
  state.value = value;
  state.version_told = version != kNotTold;
  if (!state.version_told) return true;
  const bool grows = version > state.version;
  state.version = version;
  return grows;
}

void remove(KeyState& state) noexcept {
  // The version of what is removed may not be known; what was told stays below all to come.
  state = {.version = state.version};
}

[[nodiscard]] bool condition_holds(KeyState& state, const Operation& put) noexcept {
  switch (put.when) {
    case When::always:
      return true;
    case When::if_absent:
      return !state.present();
    case When::if_present:
      return state.present();
    case When::if_version:
      return sees_item(state, put.if_version);
  }
  return false;
}

/// An answer condition_failed, which tells the version that stands; 0: none.
[[nodiscard]] bool condition_fails(KeyState& state, const Operation& put) noexcept {
  if (!state.present()) {
    const bool none_told = put.version == kNotTold || put.version == 0;
    return (put.when == When::if_present || put.when == When::if_version) && none_told;
  }
  if (put.when == When::if_absent) return sees_version(state, put.version);
  if (put.when != When::if_version || !sees_version(state, put.version)) return false;
  return !state.version_told || state.version != put.if_version;
}

[[nodiscard]] bool apply_put(KeyState& state, const Operation& put, uint32_t id) noexcept {
  if (put.status == Status::condition_failed) return condition_fails(state, put);
  if (!condition_holds(state, put)) return false;
  state.expiry = put.expires() ? id : 0;
  return write(state, put.number ? Holds::number : Holds::record, put.argument, put.version);
}

[[nodiscard]] bool apply_add(KeyState& state, const Operation& add) noexcept {
  int64_t sum = state.holds == Holds::number ? static_cast<int64_t>(state.value) : 0;
  const bool no_number = state.holds == Holds::record ||
                         __builtin_add_overflow(sum, static_cast<int64_t>(add.argument), &sum);
  if (add.status == Status::not_a_number) return no_number && sees_item(state, add.version);
  if (no_number || (!add.open() && static_cast<uint64_t>(sum) != add.observed)) return false;
  return write(state, Holds::number, static_cast<uint64_t>(sum), add.version);
}

[[nodiscard]] bool apply_touch(KeyState& state, const Operation& touch, uint32_t id) noexcept {
  if (!sees_item(state, touch.version)) return false;
  state.expiry = touch.expires() ? id : 0;
  return true;
}

[[nodiscard]] bool apply_get(KeyState& state, const Operation& get) noexcept {
  if (get.status == Status::buffer_too_small) return sees_item(state, get.version);
  const Holds holds = get.number ? Holds::number : Holds::record;
  return state.holds == holds && state.value == get.observed && sees_version(state, get.version);
}

}  // namespace

bool can_end_so(const Operation& operation) noexcept {
  if (!operation.ended()) return true;
  const Kind kind = operation.kind;
  const bool writes =
      kind == Kind::put || kind == Kind::del || kind == Kind::add || kind == Kind::touch;
  switch (operation.status) {
    case Status::ok:
    case Status::invalid_key:
    case Status::bad_request:
    case Status::would_block:
    case Status::disconnected:
    case Status::unreachable:
    case Status::wrong_owner:
    case Status::unsupported:
      return true;
    case Status::not_found:
      return kind != Kind::put && kind != Kind::add;
    case Status::condition_failed:
      return kind == Kind::put && operation.when != When::always;
    case Status::no_space:
      return writes && kind != Kind::del;
    case Status::value_too_large:
      return kind == Kind::put;
    case Status::not_a_number:
      return kind == Kind::add;
    case Status::buffer_too_small:
      return kind == Kind::get;
    case Status::indeterminate:
      return writes;
  }
  return false;
}

bool says_nothing(const Operation& operation) noexcept {
  switch (operation.kind) {
    case Kind::death:
      return true;
    case Kind::wipe:
      return false;
    case Kind::get:
    case Kind::exists:
      if (operation.open()) return true;
      break;
    default:
      if (operation.open()) return false;
  }
  switch (operation.status) {
    case Status::ok:
    case Status::not_found:
    case Status::condition_failed:
    case Status::not_a_number:
    case Status::buffer_too_small:
    case Status::indeterminate:
      return false;
    default:
      return true;
  }
}

bool apply(KeyState& state, const Operation& operation, uint32_t id) noexcept {
  if (operation.status == Status::not_found && operation.ended()) return !state.present();
  switch (operation.kind) {
    case Kind::get:
      return apply_get(state, operation);
    case Kind::exists:
      return sees_item(state, operation.version);
    case Kind::put:
      return apply_put(state, operation, id);
    case Kind::del:
      if (!state.present()) return false;
      remove(state);
      return true;
    case Kind::add:
      return apply_add(state, operation);
    case Kind::touch:
      return apply_touch(state, operation, id);
    case Kind::wipe:
      state = {};
      return true;
    case Kind::death:
      return true;
  }
  return false;
}

void expire(KeyState& state) noexcept {
  remove(state);
}

std::string describe(const KeyState& state) {
  if (!state.present()) return "nothing";
  std::string text = state.holds == Holds::number
                         ? fmt::format("number {}", static_cast<int64_t>(state.value))
                         : value_words(state.value);
  text += state.version_told ? fmt::format(", version {}", state.version)
                             : ", of a version that nobody was told";
  if (state.expiry != 0) text += ", for a while";
  return text;
}

}  // namespace copykv::sim
