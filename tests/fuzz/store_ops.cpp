// SPDX-License-Identifier: Apache-2.0
// Any sequence of operations on a store, beside a plain map that says what each must answer.
#include <map>
#include <string>

#include "daemon/store.hpp"
#include "sim/in_process.hpp"
#include "tests/fuzz/input.hpp"

namespace {

using namespace copykv;
using fuzz::Input;
using fuzz::require;

struct Expected {
  std::string value{};
  uint32_t user_flags = 0;
  uint64_t version = 0;
  uint64_t expires_at_ms = 0;
};

class Pair {
 public:
  explicit Pair(StoreMemory& memory)
      : memory_(memory), store_(memory, {.first_version = 1, .value_bytes_max = 1U << 20}) {}

  void step(Input& input) {
    now_ms_ += input.take<uint8_t>() % 8;
    store_.begin_turn(now_ms_);
    while (memory_.populate_ahead()) {
    }
    name_ = std::string(1 + input.take<uint8_t>() % 40, static_cast<char>('a' + input.below(12)));
    const ItemKey key = make_key();
    const Probe probe = store_.probe(key.hash);
    switch (input.take<uint8_t>() % 9) {
      case 0:
      case 1:
        return put(key, probe, input);
      case 2:
        return get(store_.get(key, probe), true);
      case 3:
        return get(store_.exists(key, probe), false);
      case 4:
        return del(store_.del(key, probe));
      case 5:
        return add(key, probe, input.take<int64_t>());
      case 6:
        return touch(key, probe, input.take<uint8_t>());
      case 7:
        (void)store_.sweep(1 + input.take<uint8_t>());
        return;
      default:
        return large_put(key, probe, input);
    }
  }

  void check_whole() {
    require(store_.is_valid(), "the store's invariants");
    for (auto entry = expected_.begin(); entry != expected_.end();) {
      name_ = entry->first;
      ++entry;
      const ItemKey key = make_key();
      const StoreAnswer answer = store_.exists(key, store_.probe(key.hash));
      require((answer.status == Status::ok) == (live() != nullptr), "what was put stands");
    }
  }

