// SPDX-License-Identifier: Apache-2.0
#include "sim/preload.hpp"

#include <cstring>
#include <vector>

#include "base/hash.hpp"

namespace copykv::sim {
namespace {

/// As the store wants it: in whole words.
std::vector<uint64_t> words_of(std::string_view text) {
  std::vector<uint64_t> words(round_up_8(static_cast<uint32_t>(text.size())) / 8 + 1);
  std::memcpy(words.data(), text.data(), text.size());
  return words;
}

/// As the engine does it, at once.
StoreAnswer put_large(Store& store, const ItemKey& item, const Probe& probe,
                      const PutRequest& request) {
  Transfer transfer;
  PutRequest without_value = request;
  without_value.value = nullptr;
  const StoreAnswer begun = store.begin_put(transfer, item, probe, without_value);
  if (transfer.idle()) return begun;
  while (store.step_put(transfer, request.value, round_up_8(request.value_bytes)) > 0) {
  }
  return store.commit_put(transfer);
}

}  // namespace

Status put_directly(Life& life, std::string_view key, std::string_view value) {
  Store& store = life.daemon->store();
  const std::vector<uint64_t> key_words = words_of(key);
  const std::vector<uint64_t> value_words = words_of(value);
  const ItemKey item{key_words.data(), static_cast<uint32_t>(key.size()), hash_key(key)};
  for (;;) {
    Probe probe{};
    store.locate(probe, item.hash);
    store.look(probe, item.hash);
    PutRequest request;
    request.value = reinterpret_cast<const std::byte*>(value_words.data());
    request.value_bytes = static_cast<uint32_t>(value.size());
    const StoreAnswer answer = value.size() > kInlineValueBytes
                                   ? put_large(store, item, probe, request)
                                   : store.put(item, probe, request);
    if (!answer.retry) return answer.status;
    life.daemon->populate();
  }
}

}  // namespace copykv::sim
