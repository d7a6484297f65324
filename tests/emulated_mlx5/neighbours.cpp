// SPDX-License-Identifier: Apache-2.0
#include "tests/emulated_mlx5/neighbours.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/assert.hpp"

namespace emulated_mlx5 {
namespace {

constexpr const char* kDirectoryVariable = "COPYKV_EMULATED_MLX5";
constexpr uint32_t kPlacesMax = 255;
constexpr uint8_t kAttemptsMax = 255;
constexpr int kBacklog = 128;
constexpr int kLookMs = 50;  // for those that are silent

sockaddr_un address_of(const std::string& directory, uint32_t place) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = directory + "/" + std::to_string(place);
  COPYKV_ASSERT(path.size() < sizeof(address.sun_path), "bytes={}", path.size());
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

copykv::Fd make_socket() {
  return copykv::Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/// Bytes `offset` .. `offset + bytes` of the request's local side, from there or to there.
void copy_local(Pair& pair, uint64_t position, uint64_t offset, std::byte* other, uint64_t bytes,
                bool to_local) {
  const Request& request = pair.at(position);
  const auto copy = [&](std::byte* local, uint64_t length) {
    const uint64_t skipped = std::min(offset, length);
    const uint64_t copied = std::min(bytes, length - skipped);
    if (copied > 0) {
      local += skipped;
      std::memcpy(to_local ? local : other, to_local ? other : local, copied);
    }
    offset -= skipped;
    other += copied;
    bytes -= copied;
  };
  if (request.is_inline) return copy(pair.inline_at(position), request.inline_bytes);
  for (uint32_t at = 0; at < request.sges; ++at)
    copy(reinterpret_cast<std::byte*>(request.sge[at].addr), request.sge[at].length);
}

}  // namespace

bool is_shared() {
  const char* directory = std::getenv(kDirectoryVariable);
  return directory != nullptr && *directory != '\0';
}

/// Of a question and of its answer.
struct Neighbours::PartHead {
  Ask ask;
  uint32_t generation = 0;  ///< of the asking queue pair
  uint32_t bytes = 0;       ///< of this part
  uint64_t offset = 0;
  bool is_answer = false;
  Response response;

