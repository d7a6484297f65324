// SPDX-License-Identifier: Apache-2.0
// Large values without needless copies, and writers that do not overwrite each other.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <utility>
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

constexpr size_t kFrameBytes = size_t{4} << 20;

std::byte pixel(size_t at, uint64_t frame) {
  return static_cast<std::byte>((at * 31 + frame * 7) & 0xff);
}

// Fills memory that the daemon reads directly: the value is not copied on this side.
copykv::Result put_frame(copykv::Client& kv, uint64_t frame) {
  copykv::Buffer buffer = kv.reserve(kFrameBytes);
  CHECK(buffer);
  CHECK(buffer.bytes().size() == kFrameBytes);
  for (size_t at = 0; at < kFrameBytes; ++at) buffer.bytes()[at] = pixel(at, frame);
  return kv.put("camera", std::move(buffer));
}

void zero_copy(copykv::Client& kv) {
  CHECK(put_frame(kv, 1).ok());
  CHECK(put_frame(kv, 2).ok());

  // Read in place: a view of shared memory, valid until the next call.
  const copykv::Result view = kv.get("camera");
  CHECK(view.ok() && view.value.size() == kFrameBytes);
  for (size_t at = 0; at < kFrameBytes; ++at) CHECK(view.bytes()[at] == pixel(at, 2));

  // Read into own memory; one that is too small tells the size that is needed.
  std::vector<std::byte> own(16);
  const copykv::Result too_small = kv.get("camera", own);
  CHECK(too_small.status == copykv::Status::buffer_too_small);
  CHECK(too_small.value_bytes == kFrameBytes);
  own.resize(too_small.value_bytes);
  const copykv::Result copied = kv.get("camera", own);
  CHECK(copied.ok() && copied.value_bytes == kFrameBytes);
  CHECK(own[12'345] == pixel(12'345, 2));
}

// Read, change, write back only if nobody else has written meanwhile; else begin again.
uint32_t append(copykv::Client& kv, char mark) {
  for (uint32_t attempts = 1;; ++attempts) {
    const copykv::Result old = kv.get("log");
    CHECK(old.ok());
    const std::string longer = std::string(old.value) + mark;
    const copykv::Result put = kv.put(
        "log", longer, {.when = copykv::PutOptions::When::if_version, .version = old.version});
    if (put.ok()) return attempts;
    CHECK(put.status == copykv::Status::condition_failed);
  }
}

void optimistic_concurrency(copykv::Client& kv, copykv::Client& other) {
  // Whoever comes first creates it; the others find it there.
  (void)kv.del("log");
  const copykv::PutOptions create{.when = copykv::PutOptions::When::if_absent};
  CHECK(kv.put("log", "", create).ok());
  CHECK(other.put("log", "", create).status == copykv::Status::condition_failed);

  // A version read before someone else's write no longer fits.
  const uint64_t stale = kv.get("log").version;
  CHECK(append(other, 'b') == 1);
  const copykv::Result lost =
      kv.put("log", "lost", {.when = copykv::PutOptions::When::if_version, .version = stale});
  CHECK(lost.status == copykv::Status::condition_failed);
  CHECK(lost.version > stale);  // the version that stands there

  (void)append(kv, 'a');
  (void)append(other, 'b');
  CHECK(kv.get("log").value == "bab");
  CHECK(kv.del("log").ok());
}

}  // namespace

int main() {
  copykv::AttachResult attached = copykv::Client::attach({});
  copykv::AttachResult second = copykv::Client::attach({});
  if (!attached.client || !second.client) {
    std::fprintf(stderr, "large_values: %s%s\n", attached.error.c_str(), second.error.c_str());
    return 1;
  }
  zero_copy(*attached.client);
  optimistic_concurrency(*attached.client, *second.client);
  CHECK(attached.client->del("camera").ok());
  std::printf("large_values: frames of %zu bytes put and read in place\n", kFrameBytes);
  return 0;
}
