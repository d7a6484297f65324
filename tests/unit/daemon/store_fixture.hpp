// SPDX-License-Identifier: Apache-2.0
// A store with its memory, and operations by plain strings.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.hpp"
#include "daemon/store.hpp"
#include "tests/unit/shm/test_memory.hpp"

namespace copykv::test {

/// Bytes in 8-byte aligned memory that is readable to the next multiple of 8.
class Padded {
 public:
  explicit Padded(std::string_view bytes) : words_(bytes.size() / 8 + 1), bytes_(bytes.size()) {
    std::memcpy(words_.data(), bytes.data(), bytes.size());
  }
  explicit Padded(size_t bytes) : words_(bytes / 8 + 1), bytes_(bytes) {}
  [[nodiscard]] void* at(size_t offset) noexcept {
    return reinterpret_cast<std::byte*>(words_.data()) + offset;
  }
  [[nodiscard]] std::string text() const {
    return {reinterpret_cast<const char*>(words_.data()), bytes_};
  }

 private:
  std::vector<uint64_t> words_;
  size_t bytes_;
};

struct StoreFixture {
  explicit StoreFixture(uint64_t budget_bytes, bool populate = true,
                        const StoreOptions& options = {}, HugePages huge_pages = HugePages::off)
      : memory(make_memory(budget_bytes, huge_pages)),
        populates(populate),
        store(*memory, options) {}

  static std::unique_ptr<StoreMemory> make_memory(uint64_t budget_bytes, HugePages huge_pages) {
    auto made = StoreMemory::create({.budget_bytes = budget_bytes, .huge_pages = huge_pages});
    COPYKV_ASSERT(made, "{}", made.error);
    return std::move(*made);
  }

  void populate_all() {
    while (memory->populate_ahead()) {
    }
  }

  /// Runs the operation; populates and repeats while it says so, as engine and control thread do.
  template <class Operation>
  StoreAnswer run(Operation&& operation) {
    for (uint32_t turn = 0; turn < 1'000; ++turn) {
      const StoreAnswer answer = operation();
      if (!answer.retry || !populates) return answer;
      populate_all();
    }
    COPYKV_ASSERT(false, "still retry after 1,000 turns");
  }

  StoreAnswer get(std::string_view key) {
    const TestKey k(key);
    return store.get(k, probe(k));
  }
  std::string value_of(std::string_view key) {
    const StoreAnswer answer = get(key);
    if (answer.status != Status::ok) return std::string(to_string(answer.status));
    return {reinterpret_cast<const char*>(answer.value), answer.value_bytes};
  }
  StoreAnswer put(std::string_view key, std::string_view value, PutRequest request = {}) {
    const TestKey k(key);
    Padded padded(value);
    request.value = padded.at(0);
    request.value_bytes = static_cast<uint32_t>(value.size());
    if (value.size() > kInlineValueBytes) return put_large(k, value, request);
    return run([&] { return store.put(k, probe(k), request); });
  }
  StoreAnswer put_large(const TestKey& key, std::string_view value, const PutRequest& request,
                        uint32_t chunk_bytes = 65'536) {
    Transfer transfer;
    const auto begun = run([&] { return store.begin_put(transfer, key, probe(key), request); });
    if (begun.status != Status::ok) return begun;
    Padded padded(value);
    while (store.step_put(transfer, padded.at(transfer.done_bytes), chunk_bytes) > 0) {
    }
    return run([&] { return store.commit_put(transfer); });
  }
  StoreAnswer del(std::string_view key) {
    const TestKey k(key);
    return store.del(k, probe(k));
  }
  StoreAnswer add(std::string_view key, int64_t delta) {
    const TestKey k(key);
    return run([&] { return store.add(k, probe(k), delta); });
  }
  StoreAnswer touch(std::string_view key, uint32_t ttl_ms) {
    const TestKey k(key);
    return run([&] { return store.touch(k, probe(k), ttl_ms); });
  }
  Probe probe(const ItemKey& key) const { return store.probe(key.hash); }

  std::unique_ptr<StoreMemory> memory;
  bool populates;
  Store store;
};

}  // namespace copykv::test
