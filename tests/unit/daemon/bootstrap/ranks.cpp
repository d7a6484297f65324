// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/daemon/bootstrap/ranks.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <mutex>

#include "base/fd.hpp"

namespace copykv::test {

uint16_t free_port() {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), bytes) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &bytes) != 0) {
    std::abort();
  }
  return ntohs(address.sin_port);
}

StderrCapture::StderrCapture()
    : saved_(::dup(STDERR_FILENO)), file_(::memfd_create("stderr", MFD_CLOEXEC)) {
  ::dup2(file_, STDERR_FILENO);
}

StderrCapture::~StderrCapture() {
  const std::string said = text();
  ::dup2(saved_, STDERR_FILENO);
  ::close(saved_);
  ::close(file_);
}

std::string StderrCapture::text() const {
  struct stat entry {};
  ::fstat(file_, &entry);
  std::string said(static_cast<size_t>(entry.st_size), '\0');
  said.resize(
      static_cast<size_t>(std::max<ssize_t>(::pread(file_, said.data(), said.size(), 0), 0)));
  return said;
}

void Rank::join(const std::string& card) {
  auto made = Bootstrap::make(options);
  if (!made) {
    error = made.error;
    return;
  }
  bootstrap = std::move(*made);
  auto exchanged = bootstrap->exchange(card);
  if (!exchanged) {
    error = exchanged.error;
    return;
  }
  cards = std::move(*exchanged);
}

std::vector<BootstrapOptions> job_at(const std::string& url, uint32_t ranks, uint64_t deadline_ms) {
  std::vector<BootstrapOptions> all(ranks);
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    all[rank].url = url;
    all[rank].job = "job";
    all[rank].rank = rank;
    all[rank].ranks = ranks;
    all[rank].secret = "0123456789abcdef";
    all[rank].deadline_ms = deadline_ms;
  }
  return all;
}

std::string card_of(uint32_t rank, uint32_t life) {
  return fmt::format("card of rank {} in life {}", rank, life);
}

std::vector<std::string> cards_of(uint32_t ranks) {
  std::vector<std::string> cards;
  for (uint32_t rank = 0; rank < ranks; ++rank) cards.push_back(card_of(rank));
  return cards;
}

std::vector<Rank> join_all(const std::vector<BootstrapOptions>& all, Then then) {
  std::vector<Rank> ranks(all.size());
  std::vector<std::thread> threads;
  for (size_t index = 0; index < all.size(); ++index) {
    ranks[index].options = all[index];
    threads.emplace_back([&, index] {
      ranks[index].join(card_of(all[index].rank));
      if (then == Then::end) ranks[index].bootstrap.reset();
    });
  }
  for (auto& thread : threads) thread.join();
  return ranks;
}

struct Servant::Shared {
  std::atomic<bool> stop = false;
  std::mutex mutex{};
  std::vector<Bootstrap::Change> changes{};
};

Servant::Servant(Bootstrap& of) : shared_(std::make_shared<Shared>()) {
  thread_ = std::thread([shared = shared_, &of] {
    while (!shared->stop) {
      pollfd readable{of.wait_fd(), POLLIN, 0};
      if (::poll(&readable, 1, 20) <= 0) continue;  // only when it says so: that is the promise
      auto some = of.changes();
      const std::lock_guard lock(shared->mutex);
      for (auto& change : some) shared->changes.push_back(std::move(change));
    }
  });
}

Servant::~Servant() {
  shared_->stop = true;
  thread_.join();
}

std::vector<Bootstrap::Change> Servant::changes(size_t count, uint64_t within_ms) {
  const SystemClock clock;
  const uint64_t end_ns = clock.now_ns() + within_ms * kNanosPerMilli;
  while (true) {
    {
      const std::lock_guard lock(shared_->mutex);
      if (shared_->changes.size() >= count || clock.now_ns() >= end_ns) {
        return std::exchange(shared_->changes, {});
      }
    }
    ::usleep(2'000);
  }
}

}  // namespace copykv::test
