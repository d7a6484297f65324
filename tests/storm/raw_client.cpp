// SPDX-License-Identifier: Apache-2.0
#include "tests/storm/raw_client.hpp"

#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "base/clock.hpp"
#include "base/membarrier.hpp"

namespace copykv::storm {
namespace {

constexpr int kAnswerTimeoutMs = 10'000;

[[nodiscard]] bool readable(int fd) {
  pollfd waiting{fd, POLLIN, 0};
  return ::poll(&waiting, 1, kAnswerTimeoutMs) == 1;
}

}  // namespace

RawSocket::RawSocket(const std::string& path)
    : socket_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    throw std::runtime_error(path + ": " + std::strerror(errno));
  }
}

void RawSocket::send(std::span<const std::byte> message) const {
  (void)::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL);
}

Received RawSocket::receive_welcome(Welcome& welcome) const {
  if (!readable(socket_.get())) return {-1, {}};
  return receive_message(socket_.get(), &welcome, sizeof(welcome));
}

bool RawSocket::closed_by_daemon() const {
  char byte;
  return readable(socket_.get()) && ::recv(socket_.get(), &byte, 1, MSG_DONTWAIT) <= 0;
}

Hello valid_hello() {
  Hello hello{};
  hello.head = message_head(MessageType::hello, sizeof(hello));
  hello.fingerprint = layout_fingerprint();
  hello.queue_depth = 16;
  hello.slot_payload_bytes = kSlotPayloadBytesMin;
  hello.bulk_bytes_max = 1U << 20;
  hello.has_membarrier = register_global_membarrier() ? 1 : 0;
  return hello;
}

RawClient::RawClient(const std::string& path, const Hello& hello) : socket_(path) {
  socket_.send(hello);
  Welcome welcome{};
  Received received = socket_.receive_welcome(welcome);
  if (received.bytes != sizeof(welcome) || welcome.refusal != 0 ||
      received.descriptors.size() < 2) {
    throw std::runtime_error("attach refused: " + get_text(welcome.text));
  }
  descriptors_ = std::move(received.descriptors);
  auto segment = map_descriptor(descriptors_[0].get(), welcome.segment_bytes, Access::read_write,
                                "client segment");
  auto rank = map_descriptor(descriptors_[1].get(), welcome.rank_page_bytes, Access::read_only,
                             "rank page");
  if (!segment || !rank) throw std::runtime_error(segment.error + rank.error);
  segment_ = std::move(*segment);
  rank_ = std::move(*rank);
  const std::string error = check_segment(base(), welcome.segment_bytes, geometry_);
  if (!error.empty()) throw std::runtime_error(error);
  (void)grow_bulk(0);  // answered: the daemon is through with the attach and holds what it keeps
}

std::span<uint64_t> RawClient::words() const {
  const uint64_t bytes = geometry_.bulk_offset() + bulk_bytes_granted_ - kPageBytes;
  return {reinterpret_cast<uint64_t*>(base() + kPageBytes), bytes / 8};
}

uint64_t RawClient::grow_bulk(uint64_t bytes) {
  const BulkRequest request{message_head(MessageType::bulk_request, sizeof(request)), bytes};
  socket_.send(request);
  BulkGrant grant{};
  if (!readable(socket_.fd()) || ::recv(socket_.fd(), &grant, sizeof(grant), 0) <= 0) return 0;
  return bulk_bytes_granted_ = grant.bytes;
}

void RawClient::wake(uint32_t daemon) const {
  const uint64_t one = 1;
  (void)!::write(descriptors_[2 + daemon].get(), &one, sizeof(one));
}

bool RawClient::wait_answer(uint32_t index, uint32_t seq) const {
  const SystemClock clock;
  const uint64_t give_up_ns = clock.now_ns() + kAnswerTimeoutMs * kNanosPerMilli;
  wake();
  while (head_seq(observe(slot(index).response.head)) != seq) {
    if (clock.now_ns() > give_up_ns) return false;
    sched_yield();
  }
  return true;
}

}  // namespace copykv::storm
