// SPDX-License-Identifier: Apache-2.0
#include "bench/board.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>

namespace copykv::bench {
namespace {

constexpr uint64_t kAnswerWithinNs = 5 * kNanosPerSecond;
constexpr uint64_t kWaitMs = 100;
constexpr useconds_t kLookEveryUs = 1'000;
constexpr uint64_t kNoteBytesMax = uint64_t{16} << 20;

}  // namespace

Outcome<std::unique_ptr<ClientBoard>> ClientBoard::attach(const Options& options) {
  Options wanted = options;
  wanted.wait = Wait::park;  // one look a millisecond must not spin beside the load
  wanted.bulk_bytes_max = std::max(wanted.bulk_bytes_max, 2 * kNoteBytesMax);
  AttachResult attached = Client::attach(wanted);
  if (!attached.client) return Failure{attached.error};
  return std::unique_ptr<ClientBoard>(new ClientBoard(std::move(*attached.client)));
}

Status ClientBoard::put(std::string_view key, std::string_view value) {
  return finish(client_.submit_put(key, value, ++tag_), nullptr);
}

Status ClientBoard::get(std::string_view key, std::string& value) {
  return finish(client_.submit_get(key, ++tag_), &value);
}

Status ClientBoard::finish(Status submitted, std::string* value) {
  // A note that was given up keeps its slot: with all of them taken, the daemon has stopped.
  if (submitted != Status::ok) {
    return submitted == Status::would_block ? Status::disconnected : submitted;
  }
  const uint64_t give_up_ns = now_ns() + kAnswerWithinNs;
  std::array<Completion, 1> done;
  while (now_ns() < give_up_ns) {
    if (client_.wait(done, kWaitMs) == 0) {
      if (client_.in_flight() == 0) break;
      continue;
    }
    if (done[0].tag != tag_) continue;
    if (value != nullptr && done[0].result.ok()) *value = done[0].result.value;
    return done[0].result.status;
  }
  return Status::disconnected;
}

void ClientBoard::pause() {
  ::usleep(kLookEveryUs);
}

}  // namespace copykv::bench
