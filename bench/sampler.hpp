// SPDX-License-Identifier: Apache-2.0
// A client's part in the stations of requests: marks every so many-th one that goes to another rank
// and keeps when it was published and seen. The newest kSamplesKept of a run are kept.
//
// A parameter of the measured loop: with NoSampler nothing of it is left there.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <copykv/client.hpp>

#include "bench/measure.hpp"
#include "shm/slot.hpp"

namespace copykv::bench {

struct NoSampler {
  void begin() noexcept {}
  void before(bool, std::string_view) noexcept {}
  void after(Status, uint32_t) noexcept {}
  void seen(uint32_t, uint64_t, uint64_t) noexcept {}
  void end(Measurement&) noexcept {}
};

class Sampler {
 public:
  static constexpr size_t kSamplesKept = 16'384;

  Sampler(Client& client, uint32_t every) : client_(&client), every_(every), kept_(kSamplesKept) {}

  void begin() noexcept {
    left_ = every_;
    marked_ = 0;
    finished_ = 0;
  }
  /// An operation is about to be submitted ...
  void before(bool remote, std::string_view key) noexcept {
    if (mark_) {  // was refused, and need not be the next one
      mark_.reset();
      left_ = 1;
    }
    if (!remote || --left_ > 0) return;
    left_ = 1;  // until a slot is free
    mark_ = client_->sample_next(key);
    if (mark_) left_ = every_;
  }
  /// ... and was, as number `place` of those in flight.
  void after(Status status, uint32_t place) noexcept {
    if (!mark_ || status != Status::ok) return;
    open_[place] = *mark_;
    open_bits_ |= uint64_t{1} << place;
    mark_.reset();
    ++marked_;
  }
  void seen(uint32_t place, uint64_t published_ns, uint64_t seen_ns) noexcept {
    if ((open_bits_ >> place & 1) == 0) return;
    open_bits_ &= ~(uint64_t{1} << place);
    const SampledRequest& mark = open_[place];
    kept_[finished_++ % kSamplesKept] = {mark.client, mark.daemon,  mark.slot,
                                         mark.seq,    published_ns, seen_ns};
  }
  void end(Measurement& measured) {
    measured.sampled = marked_;
    const auto count = static_cast<ptrdiff_t>(std::min<uint64_t>(finished_, kSamplesKept));
    measured.samples.assign(kept_.begin(), kept_.begin() + count);
  }

 private:
  Client* client_;
  uint32_t every_;
  uint32_t left_ = 0;
  std::optional<SampledRequest> mark_{};  ///< of the operation that is being submitted
  uint64_t marked_ = 0;
  uint64_t finished_ = 0;
  uint64_t open_bits_ = 0;  ///< places in flight that are sampled
  std::array<SampledRequest, kQueueDepthMax> open_{};
  std::vector<ClientSample> kept_;
};

}  // namespace copykv::bench
