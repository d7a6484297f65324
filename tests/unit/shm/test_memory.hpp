// SPDX-License-Identifier: Apache-2.0
// A Region on private memory, populated as far as the test says; and items made by hand.
#pragma once

#include <sys/mman.h>

#include <string_view>

#include "base/assert.hpp"
#include "shm/arena.hpp"
#include "shm/item.hpp"
#include "shm/region.hpp"

namespace copykv::test {

class TestRegion {
 public:
  TestRegion(uint64_t virtual_bytes, uint64_t populated_bytes) {
    void* base = mmap(nullptr, virtual_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    COPYKV_ASSERT(base != MAP_FAILED, "{} bytes", virtual_bytes);
    region.base = static_cast<std::byte*>(base);
    region.virtual_bytes = virtual_bytes;
    region.populated_bytes = populated_bytes;
  }
  explicit TestRegion(uint64_t bytes) : TestRegion(bytes, bytes) { region.exhausted = 1; }
  TestRegion(const TestRegion&) = delete;
  TestRegion& operator=(const TestRegion&) = delete;
  ~TestRegion() { munmap(region.base, region.virtual_bytes); }

  Region region;
};

/// An item with a key and no value. A key of more than 32 bytes keeps `hash` as it is given.
inline Offset make_item(Arena& arena, std::string_view key, uint64_t hash) {
  const auto key_bytes = static_cast<uint32_t>(key.size());
  const uint8_t traits = Item::traits_of(key_bytes, 0, false);
  const Allocation made = arena.allocate(Item::bytes_of(key_bytes, 0, traits));
  COPYKV_ASSERT(made.room == Room::ok);
  auto& item = *reinterpret_cast<Item*>(arena.at(made.offset));
  item = Item{};
  item.key_bytes = static_cast<uint16_t>(key_bytes);
  item.traits = traits;
  item.store_hash(hash);
  std::memcpy(item.key(), key.data(), key.size());
  return made.offset;
}

/// A key in padded memory of its own.
class TestKey {
 public:
  TestKey(std::string_view key, uint64_t hash)
      : bytes_(static_cast<uint32_t>(key.size())), hash_(hash) {
    std::memset(words_, 0xee, sizeof(words_));  // padding is never compared
    std::memcpy(words_, key.data(), key.size());
  }
  explicit TestKey(std::string_view key) : TestKey(key, hash_key(key)) {}
  [[nodiscard]] operator ItemKey() const noexcept { return {words_, bytes_, hash_}; }  // NOLINT

 private:
  uint64_t words_[kKeyBytesMax / 8];
  uint32_t bytes_;
  uint64_t hash_;
};

}  // namespace copykv::test
