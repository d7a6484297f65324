// SPDX-License-Identifier: Apache-2.0
// What copyrpc puts on the wire, byte by byte. Little-endian. Every structure is copied out of
// memory that a peer may write, checked as a whole, and only the copy is used.
//
//   immediate   32 bits with every write that the peer is told of: kind, who sends, session tag
//   card        one per node, by the bootstrap: where and as whom it can be reached
//   hello       one per pair and session, into the peer's mailbox: grants a ring
//   batch       header (32 B), then whole messages: what one write with immediate carries
//   message     header (16 B), then the payload, padded to 16 bytes
//   credit      8 bytes, written into the peer's credit cell: releases and sign of life
//
// docs/protocol.md shows each with an example; tests/unit/copyrpc/protocol_example_test compares.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "copyrpc/fabric/fabric.hpp"

namespace copyrpc {

inline constexpr uint16_t kWireVersion = 1;

/// A node of a job: one daemon thread. Also its PeerId everywhere.
inline constexpr uint32_t kNodesMax = 1U << 14;

// ---- immediate

enum class Told : uint8_t { hello = 1, batch = 2 };

inline constexpr uint16_t kTagMax = 0xfff;
/// Tells an arrival that is reported twice from the next one: that one's bytes may be half there.
inline constexpr uint32_t kImmediateNumbers = 16;

struct Immediate {
  Told told;
  PeerId sender;
  uint16_t tag;     ///< batch: of the session, as granted by the receiver. hello: 0
  uint32_t number;  ///< batch: its number, modulo kImmediateNumbers. hello: 0

  [[nodiscard]] constexpr uint32_t pack() const noexcept {
    return static_cast<uint32_t>(told) | sender << 2 | uint32_t{tag} << 16 |
           (number % kImmediateNumbers) << 28;
  }
  [[nodiscard]] static constexpr Immediate unpack(uint32_t word) noexcept {
    return {static_cast<Told>(word & 3), (word >> 2) & (kNodesMax - 1),
            static_cast<uint16_t>(word >> 16 & kTagMax), word >> 28};
  }
};
static_assert(Immediate::unpack(Immediate{Told::batch, kNodesMax - 1, kTagMax, 15}.pack()).sender ==
              kNodesMax - 1);

// ---- card

/// What a node publishes through the bootstrap.
struct Card {
  PeerId node = 0;
  uint64_t incarnation = 0;  ///< grows with each start of the same node
  RemoteMemory mailbox{};    ///< kMailboxBytes per node of the job, by its number
  std::string address;       ///< Fabric::address

  [[nodiscard]] std::string pack() const;
  /// The error says what is wrong with the bytes.
  [[nodiscard]] static copykv::Outcome<Card> unpack(std::string_view bytes);
};

// ---- hello

inline constexpr uint32_t kHelloMagic = 0x6c68'7263;  // "crhl"
inline constexpr uint32_t kMailboxBytes = 256;

/// "Write your calls and answers here, under this session."
struct Hello {
  uint32_t magic;
  uint16_t version;
  uint16_t leaving;          ///< 1: no new calls, please
  uint64_t session;          ///< of this grant; grows, never 0
  uint64_t seen_session;     ///< newest grant got from the receiver; 0: none
  uint64_t incarnation;      ///< of the sender
  uint64_t for_incarnation;  ///< of the receiver, as the sender knows it
  RemoteMemory ring;         ///< ring_bytes of messages, then the credit cell
  uint32_t ring_bytes;       ///< a power of two; both sides use the smaller of the two
  uint32_t message_bytes_max;
  uint32_t batches_max;  ///< batches that may stand in the ring, not yet released
  PeerId sender;
  uint32_t tag;           ///< 12 bits, to be put into each immediate of this session
  uint32_t over_session;  ///< low half of the newest grant got that must not be used again; 0: none
  uint64_t checksum;      ///< XXH3 of all before it: a mailbox can be overwritten while it is read
};
static_assert(sizeof(Hello) == 96 && sizeof(Hello) <= kMailboxBytes);

[[nodiscard]] uint64_t checksum_of(const Hello& hello) noexcept;

// ---- batch

struct BatchHeader {
  uint32_t batch_bytes;  ///< with this header, a multiple of 16
  uint16_t message_count;
  uint16_t version;
  uint64_t session;     ///< the receiver's grant
  uint32_t number;      ///< of the batch in its session, from 0
  uint32_t released;    ///< batches of the receiver that the sender has released, in this session
  uint16_t call_count;  ///< of the messages
  uint16_t reserved;    ///< 0
  uint32_t reserved2;   ///< 0
};
static_assert(sizeof(BatchHeader) == 32);

// ---- message

enum class MessageKind : uint8_t { call = 1, answer = 2 };

struct MessageHeader {
  uint32_t payload_bytes;
  MessageKind kind;
  uint8_t reserved;      ///< 0
  uint16_t answer_room;  ///< call: largest answer payload, in units of 16 bytes. answer: 0
  uint64_t id;           ///< chosen by the caller: index and generation

  [[nodiscard]] bool is_call() const noexcept { return kind == MessageKind::call && reserved == 0; }
  [[nodiscard]] bool is_answer() const noexcept {
    return kind == MessageKind::answer && reserved == 0 && answer_room == 0;
  }
};
static_assert(sizeof(MessageHeader) == 16);

inline constexpr uint32_t kGrainBytes = 16;
[[nodiscard]] constexpr uint32_t round_up_16(uint32_t bytes) noexcept {
  return (bytes + 15U) & ~15U;
}
/// Ring bytes of a message.
[[nodiscard]] constexpr uint32_t message_bytes(uint32_t payload_bytes) noexcept {
  return static_cast<uint32_t>(sizeof(MessageHeader)) + round_up_16(payload_bytes);
}
/// Ring bytes that a message takes at most: it may have to open a batch.
[[nodiscard]] constexpr uint32_t message_cost(uint32_t payload_bytes) noexcept {
  return static_cast<uint32_t>(sizeof(BatchHeader)) + message_bytes(payload_bytes);
}

// ---- credit cell

struct Credit {
  uint32_t released;  ///< as BatchHeader::released
  uint32_t beat;      ///< grows: the sender is alive

  [[nodiscard]] constexpr uint64_t pack() const noexcept {
    return uint64_t{released} | uint64_t{beat} << 32;
  }
  [[nodiscard]] static constexpr Credit unpack(uint64_t word) noexcept {
    return {static_cast<uint32_t>(word), static_cast<uint32_t>(word >> 32)};
  }
};
/// The cell stands behind the ring, in a page of its own: one registration, one key per session.
inline constexpr uint32_t kCreditPageBytes = 4096;

}  // namespace copyrpc
