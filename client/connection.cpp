// SPDX-License-Identifier: Apache-2.0
#include "client/connection.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/membarrier.hpp"
#include "base/runtime_paths.hpp"
#include "shm/handshake.hpp"

namespace copykv {
namespace {

// A living control thread answers within microseconds; this long only if the machine is stuck.
constexpr int kControlTimeoutMs = 10'000;

[[nodiscard]] Outcome<Fd> connect_to(const std::string& path) {
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) {
    return Failure{fmt::format("cannot create a socket: {}; raise the limit of open files",
                               std::strerror(errno))};
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return Failure{
        fmt::format("no copykvd answers at {}: {}; start `copykvd`, or check "
                    "COPYKV_RUNTIME_DIR, COPYKV_JOB and the rank",
                    path, std::strerror(errno))};
  }
  // Another user may have made the directory first, and a daemon of theirs in it.
  ucred peer{};
  socklen_t peer_bytes = sizeof(peer);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) != 0 ||
      (peer.uid != ::geteuid() && peer.uid != 0 && ::geteuid() != 0)) {
    return Failure{
        fmt::format("the copykvd at {} belongs to user {}, not to you or root; set "
                    "COPYKV_RUNTIME_DIR to a directory of your own",
                    path, peer.uid)};
  }
  return socket;
}

