// SPDX-License-Identifier: Apache-2.0
// The two ends of DC on mlx5: initiators (DCI), each of which sends to any target, one target at a
// time; and the target (DCT) that all peers of an endpoint send to.
//
// Nothing in them retries for ever: a peer that does not acknowledge, or has no receive entries, is
// given up within 8 ms, since whoever shares the initiator with it waits for as long.
#pragma once

#include <infiniband/mlx5dv.h>

#include <cstdint>

#include "base/error.hpp"
#include "copyrpc/fabric/verbs/device.hpp"
#include "copyrpc/fabric/verbs/path.hpp"
#include "copyrpc/fabric/verbs/request.hpp"

namespace copyrpc::verbs {

/// What a peer must know of this side's target; travels in the side channel's offer.
struct DcEnd {
  uint64_t access_key = 0;
  PathEnd path{};
  uint32_t number = 0;
};
static_assert(sizeof(DcEnd) == 32);

/// Whom a request is for, as each of them says.
struct DcWay {
  ibv_ah* address = nullptr;
  uint32_t number = 0;
  uint64_t access_key = 0;
};

class Dci {
 public:
  struct Sizes {
    uint32_t requests = 0;
    uint32_t inline_bytes = 0;
  };
  Dci() = default;
  /// Ready to send.
  [[nodiscard]] static copykv::Outcome<Dci> make(const Device& device, ibv_cq* completions,
                                                 const Sizes& sizes);

  /// Between begin and end: no, one or many requests, which leave with end, in this order.
  void begin() noexcept { ibv_wr_start(extended_); }
  void add(const Request& request, const DcWay& way, uint64_t id, bool signalled) noexcept;
  /// 0, or an errno value: none of them has been posted.
  [[nodiscard]] int end() noexcept { return ibv_wr_complete(extended_); }

  /// From ERR to ready again; what was in its queue is dropped, and so are its completions that
  /// have not been polled. 0, or an errno value. Makes system calls.
  [[nodiscard]] int recover(const Device& device) noexcept;
  [[nodiscard]] uint32_t number() const noexcept { return queue_->qp_num; }
  [[nodiscard]] uint32_t inline_bytes() const noexcept { return inline_bytes_; }

 private:
  [[nodiscard]] int bring_up(const Device& device) noexcept;

  Owned<ibv_qp> queue_;
  ibv_qp_ex* extended_ = nullptr;
  mlx5dv_qp_ex* direct_ = nullptr;
  uint32_t inline_bytes_ = 0;
};

class Dct {
 public:
  Dct() = default;
  /// Takes in from now on, from whoever knows the number and the key, which is random.
  [[nodiscard]] static copykv::Outcome<Dct> make(const Device& device, ibv_cq* completions,
                                                 ibv_srq* receives);
  [[nodiscard]] DcEnd end(const Device& device) const noexcept;
  [[nodiscard]] uint32_t number() const noexcept { return queue_->qp_num; }

 private:
  Owned<ibv_qp> queue_;
  uint64_t access_key_ = 0;
};

}  // namespace copyrpc::verbs
