// SPDX-License-Identifier: Apache-2.0
// Some endpoints of the fabric under test in one thread, and what they have told so far.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "copyrpc/fabric/fabric.hpp"
#include "tests/conformance/transport.hpp"

namespace copyrpc::conformance {

/// One endpoint and its history.
struct Side {
  std::unique_ptr<Fabric> fabric;
  std::function<void(uint32_t immediate)> on_arrival;  ///< in the moment it is polled
  std::vector<uint32_t> arrived;
  std::vector<Completion> ended;  ///< done and failed
  std::vector<Completion> lost;

  void poll();
  [[nodiscard]] uint32_t count(Completion::Kind kind, uint64_t context) const;
  /// Ends of that post, of either kind.
  [[nodiscard]] uint32_t ends(uint64_t context) const {
    return count(Completion::Kind::done, context) + count(Completion::Kind::failed, context);
  }
  [[nodiscard]] bool has_lost(PeerId peer) const;
};

/// Registered memory of one side, filled with one byte value.
class Buffer {
 public:
  Buffer(Side& side, uint64_t bytes, Access access, std::byte fill = {});
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  [[nodiscard]] std::byte* data() noexcept { return bytes_.data(); }
  [[nodiscard]] uint64_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] const Memory& memory() const noexcept { return memory_; }
  [[nodiscard]] const RemoteMemory& remote() const noexcept { return memory_.remote; }
  [[nodiscard]] LocalPart part(uint64_t offset, uint32_t bytes) const noexcept {
    return {&memory_, offset, bytes};
  }
  [[nodiscard]] LocalPart all() const noexcept {
    return {&memory_, 0, static_cast<uint32_t>(bytes_.size())};
  }
  void fill(std::byte value) noexcept;
  /// Different bytes for each seed, and at each place.
  void fill_pattern(uint64_t seed) noexcept;
  [[nodiscard]] bool holds(std::byte value) const noexcept;
  /// As fill_pattern of a buffer of `bytes` bytes.
  [[nodiscard]] bool holds_pattern(uint64_t seed, uint64_t bytes) const noexcept;
  void deregister();
  void register_again(Access access);

 private:
  Side& side_;
  std::vector<std::byte> bytes_;
  Memory memory_;
};

class World {
 public:
  explicit World(const Wish& wish = {});

  [[nodiscard]] Side& add();
  /// Destroys the endpoint, as its process would at its end.
  void remove(Side& side);
  /// `from` calls `to` by that number.
  void connect(Side& from, PeerId as, const Side& to);
  /// Two endpoints that know each other as peer 1 (of the first) and peer 0 (of the second).
  void connect_pair(Side& first, Side& second);

  /// Polls everyone once; `only` that one, if it is not null.
  void progress(Side* only = nullptr);
  /// Until it holds; false: it did not, within 10 s or a million steps of virtual time.
  [[nodiscard]] bool until(const std::function<bool()>& condition, Side* only = nullptr);
  /// Long enough for all that is on its way to arrive.
  void settle();
  /// Posts, polling everyone as long as there is no room.
  [[nodiscard]] Fabric::Posted post(const std::function<Fabric::Posted()>& attempt);

  /// False, with a line in the log, when the fabric does not keep that promise.
  [[nodiscard]] bool keeps(std::string Transport::*broken_promise) const;
  [[nodiscard]] const Transport& transport() const noexcept { return transport_; }

 private:
  Transport transport_;
  Wish wish_;
  std::vector<std::unique_ptr<Side>> sides_;
};

}  // namespace copyrpc::conformance