  [[nodiscard]] bool is_last() const noexcept { return offset + bytes >= ask.bytes; }
};

std::unique_ptr<Neighbours> Neighbours::join() {
  if (!is_shared()) return nullptr;
  return std::unique_ptr<Neighbours>(new Neighbours(std::getenv(kDirectoryVariable)));
}

Neighbours::Neighbours(std::string directory) : directory_(std::move(directory)) {
  take_place();
  wake_ = copykv::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  std::thread([this] { run(); }).detach();  // as the network: until the process ends
}

/// The lock of a place is free when its process has ended, however it did.
void Neighbours::take_place() {
  for (place_ = 1; place_ <= kPlacesMax; ++place_) {
    const sockaddr_un address = address_of(directory_, place_);
    const std::string lock = std::string(address.sun_path) + ".lock";
    place_lock_ = copykv::Fd(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    COPYKV_ASSERT(place_lock_.get() >= 0, "COPYKV_EMULATED_MLX5: {}: errno={}", lock, errno);
    if (::flock(place_lock_.get(), LOCK_EX | LOCK_NB) != 0) continue;
    ::unlink(address.sun_path);
    listener_ = make_socket();
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    const bool open = ::bind(listener_.get(), generic, sizeof(address)) == 0 &&
                      ::listen(listener_.get(), kBacklog) == 0;
    COPYKV_ASSERT(open, "{}: errno={}", address.sun_path, errno);
    return;
  }
  COPYKV_ASSERT(false, "{} holds {} processes already", directory_, kPlacesMax);
}

Neighbours::Link* Neighbours::link_to(uint32_t place) {
  for (const auto& link : links_)
    if (link->to_place == place && !link->ended) return link.get();
  const sockaddr_un address = address_of(directory_, place);
  auto link = std::make_unique<Link>(Link{make_socket(), place});
  if (::connect(link->fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return nullptr;
  links_.push_back(std::move(link));
  return links_.back().get();
}

void Neighbours::flush(Link& link) {
  while (!link.ended && !link.outgoing.empty()) {
    const std::string& message = link.outgoing.front();
    if (::send(link.fd.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) {
      if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS) return;
      link.ended = true;  // the thread takes it away, and says so to those that wait
      return;
    }
    link.outgoing.pop_front();
  }
}

void Neighbours::send(Link& link, std::string message) {
  link.outgoing.push_back(std::move(message));
  flush(link);
  // The thread has to look at a new link, at what could not leave, at what has ended.
  const uint64_t one = 1;
  COPYKV_ASSERT(::write(wake_.get(), &one, sizeof(one)) == sizeof(one), "errno={}", errno);
}

bool Neighbours::send_part(Network& network, Pair& pair, const Ask& ask) {
  Link* link = link_to(ask.target >> kPlaceShift);
  if (link == nullptr) return false;
  PartHead part{.ask = ask, .generation = pair.generation, .offset = pair.away_bytes};
  part.bytes = static_cast<uint32_t>(std::min<uint64_t>(kPartBytes, ask.bytes - part.offset));
  const bool reads = ask.opcode == IBV_WR_RDMA_READ;
  std::string message(sizeof(part) + (reads ? 0 : part.bytes), '\0');
  std::memcpy(message.data(), static_cast<const void*>(&part), sizeof(part));
  if (!reads)
    copy_local(pair, pair.arrived, part.offset,
               reinterpret_cast<std::byte*>(message.data() + sizeof(part)), part.bytes, false);
  ++network.counters.parts_sent;
  send(*link, std::move(message));
  return true;
}

void Neighbours::serve(Network& network, Link& link, PartHead part, std::string_view payload) {
  Ask ask = part.ask;
  const bool reads = ask.opcode == IBV_WR_RDMA_READ;
  if (!part.is_last() && ask.opcode == IBV_WR_RDMA_WRITE_WITH_IMM) ask.opcode = IBV_WR_RDMA_WRITE;
  const Reached reached = reach(network, ask);
  part.is_answer = true;
  part.response = reached.response;
  const bool done = reached.response.verdict == Verdict::done;
  std::string message(sizeof(part) + (done && reads ? part.bytes : 0), '\0');
  std::memcpy(message.data(), static_cast<const void*>(&part), sizeof(part));
  if (done && part.bytes > 0) {
    std::byte* remote = reached.remote + part.offset;
    if (reads)
      std::memcpy(message.data() + sizeof(part), remote, part.bytes);
    else
      std::memcpy(remote, payload.data(), part.bytes);
  }
  if (done && ask.opcode == IBV_WR_RDMA_WRITE_WITH_IMM) announce(network, *reached.target, ask);
  send(link, std::move(message));
}

void Neighbours::take_answer(Network& network, const PartHead& part, std::string_view payload) {
  Pair* pair = network.find_pair(part.ask.from_pair);
  if (pair == nullptr || pair->generation != part.generation || !pair->away) return;
  pair->away = false;
  if (part.response.verdict == Verdict::done) {
    const bool touches = !payload.empty() || !part.is_last();
    if (touches && !local_parts_are_valid(network, *pair, pair->at(pair->arrived)))
      return settle(network, *pair, {Verdict::refused, IBV_WC_LOC_PROT_ERR, 0});
    if (!payload.empty()) {
      std::string bytes(payload);
      copy_local(*pair, pair->arrived, part.offset, reinterpret_cast<std::byte*>(bytes.data()),
                 bytes.size(), true);
    }
    pair->away_bytes += part.bytes;
    if (!part.is_last()) return go_away(network, *pair);
  }
  settle(network, *pair, part.response);
}

void Neighbours::take_messages(Network& network, Link& link) {
  std::string message(sizeof(PartHead) + kPartBytes, '\0');
  while (!link.ended) {
    const ssize_t got = ::recv(link.fd.get(), message.data(), message.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got < static_cast<ssize_t>(sizeof(PartHead))) {
      link.ended = true;
      return;
    }
    PartHead part;
    std::memcpy(static_cast<void*>(&part), message.data(), sizeof(part));
    const std::string_view payload =
        std::string_view(message).substr(sizeof(part), static_cast<size_t>(got) - sizeof(part));
    COPYKV_ASSERT(payload.empty() || payload.size() == part.bytes, "payload={} bytes={}",
                  payload.size(), part.bytes);
    if (part.is_answer)
      take_answer(network, part, payload);
    else
      serve(network, link, part, payload);
  }
}

/// Whoever waits for an answer of a process that has ended waits in vain.
void Neighbours::drop_ended(Network& network) {
  for (size_t at = 0; at < links_.size(); ++at) {
    if (!links_[at]->ended) continue;
    const uint32_t place = links_[at]->to_place;
    links_.erase(links_.begin() + static_cast<ptrdiff_t>(at--));
    if (place == 0) continue;
    for (const auto& [number, pair] : network.pairs) {
      if (!pair->away || pair->away_target >> kPlaceShift != place) continue;
      give_up(network, *pair);
    }
  }
}

/// Its retries have been made, so to speak.
void Neighbours::give_up(Network& network, Pair& pair) {
  pair.away = false;
  pair.at(pair.arrived).attempts = kAttemptsMax;
  settle(network, pair, {Verdict::lost, IBV_WC_RETRY_EXC_ERR, 0});
}

void Neighbours::give_up_silent(Network& network) {
  const uint64_t now_ns = network.now_ns();
  for (const auto& [number, pair] : network.pairs)
    if (pair->away && now_ns - pair->away_since_ns > kSilenceNsMax) give_up(network, *pair);
}

void Neighbours::run() {
  std::vector<pollfd> waiting;
  while (true) {
    waiting = {{wake_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    int limit_ms = kLookMs;
    {
      const Locked net;
      for (const auto& link : links_)
        waiting.push_back({link->fd.get(),
                           static_cast<short>(link->outgoing.empty() ? POLLIN : POLLIN | POLLOUT),
                           0});
      // A retry is due some time: nobody may be polling.
      if (!net->events.empty()) limit_ms = 1;
    }
    (void)::poll(waiting.data(), waiting.size(), limit_ms);
    const Locked net;
    uint64_t wakes;
    (void)!::read(wake_.get(), &wakes, sizeof(wakes));
    const size_t links = links_.size();
    for (size_t at = 0; at < links; ++at) {  // an answer may lead to a new link
      take_messages(*net, *links_[at]);
      flush(*links_[at]);
    }
    for (int fd;
         (fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;)
      links_.push_back(std::make_unique<Link>(Link{copykv::Fd(fd)}));
    drop_ended(*net);
    give_up_silent(*net);
    net->pump();
  }
}

}  // namespace emulated_mlx5
