// SPDX-License-Identifier: Apache-2.0
// Many operations in flight: submit until the queue is full, take what is finished, go on.
//
// One round trip costs some hundred nanoseconds; 64 of them at a time cost little more than one.
// Answers carry the tag that was given to submit; they need not come in the order of the requests.
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <copykv/client.hpp>

namespace {

// The example is a test, too: what it shows must hold.
void check(bool holds, const char* what, int line) {
  if (holds) return;
  std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, line, what);
  std::exit(1);
}
#define CHECK(condition) check(static_cast<bool>(condition), #condition, __LINE__)

constexpr uint32_t kQueueDepth = 64;
constexpr uint64_t kKeys = 10'000;

std::string key_of(uint64_t number) {
  return "pipeline:" + std::to_string(number);
}

// Submits one operation for each number below kKeys; `submit` returns the Status of a submit with
// the number as its tag. Calls on_done(number, result) once for each.
template <class Submit, class OnDone>
void for_each_in_flight(copykv::Client& kv, Submit submit, OnDone on_done) {
  std::array<copykv::Completion, kQueueDepth> finished;
  uint64_t submitted = 0;
  uint64_t done = 0;
  while (done < kKeys) {
    while (submitted < kKeys) {
      const copykv::Status status = submit(submitted);
      if (status == copykv::Status::would_block) break;  // all slots are in flight
      CHECK(status == copykv::Status::ok);
      ++submitted;
    }
    const size_t taken = kv.wait(finished);
    for (size_t i = 0; i < taken; ++i) on_done(finished[i].tag, finished[i].result);
    done += taken;
  }
  CHECK(kv.in_flight() == 0);
}

void write_and_read(copykv::Client& kv) {
  std::vector<uint64_t> versions(kKeys);
  for_each_in_flight(
      kv,
      // The library copies key and value during the call: temporaries are fine.
      [&](uint64_t i) { return kv.submit_put(key_of(i), std::to_string(i * i), i); },
      [&](uint64_t i, const copykv::Result& result) {
        CHECK(result.ok());
        versions[i] = result.version;
      });

  std::vector<bool> seen(kKeys);
  for_each_in_flight(
      kv, [&](uint64_t i) { return kv.submit_get(key_of(i), i); },
      [&](uint64_t i, const copykv::Result& result) {
        CHECK(result.ok());
        CHECK(!seen[i]);
        CHECK(result.value == std::to_string(i * i));
        CHECK(result.version == versions[i]);
        seen[i] = true;
      });
}

// The same with less to write, when all keys are known beforehand.
void batches(copykv::Client& kv) {
  std::vector<std::string> names;
  for (uint64_t i = 0; i < 1'000; ++i) names.push_back("batch:" + std::to_string(i));
  const std::vector<std::string_view> keys(names.begin(), names.end());
  std::vector<copykv::Status> statuses(keys.size(), copykv::Status::bad_request);

  kv.put_batch(keys, keys, statuses);  // each key is its own value
  for (const copykv::Status status : statuses) CHECK(status == copykv::Status::ok);

  CHECK(kv.del("batch:7").ok());
  size_t found = 0;
  kv.get_batch(keys, [&](size_t index, const copykv::Result& result) {
    CHECK(result.status == (index == 7 ? copykv::Status::not_found : copykv::Status::ok));
    if (!result.ok()) return;
    CHECK(result.value == keys[index]);
    ++found;
  });
  CHECK(found == keys.size() - 1);

  kv.del_batch(keys, statuses);
  CHECK(statuses[6] == copykv::Status::ok && statuses[7] == copykv::Status::not_found);
}

}  // namespace

int main() {
  copykv::AttachResult attached = copykv::Client::attach({.queue_depth = kQueueDepth});
  if (!attached.client) {
    std::fprintf(stderr, "pipeline: %s\n", attached.error.c_str());
    return 1;
  }
  write_and_read(*attached.client);
  batches(*attached.client);
  std::printf("pipeline: %llu keys written and read, up to %u in flight\n",
              static_cast<unsigned long long>(kKeys), kQueueDepth);
  return 0;
}
