// SPDX-License-Identifier: Apache-2.0
// What two endpoints say to each other over the side channel: messages of one size.
//
//   offset  bytes  field
//        0      8  "cpkverb", version
//        8      1  transport, as in the address
//        9      1  type: call, answer, ready, refusal
//       10      2  reason of a refusal
//       12      4  0
//       16     16  identity of the sender
//       32     16  identity of whom it means to talk to
//       48      8  number of the last call that the sender has made
//       56     72  the transport's offer: queue numbers, GID, ...
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "copyrpc/fabric/verbs/address.hpp"

namespace copyrpc::verbs {

/// What one side's queue pair is to the other: opaque to the side channel.
struct Offer {
  std::array<char, 72> bytes{};

  template <class T>
  void put(const T& value) noexcept {
    static_assert(sizeof(T) <= sizeof(bytes) && std::is_trivially_copyable_v<T>);
    std::memcpy(bytes.data(), &value, sizeof(value));
  }
  template <class T>
  [[nodiscard]] T get() const noexcept {
    static_assert(sizeof(T) <= sizeof(bytes) && std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }
};

struct Greeting {
  enum class Type : uint8_t { call = 1, answer, ready, refusal };
  enum class Reason : uint16_t {
    none = 0,
    crossed,  ///< a call of the refuser is on its way, or has come through: that one counts
    no_room,  ///< queue pairs or connections are used up
    no_way,   ///< ports that cannot talk to each other
    last = no_way,
  };

  static constexpr std::array<char, 8> kHello = {'c', 'p', 'k', 'v', 'e', 'r', 'b', 1};

  std::array<char, 8> hello = kHello;
  Kind kind = Kind::rc;
  Type type = Type::call;
  Reason reason = Reason::none;
  uint32_t reserved = 0;
  Identity from{};
  Identity to{};
  uint64_t call = 0;
  Offer offer{};

  /// False: the sender is none of us, or does not know whom it talks to.
  [[nodiscard]] bool is_for(const Identity& self, Kind expected) const noexcept {
    return hello == kHello && kind == expected && to == self && type >= Type::call &&
           type <= Type::refusal && reason <= Reason::last;
  }
};
static_assert(sizeof(Greeting) == 128 && std::is_trivially_copyable_v<Greeting>);

}  // namespace copyrpc::verbs
