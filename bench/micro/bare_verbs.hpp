// SPDX-License-Identifier: Apache-2.0
// What plain verbs take, as the yardstick of copyrpc over `rc`: device, queue pair and queues are
// made by the same calls as those of the production fabric; between them and the loop is nothing
// but ibv_post_send, ibv_poll_cq and ibv_post_srq_recv. One WRITE with immediate for each message.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/histogram.hpp"
#include "copyrpc/fabric/verbs/completion_queue.hpp"
#include "copyrpc/fabric/verbs/memory.hpp"
#include "copyrpc/fabric/verbs/rc_queue_pair.hpp"
#include "copyrpc/fabric/verbs/receive_queue.hpp"

namespace copykv::bench {

class BareVerbs {
 public:
  /// Empty, or what went wrong.
  [[nodiscard]] std::string open(const copyrpc::VerbsOptions& options);
  ~BareVerbs();

  /// To be exchanged; then both sides connect.
  [[nodiscard]] std::string card() const;
  [[nodiscard]] bool connect(const std::string& card);

  /// `depth` messages of `bytes` in flight, `count` in all; the other side echoes each. False: it
  /// broke, or nothing came for 10 s.
  [[nodiscard]] bool ask(uint32_t depth, uint32_t count, uint32_t bytes,
                         Histogram* round_trip_ns) noexcept;
  [[nodiscard]] bool echo(uint32_t count, uint32_t bytes) noexcept;

 private:
  struct Card {
    copyrpc::verbs::RcEnd end;
    copyrpc::RemoteMemory memory;
  };
  [[nodiscard]] bool write(uint32_t bytes) noexcept;
  /// Messages that have come; negative: it broke.
  [[nodiscard]] int arrivals() noexcept;
  [[nodiscard]] int await_arrivals() noexcept;

  std::optional<copyrpc::verbs::Device> device_;
  std::optional<copyrpc::verbs::CompletionQueue> completions_;
  std::optional<copyrpc::verbs::ReceiveQueue> receives_;
  copyrpc::verbs::RcQueuePair queue_;
  ibv_qp* raw_ = nullptr;
  std::vector<std::byte> bytes_;
  copyrpc::Memory memory_{};
  copyrpc::RemoteMemory remote_{};
  uint32_t unsignalled_ = 0;
};

}  // namespace copykv::bench