 private:
  ItemKey make_key() {
    std::memset(key_words_, 0, sizeof(key_words_));
    std::memcpy(key_words_, name_.data(), name_.size());
    return {key_words_, static_cast<uint32_t>(name_.size()), hash_key(name_)};
  }
  Expected* live() {
    const auto found = expected_.find(name_);
    if (found == expected_.end()) return nullptr;
    const uint64_t at_ms = found->second.expires_at_ms;
    if (at_ms == 0 || now_ms_ < at_ms) return &found->second;
    expected_.erase(found);
    return nullptr;
  }
  [[nodiscard]] bool holds(const PutRequest& request) {
    const Expected* item = live();
    switch (request.condition) {
      case Condition::always:
        return true;
      case Condition::if_absent:
        return item == nullptr;
      case Condition::if_present:
        return item != nullptr;
      case Condition::if_version:
        return item != nullptr && item->version == request.if_version;
    }
    return false;
  }
  void written(const PutRequest& request, const StoreAnswer& answer, std::string value) {
    if (answer.status == Status::no_space) return;
    require(answer.status == (holds(request) ? Status::ok : Status::condition_failed),
            "a put happens exactly when its condition holds");
    const Expected* before = live();
    if (answer.status != Status::ok) {
      require(answer.version == (before == nullptr ? 0 : before->version), "the version standing");
      return;
    }
    require(answer.version > last_version_, "versions grow");
    last_version_ = answer.version;
    expected_[name_] = {std::move(value), request.user_flags, answer.version,
                        request.ttl_ms == 0 ? 0 : now_ms_ + request.ttl_ms};
  }
  PutRequest request_of(Input& input, uint32_t value_bytes) {
    const Expected* item = live();
    const auto condition = static_cast<Condition>(input.take<uint8_t>() % 4);
    const bool right = (input.take<uint8_t>() & 1) != 0;
    return {.value = value_words_,
            .value_bytes = value_bytes,
            .user_flags = input.take<uint8_t>() % 3U,
            .ttl_ms = input.take<uint8_t>() % 4 == 0 ? input.take<uint8_t>() : 0U,
            .condition = condition,
            .if_version = right && item != nullptr ? item->version : last_version_ + 1};
  }
  std::string fill(uint32_t value_bytes, uint8_t seed) {
    std::string value(value_bytes, '\0');
    for (uint32_t at = 0; at < value_bytes; ++at) value[at] = static_cast<char>(seed + at * 7);
    std::memcpy(value_words_, value.data(), value.size());
    return value;
  }
  void put(const ItemKey& key, const Probe& probe, Input& input) {
    const uint32_t value_bytes = input.take<uint16_t>() % (kInlineValueBytes + 1);
    std::string value = fill(value_bytes, input.take<uint8_t>());
    const PutRequest request = request_of(input, value_bytes);
    const StoreAnswer answer = store_.put(key, probe, request);
    if (!answer.retry) written(request, answer, std::move(value));
  }
  void large_put(const ItemKey& key, const Probe& probe, Input& input) {
    const uint32_t value_bytes = input.below(sizeof(value_words_) + 1);
    std::string value = fill(value_bytes, input.take<uint8_t>());
    const PutRequest request = request_of(input, value_bytes);
    Transfer transfer;
    const StoreAnswer begun = store_.begin_put(transfer, key, probe, request);
    if (transfer.idle()) {
      if (!begun.retry && begun.status != Status::ok) written(request, begun, {});
      return;
    }
    uint32_t left = value_bytes;
    const auto* from = reinterpret_cast<const std::byte*>(value_words_);
    do {
      left = store_.step_put(transfer, from + (value_bytes - left), 2048);
      if (input.take<uint8_t>() == 255) return store_.abort(transfer);
    } while (left > 0);
    const StoreAnswer answer = store_.commit_put(transfer);
    if (answer.retry) return store_.abort(transfer);
    written(request, answer, std::move(value));
  }
  void get(const StoreAnswer& answer, bool with_value) {
    const Expected* item = live();
    require(answer.status == (item == nullptr ? Status::not_found : Status::ok), "found or not");
    if (item == nullptr) return;
    require(answer.version == item->version, "version");
    require(answer.value_bytes == item->value.size(), "value_bytes");
    if (!with_value) return;
    require(answer.user_flags == item->user_flags, "user flags");
    require(std::memcmp(answer.value, item->value.data(), item->value.size()) == 0, "value");
  }
  void del(const StoreAnswer& answer) {
    const bool there = live() != nullptr;
    require(answer.status == (there ? Status::ok : Status::not_found), "deleted or not");
    expected_.erase(name_);
  }
  void add(const ItemKey& key, const Probe& probe, int64_t delta) {
    Expected* item = live();
    const StoreAnswer answer = store_.add(key, probe, delta);
    if (answer.retry || answer.status == Status::no_space) return;
    if (answer.status == Status::not_a_number) {
      require(item != nullptr, "an absent number counts as 0");
      return;
    }
    require(answer.status == Status::ok, "add");
    if (item == nullptr) item = &expected_[name_];
    const int64_t before = item->value.empty() ? 0 : std::strtoll(item->value.c_str(), nullptr, 10);
    require(answer.number == before + delta, "sum");
    require(answer.version > last_version_, "versions grow");
    item->value = std::to_string(answer.number);
    item->version = last_version_ = answer.version;
  }
  void touch(const ItemKey& key, const Probe& probe, uint32_t ttl_ms) {
    Expected* item = live();
    const StoreAnswer answer = store_.touch(key, probe, ttl_ms);
    if (answer.retry || answer.status == Status::no_space) return;
    require(answer.status == (item == nullptr ? Status::not_found : Status::ok), "touched or not");
    if (item != nullptr) item->expires_at_ms = ttl_ms == 0 ? 0 : now_ms_ + ttl_ms;
  }

  StoreMemory& memory_;
  Store store_;
  std::map<std::string, Expected> expected_;
  std::string name_;
  uint64_t now_ms_ = 1;
  uint64_t last_version_ = 0;
  alignas(8) uint64_t key_words_[kKeyBytesMax / 8];
  alignas(8) uint64_t value_words_[24 * 1024 / 8];
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  Input input(data, bytes);
  static const auto memory =
      StoreMemory::create({.budget_bytes = kStoreBudgetBytesMin, .huge_pages = HugePages::off});
  sim::InProcessDaemon::clean(**memory.value);
  Pair pair(**memory.value);
  for (uint32_t step = 0; step < 2000 && !input.empty(); ++step) pair.step(input);
  pair.check_whole();
  return 0;
}
