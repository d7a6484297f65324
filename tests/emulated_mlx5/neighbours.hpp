// SPDX-License-Identifier: Apache-2.0
// Other processes on the emulated network: a thread of the device carries requests between them
// over Unix sockets, whatever the process itself does.
//
// A process joins when COPYKV_EMULATED_MLX5 names a directory and time is real. It takes the first
// free place of 1..255 there; the upper 8 bits of a queue pair's number say the place of its
// process. A request goes in parts of kPartBytes, each answered before the next one leaves, so that
// a large one takes effect in pieces. A process that has ended answers nothing. One that is stopped
// counts as a card without power after kSilenceNsMax; a card would go on without its process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "tests/emulated_mlx5/network.hpp"

namespace emulated_mlx5 {

/// In place of the time-outs and retries of a queue pair: those are of a network card's time scale,
/// not of a scheduler's.
inline constexpr uint64_t kSilenceNsMax = 500'000'000;

inline constexpr uint32_t kPlaceShift = 16;  // of the 24 bits of a queue pair's number

class Neighbours {
 public:
  /// Null: this process is alone, since nobody names a directory.
  [[nodiscard]] static std::unique_ptr<Neighbours> join();

  [[nodiscard]] uint32_t place() const noexcept { return place_; }
  [[nodiscard]] bool has(uint32_t pair_number) const noexcept {
    return pair_number >> kPlaceShift == place_;
  }
  /// The next part of the pair's first request that has not arrived. False: nobody is there.
  [[nodiscard]] bool send_part(Network& network, Pair& pair, const Ask& ask);

 private:
  static constexpr uint32_t kPartBytes = 16'384;

  struct Link {
    copykv::Fd fd;
    uint32_t to_place = 0;  ///< 0: it was they who called, and only their requests come here
    std::deque<std::string> outgoing{};
    bool ended = false;
  };
  struct PartHead;

  explicit Neighbours(std::string directory);
  void take_place();
  [[nodiscard]] Link* link_to(uint32_t place);
  void send(Link& link, std::string message);
  static void flush(Link& link);
  [[noreturn]] void run();
  void take_messages(Network& network, Link& link);
  void serve(Network& network, Link& link, PartHead part, std::string_view payload);
  void take_answer(Network& network, const PartHead& part, std::string_view payload);
  void drop_ended(Network& network);
  static void give_up(Network& network, Pair& pair);
  static void give_up_silent(Network& network);

  std::string directory_;
  uint32_t place_ = 0;
  copykv::Fd place_lock_;
  copykv::Fd listener_;
  copykv::Fd wake_;
  std::vector<std::unique_ptr<Link>> links_;  ///< under the network's mutex
};

}  // namespace emulated_mlx5
