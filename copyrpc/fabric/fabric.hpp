// SPDX-License-Identifier: Apache-2.0
// What copyrpc wants of a network: one-sided writes and reads into registered memory of a peer, and
// a write that also tells the peer (write with immediate). One Fabric is one endpoint; every peer
// reaches it through the same address.
//
// THREADS   One thread uses a Fabric at a time; creation and use may be on different threads.
// COST      One virtual call per batch, never per message. post, submit and poll do not block.
//   connect, disconnect, register_memory and deregister may make system calls and allocate: they
//   happen when a peer comes or goes, and when a client's memory grows.
// PROMISES  (tests/conformance runs the same suite against every implementation)
//   F1  Writes to one peer, with and without immediate, take effect in the order in which they were
//       posted; an immediate is polled by the peer once, after every byte of the writes up to and
//       including its own is visible to the polling thread.
//   F2  Reads have no order with writes.
//   F3  Every accepted post that asks for it ends in exactly one completion, `done` or `failed`;
//       one that does not ask ends in at most one `failed`. Until then its local memory belongs to
//       the fabric. `done` says that the local memory is free again, and for a read that the data
//       is there; it does not say that the peer has seen anything.
//   F4  An error names its peer, and touches the posts of that peer only.
//   F5  After deregister returns, no access to that memory begins; one that had begun may go on
//       until its peer is disconnected.
//   F6  Posts become visible to the peer after submit at the latest, and may at once.
//   F7  Bytes are never reordered or duplicated, and an access outside the registered memory, or
//       with a key that is not (or no longer) valid, changes nothing: it ends as `failed`, or takes
//       the connection down.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace copyrpc {

/// A peer, as its fabric and node number it: from 0 to FabricLimits::peers_max - 1.
using PeerId = uint32_t;
inline constexpr PeerId kNoPeer = ~PeerId{0};

/// Memory of a peer, as it travels over the wire.
struct RemoteMemory {
  uint64_t address = 0;  ///< of the first byte, in the peer's terms
  uint64_t key = 0;
  uint64_t bytes = 0;

  /// The same memory from `offset` on.
  [[nodiscard]] RemoteMemory at(uint64_t offset) const noexcept {
    return {address + offset, key, bytes - offset};
  }
};

enum class Access : uint8_t {
  local,              ///< source or target of own posts only
  remote_write,       ///< peers may also write
  remote_read_write,  ///< peers may also read and write
};

/// Registered memory of this process.
struct Memory {
  std::byte* base = nullptr;
  uint64_t bytes = 0;
  RemoteMemory remote{};   ///< what to tell a peer, unless the access is local
  void* handle = nullptr;  ///< the fabric's

  [[nodiscard]] bool registered() const noexcept { return base != nullptr; }
};

/// One end of a post: `bytes` from `offset` of registered memory.
struct LocalPart {
  const Memory* memory = nullptr;
  uint64_t offset = 0;
  uint32_t bytes = 0;  ///< never 0
};

struct Completion {
  enum class Kind : uint8_t {
    arrived,    ///< a peer's write with immediate; `immediate` counts, the peer is not known
    done,       ///< a post of ours; `peer`, `context`
    failed,     ///< a post of ours; `peer`, `context`, `error`
    peer_lost,  ///< the connection to `peer` is gone; its posts fail or have failed
  };
  Kind kind = Kind::done;
  int32_t error = 0;  ///< positive errno value
  PeerId peer = kNoPeer;
  uint32_t immediate = 0;
  uint64_t context = 0;
};

/// `context` of a post that wants no `done`.
inline constexpr uint64_t kUnsignalled = 0;

struct FabricLimits {
  uint32_t peers_max = 0;
  uint32_t posts_max = 0;           ///< posts in flight to one peer before `full`
  uint32_t receive_entries = 0;     ///< immediates that may wait to be polled; 0: no limit
  uint32_t transfer_bytes_max = 0;  ///< of one post
  uint32_t send_queues = 0;         ///< that the peers share; 0: each has one of its own
  uint32_t inline_bytes = 0;  ///< writes of so many travel in the request; 0: none, or not known
  bool poll_is_system_call = false;  ///< a post or an empty poll: microseconds, not nanoseconds
};

class Fabric {
 public:
  virtual ~Fabric() = default;
  Fabric() = default;
  Fabric(const Fabric&) = delete;
  Fabric& operator=(const Fabric&) = delete;

  /// As in --transport: "sim", "ofi-tcp", ...
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  [[nodiscard]] virtual const FabricLimits& limits() const noexcept = 0;
  /// What peers need to connect: opaque, at most 128 bytes.
  [[nodiscard]] virtual std::string address() const = 0;

  [[nodiscard]] virtual copykv::Outcome<Memory> register_memory(std::byte* base, uint64_t bytes,
                                                                Access access) = 0;
  virtual void deregister(Memory& memory) = 0;

  /// Names a peer's endpoint `peer`. Does not wait for the peer; one that is not there shows later,
  /// as failed posts or peer_lost. The number is free: never connected, or disconnected.
  [[nodiscard]] virtual copykv::Outcome<void> connect(PeerId peer, std::string_view address) = 0;
  /// Posts in flight end (as `failed`, or `done` if they were through) in later polls; afterwards
  /// nothing names this connection any more, also when the number is connected again.
  virtual void disconnect(PeerId peer) = 0;

  enum class Posted : uint8_t {
    yes,
    full,  ///< no room in the send queue now: poll, then post again
    down,  ///< not connected, or the connection is known to be gone
  };
  /// Writes `from` to the start of `to`.
  [[nodiscard]] virtual Posted write(PeerId peer, const LocalPart& from, const RemoteMemory& to,
                                     uint64_t context) noexcept = 0;
  /// The same, and the peer polls `immediate`.
  [[nodiscard]] virtual Posted write_immediate(PeerId peer, const LocalPart& from,
                                               const RemoteMemory& to, uint32_t immediate,
                                               uint64_t context) noexcept = 0;
  /// Reads the start of `from` into `to`.
  [[nodiscard]] virtual Posted read(PeerId peer, const LocalPart& to, const RemoteMemory& from,
                                    uint64_t context) noexcept = 0;
  /// Lets posts leave that wait for company.
  virtual void submit() noexcept = 0;

  /// Makes progress and takes up to completions.size() completions.
  [[nodiscard]] virtual uint32_t poll(std::span<Completion> completions) noexcept = 0;

  /// Readable when poll has something to do, once armed. -1: this fabric cannot be slept on.
  [[nodiscard]] virtual int wait_fd() const noexcept = 0;
  /// Before sleeping on wait_fd. False: poll first.
  [[nodiscard]] virtual bool arm() noexcept = 0;
};

}  // namespace copyrpc
