// SPDX-License-Identifier: Apache-2.0
// How a client attaches: messages over a SOCK_SEQPACKET unix socket, one struct a message.
//
//   client  Hello                                     -> daemon
//   daemon  Welcome + descriptors                     -> client   (or a Welcome that refuses)
//   client  BulkRequest                               -> daemon   any time later
//   daemon  BulkGrant                                 -> client
//   either  end-of-file: the other side is gone
//
// Descriptors with a Welcome, in this order: segment (read-write), rank page (read-only), D wake
// eventfds, D stores (sealed: can only be mapped read-only).
//
// All integers are little-endian as the machine has them: both sides run on it.
// TRUST  Every field is checked by check_hello before use (fuzzed: tests/fuzz/handshake).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "shm/segment.hpp"

namespace copykv {

inline constexpr uint64_t kHandshakeMagic = 0x6f6c685f766b7063;  // "cpkv_hlo"

enum class MessageType : uint32_t { hello = 1, welcome = 2, bulk_request = 3, bulk_grant = 4 };

struct MessageHead {
  uint64_t magic;
  uint16_t abi_major;
  uint16_t abi_minor;
  uint32_t type;  ///< MessageType
  uint32_t message_bytes;
  uint32_t reserved;
};
static_assert(sizeof(MessageHead) == 24);

/// Why an attach was refused. The text of the Welcome says the remedy.
enum class Refusal : uint32_t {
  none = 0,
  bad_message = 1,  ///< not a Hello at all
  version = 2,      ///< ABI major differs
  fingerprint = 3,  ///< same version, other layout: built with other options
  wrong_user = 4,   ///< peer uid is neither ours nor root
  bad_options = 5,  ///< queue depth, payload or bulk size out of range
  too_many = 6,     ///< --max-clients reached
  no_memory = 7,    ///< segment memory could not be allocated
  stopping = 8,     ///< the daemon is shutting down
};

struct Hello {
  MessageHead head;
  uint64_t fingerprint;
  uint32_t queue_depth;
  uint32_t slot_payload_bytes;
  uint64_t bulk_bytes_max;
  uint32_t has_membarrier;  ///< 1: registered for membarrier(2)
  uint32_t reserved;
};
static_assert(sizeof(Hello) == 56);

struct Welcome {
  MessageHead head;
  uint64_t fingerprint;
  uint32_t refusal;  ///< Refusal
  uint32_t daemon_count;
  uint64_t segment_bytes;
  uint64_t rank_page_bytes;
  uint32_t fence_free;  ///< 1: both sides use membarrier (shm/wake.hpp)
  uint32_t reserved;
  char text[256];  ///< zero-terminated; the reason and the remedy of a refusal
};
static_assert(sizeof(Welcome) == 320);

struct BulkRequest {
  MessageHead head;
  uint64_t bytes;  ///< how much of the bulk area, from its start, should have memory
};

struct BulkGrant {
  MessageHead head;
  uint64_t bytes;  ///< how much of it has memory now
  char text[256];  ///< why it is less than asked
};

[[nodiscard]] MessageHead message_head(MessageType type, uint32_t message_bytes) noexcept;
void set_text(std::span<char> to, std::string_view text) noexcept;
[[nodiscard]] std::string get_text(std::span<const char> from);

/// Checks a received Hello of `bytes` bytes. `text` gets the reason and the remedy.
[[nodiscard]] Refusal check_hello(const void* message, size_t bytes, std::string& text);
/// Whether a message after the Hello is a well-formed BulkRequest.
[[nodiscard]] bool check_bulk_request(const void* message, size_t bytes) noexcept;

/// Sends one message with descriptors; never blocks. False: the peer is gone or does not read.
[[nodiscard]] bool send_message(int socket, const void* message, size_t bytes,
                                std::span<const int> descriptors = {}) noexcept;

struct Received {
  ssize_t bytes = 0;  ///< 0: end-of-file; -1: error (errno), also when it would block
  std::vector<Fd> descriptors;
};
/// Receives one message; blocks as the socket does. Excess descriptors are closed.
[[nodiscard]] Received receive_message(int socket, void* message, size_t bytes_max);

}  // namespace copykv
