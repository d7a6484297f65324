// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/copyrpc/protocol_example_tape.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>
#include <stdexcept>

#include "copyrpc/fabric/ofi/address.hpp"

namespace copykv::test {

using copyrpc::Access;
using copyrpc::Completion;
using copyrpc::FabricLimits;
using copyrpc::LocalPart;
using copyrpc::Memory;
using copyrpc::PeerId;
using copyrpc::RemoteMemory;

/// 10.0.0.N:40000, N from 1 on.
class TapeEndpoint final : public copyrpc::Fabric {
 public:
  TapeEndpoint(Tape& tape, uint32_t number) : tape_(tape), number_(number) {}
  ~TapeEndpoint() override { tape_.endpoints_[number_] = nullptr; }

  [[nodiscard]] std::string_view name() const noexcept override { return "tape"; }
  [[nodiscard]] const FabricLimits& limits() const noexcept override { return limits_; }

  [[nodiscard]] std::string address() const override {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(40'000);
    at.sin_addr.s_addr = htonl(0x0a00'0001 + number_);
    copyrpc::ofi::EndpointAddress address{.connected = true};
    for (size_t index = 0; index < address.identity.size(); ++index) {
      address.identity[index] = static_cast<char>((number_ + 1) << 4 | index);
    }
    address.raw.assign(reinterpret_cast<const char*>(&at), sizeof(at));
    return *copyrpc::ofi::encode_address(address);
  }

  [[nodiscard]] Outcome<Memory> register_memory(std::byte* base, uint64_t bytes,
                                                Access access) override {
    Memory memory{base, bytes, {}, nullptr};
    if (access == Access::local) return memory;
    memory.remote = {0, ++tape_.last_key_, bytes};
    tape_.regions_[tape_.last_key_] = {base, bytes};
    return memory;
  }
  void deregister(Memory& memory) override {
    tape_.regions_.erase(memory.remote.key);
    memory = {};
  }

  [[nodiscard]] Outcome<void> connect(PeerId peer, std::string_view address) override {
    for (TapeEndpoint* other : tape_.endpoints_) {
      if (other != nullptr && other->address() == address) peers_[peer] = other->number_;
    }
    if (peers_.contains(peer)) return {};
    return Failure{"nobody has this address"};
  }
  void disconnect(PeerId peer) override { peers_.erase(peer); }

  [[nodiscard]] Posted write(PeerId peer, const LocalPart& from, const RemoteMemory& to,
                             uint64_t context) noexcept override {
    return post(peer, from, to, context, std::nullopt);
  }
  [[nodiscard]] Posted write_immediate(PeerId peer, const LocalPart& from, const RemoteMemory& to,
                                       uint32_t immediate, uint64_t context) noexcept override {
    return post(peer, from, to, context, immediate);
  }
  [[nodiscard]] Posted read(PeerId peer, const LocalPart& to, const RemoteMemory& from,
                            uint64_t context) noexcept override {
    std::memcpy(to.memory->base + to.offset, at(from, to.bytes), to.bytes);
    complete(peer, context);
    return Posted::yes;
  }
  void submit() noexcept override {}

  [[nodiscard]] uint32_t poll(std::span<Completion> completions) noexcept override {
    uint32_t count = 0;
    for (; count < completions.size() && !completions_.empty(); ++count) {
      completions[count] = completions_.front();
      completions_.pop_front();
    }
    return count;
  }
  [[nodiscard]] int wait_fd() const noexcept override { return -1; }
  [[nodiscard]] bool arm() noexcept override { return false; }

 private:
  [[nodiscard]] std::byte* at(const RemoteMemory& memory, uint32_t bytes) const {
    const Tape::Region& region = tape_.regions_.at(memory.key);
    if (memory.address + bytes > region.bytes) throw std::out_of_range("outside the region");
    return region.base + memory.address;
  }
  void complete(PeerId peer, uint64_t context) {
    if (context == copyrpc::kUnsignalled) return;
    completions_.push_back({.kind = Completion::Kind::done, .peer = peer, .context = context});
  }
  [[nodiscard]] Posted post(PeerId peer, const LocalPart& from, const RemoteMemory& to,
                            uint64_t context, std::optional<uint32_t> immediate) {
    const std::byte* bytes = from.memory->base + from.offset;
    std::memcpy(at(to, from.bytes), bytes, from.bytes);
    tape_.posts.push_back(
        {number_, std::string(reinterpret_cast<const char*>(bytes), from.bytes), immediate});
    complete(peer, context);
    if (immediate) {
      tape_.endpoints_.at(peers_.at(peer))
          ->completions_.push_back({.kind = Completion::Kind::arrived, .immediate = *immediate});
    }
    return Posted::yes;
  }

  Tape& tape_;
  const uint32_t number_;
  const FabricLimits limits_{.peers_max = 64, .posts_max = 64, .transfer_bytes_max = 1U << 30};
  std::map<PeerId, uint32_t> peers_{};
  std::deque<Completion> completions_{};
};

std::unique_ptr<copyrpc::Fabric> Tape::attach() {
  auto made = std::make_unique<TapeEndpoint>(*this, static_cast<uint32_t>(endpoints_.size()));
  endpoints_.push_back(made.get());
  return made;
}

}  // namespace copykv::test