/// Waits for a message with a limit, so that a stuck daemon is an error and no hang.
[[nodiscard]] bool readable_within(int socket, int timeout_ms) noexcept {
  pollfd waiting{socket, POLLIN, 0};
  int ready;
  do {
    ready = ::poll(&waiting, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  return ready == 1;
}

[[nodiscard]] Status status_of(Refusal refusal) noexcept {
  switch (refusal) {
    case Refusal::version:
    case Refusal::fingerprint:
      return Status::unsupported;
    case Refusal::no_memory:
    case Refusal::too_many:
      return Status::no_space;
    case Refusal::stopping:
      return Status::disconnected;
    default:
      return Status::bad_request;
  }
}

}  // namespace

Outcome<Connection> Connection::open(const Options& options, Status& status) {
  status = Status::bad_request;
  const std::string directory = runtime_dir(options.runtime_dir);
  const std::string job = job_name(options.job);
  Outcome<std::string> path = copykv::socket_path(directory, job, options.rank);
  if (!path) return Failure{path.error};
  const uint64_t bulk_bytes_max = options.bulk_bytes_max / kPageBytes * kPageBytes;
  if (!SegmentGeometry{0, 1, options.queue_depth, options.slot_payload_bytes, bulk_bytes_max}
           .is_valid()) {
    return Failure{fmt::format(
        "attach options out of range: queue_depth {} (1..{}), slot_payload_bytes {} ({}..{}, "
        "multiple of {}), bulk_bytes_max {}",
        options.queue_depth, kQueueDepthMax, options.slot_payload_bytes, kSlotPayloadBytesMin,
        kSlotPayloadBytesMax, kPageBytes, options.bulk_bytes_max)};
  }

  status = Status::disconnected;
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(options.attach_timeout_ms);
  Outcome<Fd> socket = connect_to(*path);
  while (!socket && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    socket = connect_to(*path);
  }
  if (!socket) return Failure{socket.error};

  Hello hello{};
  hello.head = message_head(MessageType::hello, sizeof(hello));
  hello.fingerprint = layout_fingerprint();
  hello.queue_depth = options.queue_depth;
  hello.slot_payload_bytes = options.slot_payload_bytes;
  hello.bulk_bytes_max = bulk_bytes_max;
  hello.has_membarrier = register_global_membarrier() ? 1 : 0;
  // A daemon that refuses before it reads has hung up already, but its reason can still be read.
  (void)send_message(socket->get(), &hello, sizeof(hello));
  if (!readable_within(socket->get(), kControlTimeoutMs)) {
    return Failure{fmt::format("copykvd at {} does not answer; is it stopped?", *path)};
  }
  Welcome welcome{};
  Received received = receive_message(socket->get(), &welcome, sizeof(welcome));
  if (received.bytes != sizeof(welcome) || welcome.head.magic != kHandshakeMagic ||
      welcome.head.type != static_cast<uint32_t>(MessageType::welcome)) {
    return Failure{fmt::format("copykvd at {} hung up during attach; see its log", *path)};
  }
  if (welcome.refusal != static_cast<uint32_t>(Refusal::none)) {
    status = status_of(static_cast<Refusal>(welcome.refusal));
    return Failure{"copykvd refused: " + get_text(welcome.text)};
  }
  Connection connection;
  connection.socket_ = std::move(*socket);
  connection.socket_path_ = *path;
  status = Status::unsupported;
  std::string error = connection.take_welcome(welcome, std::move(received.descriptors));
  if (!error.empty()) return Failure{std::move(error)};
  status = Status::ok;
  return connection;
}

std::string Connection::take_welcome(const Welcome& welcome, std::vector<Fd> fds) {
  const uint32_t daemon_count = welcome.daemon_count;
  if (daemon_count == 0 || daemon_count > kDaemonsMax || fds.size() != 2 + 2 * daemon_count) {
    return fmt::format(
        "copykvd sent {} descriptors for {} daemon threads; raise `ulimit -n` or use "
        "a library and a daemon of the same release",
        fds.size(), daemon_count);
  }
  auto segment =
      map_descriptor(fds[0].get(), welcome.segment_bytes, Access::read_write, "client segment");
  if (!segment) return segment.error;
  auto rank = map_descriptor(fds[1].get(), welcome.rank_page_bytes, Access::read_only, "rank page");
  if (!rank) return rank.error;
  segment_mapping_ = std::move(*segment);
  rank_mapping_ = std::move(*rank);
  segment_ = static_cast<std::byte*>(segment_mapping_.get_address());
  rank_ = static_cast<const RankHeader*>(rank_mapping_.get_address());
  std::string error = check_segment(segment_, welcome.segment_bytes, geometry_);
  if (!error.empty()) return error;
  if (welcome.rank_page_bytes < rank_page_bytes(daemon_count) || rank_->magic != kRankPageMagic ||
      geometry_.lane_count != daemon_count) {
    return "the rank page does not fit the segment; use a library and a daemon of the same release";
  }
  fence_free_ = welcome.fence_free == 1;
  for (uint32_t daemon = 0; daemon < daemon_count; ++daemon) {
    wake_fds_.push_back(fds[2 + daemon].get());
    owned_wake_fds_.push_back(std::move(fds[2 + daemon]));
  }
  return {};
}

Connection Connection::in_process(std::byte* segment, const SegmentGeometry& geometry,
                                  const RankHeader& rank, std::span<const int> wake_fds,
                                  bool fence_free, Fd socket) {
  Connection connection;
  connection.socket_ = std::move(socket);
  connection.segment_ = segment;
  connection.rank_ = &rank;
  connection.geometry_ = geometry;
  connection.wake_fds_.assign(wake_fds.begin(), wake_fds.end());
  connection.fence_free_ = fence_free;
  connection.bulk_bytes_granted_ = geometry.bulk_bytes_max;
  return connection;
}

bool Connection::alive() const noexcept {
  if (!socket_) return true;  // in-process: the daemon's memory is ours
  char byte;
  const ssize_t got = ::recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

uint64_t Connection::grow_bulk(uint64_t bytes) noexcept {
  if (!socket_) return bulk_bytes_granted_;
  BulkRequest request{message_head(MessageType::bulk_request, sizeof(request)), bytes};
  BulkGrant grant{};
  if (send_message(socket_.get(), &request, sizeof(request)) &&
      readable_within(socket_.get(), kControlTimeoutMs)) {
    const ssize_t got = ::recv(socket_.get(), &grant, sizeof(grant), MSG_DONTWAIT);
    if (got == static_cast<ssize_t>(sizeof(grant)) && grant.bytes <= geometry_.bulk_bytes_max) {
      bulk_bytes_granted_ = grant.bytes;
    }
  }
  return bulk_bytes_granted_;
}

void Connection::wake(uint32_t daemon) const noexcept {
  const uint64_t one = 1;
  // Fails only when the counter is full, and then the daemon is being woken already.
  (void)!::write(wake_fds_[daemon], &one, sizeof(one));
}

}  // namespace copykv
