// SPDX-License-Identifier: Apache-2.0
#include "shm/handshake.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace copykv {
namespace {

// Segment, rank page, and two for each daemon.
constexpr size_t kDescriptorsMax = 2 + 2 * kDaemonsMax;

}  // namespace

MessageHead message_head(MessageType type, uint32_t message_bytes) noexcept {
  return {kHandshakeMagic, kAbiMajor, kAbiMinor, static_cast<uint32_t>(type), message_bytes, 0};
}

void set_text(std::span<char> to, std::string_view text) noexcept {
  const size_t bytes = std::min(text.size(), to.size() - 1);
  std::memcpy(to.data(), text.data(), bytes);
  std::memset(to.data() + bytes, 0, to.size() - bytes);
}

std::string get_text(std::span<const char> from) {
  return {from.data(), ::strnlen(from.data(), from.size())};
}

Refusal check_hello(const void* message, size_t bytes, std::string& text) {
  MessageHead head;
  if (bytes < sizeof(head)) {
    text = fmt::format("the attach message is truncated: {} B, {} B needed; use libcopykv", bytes,
                       sizeof(Hello));
    return Refusal::bad_message;
  }
  std::memcpy(&head, message, sizeof(head));
  if (head.magic != kHandshakeMagic || head.type != static_cast<uint32_t>(MessageType::hello)) {
    text = "not a copykv attach message; use libcopykv";
    return Refusal::bad_message;
  }
  if (head.abi_major != kAbiMajor) {
    text = fmt::format(
        "client library has ABI {}.{}, this copykvd {}.{}; use a library and a daemon of the same "
        "release",
        head.abi_major, head.abi_minor, kAbiMajor, kAbiMinor);
    return Refusal::version;
  }
  if (bytes != sizeof(Hello) || head.message_bytes != sizeof(Hello)) {
    text = fmt::format("the attach message has {} B, {} B needed; use libcopykv", bytes,
                       sizeof(Hello));
    return Refusal::bad_message;
  }
  Hello hello;
  std::memcpy(&hello, message, sizeof(hello));
  if (hello.fingerprint != layout_fingerprint()) {
    text = fmt::format(
        "client library lays out shared memory as {:016x}, this copykvd as {:016x}; build both "
        "from the same sources",
        hello.fingerprint, layout_fingerprint());
    return Refusal::fingerprint;
  }
  const SegmentGeometry geometry{0, 1, hello.queue_depth, hello.slot_payload_bytes,
                                 hello.bulk_bytes_max};
  if (!geometry.is_valid() || hello.has_membarrier > 1) {
    text = fmt::format(
        "attach options out of range: queue depth {} (1..{}), slot payload {} B ({}..{}, multiple "
        "of {}), bulk {} B (multiple of {}, at most 1 TiB)",
        hello.queue_depth, kQueueDepthMax, hello.slot_payload_bytes, kSlotPayloadBytesMin,
        kSlotPayloadBytesMax, kPageBytes, hello.bulk_bytes_max, kPageBytes);
    return Refusal::bad_options;
  }
  return Refusal::none;
}

bool check_bulk_request(const void* message, size_t bytes) noexcept {
  BulkRequest request;
  if (bytes != sizeof(request)) return false;
  std::memcpy(&request, message, sizeof(request));
  return request.head.magic == kHandshakeMagic &&
         request.head.type == static_cast<uint32_t>(MessageType::bulk_request);
}

bool send_message(int socket, const void* message, size_t bytes,
                  std::span<const int> descriptors) noexcept {
  iovec part{const_cast<void*>(message), bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kDescriptorsMax)];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    std::memset(control, 0, sizeof(control));
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  return ::sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(bytes);
}

Received receive_message(int socket, void* message, size_t bytes_max) {
  iovec part{message, bytes_max};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kDescriptorsMax)];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  Received received;
  // A peer that closed before it read everything is reported once, ahead of what it had sent.
  bool was_reset = false;
  do {
    received.bytes = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (received.bytes < 0 &&
           (errno == EINTR || (errno == ECONNRESET && !std::exchange(was_reset, true))));
  if (received.bytes < 0) return received;
  for (cmsghdr* part_of = CMSG_FIRSTHDR(&header); part_of != nullptr;
       part_of = CMSG_NXTHDR(&header, part_of)) {
    if (part_of->cmsg_level != SOL_SOCKET || part_of->cmsg_type != SCM_RIGHTS) continue;
    const size_t descriptor_count = (part_of->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t index = 0; index < descriptor_count; ++index) {
      int descriptor;
      std::memcpy(&descriptor, CMSG_DATA(part_of) + index * sizeof(int), sizeof(int));
      received.descriptors.emplace_back(descriptor);
    }
  }
  return received;
}

}  // namespace copykv
