// SPDX-License-Identifier: Apache-2.0
// What libfabric itself takes, as the yardstick of copyrpc: endpoint, connection, ordering and
// completion queue are made by the same calls as those of the production fabric; between them and
// the loop is nothing but fi_writedata and fi_cq_read.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/histogram.hpp"
#include "copyrpc/fabric/ofi/links.hpp"

namespace copykv::bench {

class BareFabric final : private copyrpc::ofi::LinkEvents {
 public:
  /// `bytes`: of the memory that the other side may write.
  [[nodiscard]] static Outcome<std::unique_ptr<BareFabric>> open(const copyrpc::OfiOptions& options,
                                                                 uint64_t bytes);
  ~BareFabric();

  /// To be exchanged; then both sides connect, within seconds of each other.
  [[nodiscard]] std::string card() const;
  [[nodiscard]] Outcome<void> connect(const std::string& card);

  /// One side pings, the other serves as many rounds: 8 bytes and an immediate each way. False: the
  /// connection broke, or nothing came for 10 s.
  [[nodiscard]] bool ping(uint32_t rounds, Histogram& round_trip_ns) noexcept;
  [[nodiscard]] bool serve(uint32_t rounds) noexcept;

  /// One side streams `count` fi_writes of `bytes` bytes, kWindow in flight, the other serves one
  /// round: its answer says that all have landed. Returns bytes per second until then; 0: it broke.
  [[nodiscard]] double stream(uint32_t count, uint32_t bytes) noexcept;

  /// What a poll costs that finds nothing.
  [[nodiscard]] double empty_poll_ns() noexcept;
  [[nodiscard]] std::string provider() const;

 private:
  static constexpr uint32_t kWindow = 8;

  BareFabric() = default;
  [[nodiscard]] bool write(uint32_t bytes, uint64_t immediate, bool announced) noexcept;
  [[nodiscard]] bool wait_arrival(uint64_t immediate) noexcept;
  /// Reads the queue once. False: an error.
  [[nodiscard]] bool poll() noexcept;
  void link_up(copyrpc::PeerId, const copyrpc::ofi::Route& route) noexcept override {
    route_ = route;
  }
  void link_lost(copyrpc::PeerId, int32_t) noexcept override { lost_ = true; }

  copyrpc::ofi::Domain domain_;
  std::unique_ptr<copyrpc::ofi::Links> links_;
  std::vector<std::byte> bytes_;
  copyrpc::Memory memory_{};
  copyrpc::ofi::Route route_{};
  copyrpc::RemoteMemory remote_{};
  bool lost_ = false;
  uint64_t arrived_ = 0;  ///< immediates so far; the n-th is n
  uint64_t expected_ = 0;
  uint64_t sent_ = 0;
  uint64_t written_ = 0;   ///< writes that have been posted
  uint64_t finished_ = 0;  ///< and completed
};

}  // namespace copykv::bench
