// SPDX-License-Identifier: Apache-2.0
// What a device tells outside its completion queues: queue pairs that have failed without a request
// of ours (a peer's access was refused), ports that go and come, the device's own end.
#pragma once

#include <cstdint>
#include <string_view>

#include "copyrpc/fabric/verbs/owned.hpp"

namespace copyrpc::verbs {

struct AsyncEvent {
  bool of_queue_pair = false;  ///< that queue pair can do nothing more
  bool fatal = false;          ///< nothing of this endpoint can
  uint32_t queue_pair = 0;
  std::string_view words;
};

/// 0, or an errno value.
[[nodiscard]] int make_nonblocking(int fd) noexcept;
/// False: there is none now. Makes a system call.
[[nodiscard]] bool next_async_event(ibv_context* context, AsyncEvent& event) noexcept;

}  // namespace copyrpc::verbs
