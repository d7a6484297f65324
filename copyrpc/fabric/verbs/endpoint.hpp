// SPDX-License-Identifier: Apache-2.0
// What the fabrics rc and dc have in common: a device with its queues, the side channel, and who is
// connected. What they differ in is how a post leaves and what its end means.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "copyrpc/fabric/pending.hpp"
#include "copyrpc/fabric/verbs/async_events.hpp"
#include "copyrpc/fabric/verbs/completion_queue.hpp"
#include "copyrpc/fabric/verbs/receive_queue.hpp"
#include "copyrpc/fabric/verbs/request.hpp"
#include "copyrpc/fabric/verbs/side_channel.hpp"
#include "copyrpc/fabric/verbs/verbs_fabric.hpp"

namespace copyrpc::verbs {

inline constexpr uint64_t kTransferBytesMax = uint64_t{1} << 30;
inline constexpr uint32_t kPostsInTotalMax = 16'384;

/// Of the receive queue: what is asked for, or enough for every peer, but not more than `most`.
[[nodiscard]] uint32_t receive_entries(const VerbsOptions& options, uint32_t most) noexcept;

class Endpoint : public Fabric, protected SideEvents {
 public:
  [[nodiscard]] const FabricLimits& limits() const noexcept final { return limits_; }
  [[nodiscard]] std::string address() const final { return encode_address(side_->address()); }
  [[nodiscard]] copykv::Outcome<Memory> register_memory(std::byte* base, uint64_t bytes,
                                                        Access access) final {
    return verbs::register_memory(device_, base, bytes, access, options_.relaxed_ordering);
  }
  void deregister(Memory& memory) final { verbs::deregister(device_, memory); }
  [[nodiscard]] copykv::Outcome<void> connect(PeerId peer, std::string_view address) final;
  void disconnect(PeerId peer) final;
  [[nodiscard]] int wait_fd() const noexcept final { return side_->wait_fd(); }
  [[nodiscard]] bool arm() noexcept final;

 protected:
  static constexpr uint32_t kCompletionsPerPoll = 32;
  struct Peer {
    enum class State : uint8_t { free, connecting, up, lost } state = State::free;
    Slot slot = kNoSlot;

    /// What a post to it ends as while it is not up.
    [[nodiscard]] Posted refusal() const noexcept {
      return state == State::connecting ? Posted::full : Posted::down;
    }
  };

  /// `posts_in_total` may end at the same time.
  Endpoint(Kind kind, const VerbsOptions& options, Device device);
  void size_for(uint32_t posts_in_total);
  [[nodiscard]] copykv::Outcome<void> open_queues(uint32_t receives, uint32_t sends);
  [[nodiscard]] copykv::Outcome<void> open_side();
  /// While what they call into is still there.
  void disconnect_all();

  /// What a device reports. True: `out` is a completion.
  [[nodiscard]] virtual bool take(const ibv_wc& found, Completion& out) noexcept = 0;
  virtual void on_event(const AsyncEvent& event) noexcept = 0;

  /// Now and then: what has come over the side channel and from the device's events.
  void look_aside() noexcept {
    if (--polls_to_look_ == 0) [[unlikely]]
      progress();
  }

  // SideEvents
  void up(PeerId peer, Slot slot) noexcept override { peers_[peer] = {Peer::State::up, slot}; }
  void lost(PeerId peer, int32_t error) noexcept final;

  const Kind kind_;
  const VerbsOptions options_;
  Device device_;
  FabricLimits limits_;
  std::optional<CompletionQueue> completions_;
  std::optional<ReceiveQueue> receives_;
  std::optional<SideChannel> side_;
  std::vector<Peer> peers_;
  Pending pending_;  ///< completions that wait for the next poll

 private:
  void progress() noexcept;

  uint32_t polls_to_look_ = 1;
};

/// The least that queue pairs can be asked for with.
struct ProbeQueues {
  static constexpr uint32_t kEntries = 64;
  CompletionQueue completions;
  ReceiveQueue receives;
  [[nodiscard]] static copykv::Outcome<ProbeQueues> make(const Device& device);
};

/// `Made` has open(). An error begins with the name of the transport.
template <class Made>
[[nodiscard]] copykv::Outcome<std::unique_ptr<Fabric>> make_endpoint(std::string_view name,
                                                                     const VerbsOptions& options) {
  const auto failed = [&](const std::string& why) {
    return copykv::Failure{std::string(name) + ": " + why};
  };
  auto device = open_device(options);
  if (!device) return failed(device.error);
  auto fabric = std::make_unique<Made>(options, std::move(*device));
  if (auto opened = fabric->open(); !opened) return failed(opened.error);
  return std::unique_ptr<Fabric>(std::move(fabric));
}

}  // namespace copyrpc::verbs
