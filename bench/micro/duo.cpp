// SPDX-License-Identifier: Apache-2.0
#include "bench/micro/duo.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <exception>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>

#include <CLI/CLI.hpp>

namespace copykv::bench {
namespace {

constexpr uint32_t kBytesMax = 1U << 20;

Fd accept_one(uint16_t port) {
  const Fd listener(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int one = 1;
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(port);
  (void)::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&any), sizeof(any)) != 0 ||
      ::listen(listener.get(), 1) != 0) {
    throw std::runtime_error("cannot listen at port " + std::to_string(port));
  }
  Fd fd(::accept(listener.get(), nullptr, nullptr));
  if (!fd) throw std::runtime_error("cannot accept a call at port " + std::to_string(port));
  return fd;
}

Fd call(const std::string& peer, uint16_t port) {
  addrinfo* found = nullptr;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(peer.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    throw std::runtime_error("no host is called " + peer);
  }
  Fd fd;
  for (const addrinfo* at = found; at != nullptr && !fd; at = at->ai_next) {
    fd = Fd(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (fd && ::connect(fd.get(), at->ai_addr, at->ai_addrlen) != 0) fd.reset();
  }
  ::freeaddrinfo(found);
  if (!fd) throw std::runtime_error("nobody listens at " + peer + "; start that side first");
  return fd;
}

std::array<int, 2> connected_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    throw std::runtime_error("socketpair: out of descriptors");
  return ends;
}

/// The end of one side is what tells the other, so each closes its own.
void run_in_threads(const std::function<void(Duo&)>& side) {
  const std::array<int, 2> ends = connected_pair();
  std::array<std::exception_ptr, 2> errors;
  const auto run = [&](bool is_child) {
    Duo duo(is_child, Fd(ends[is_child]));
    try {
      side(duo);
    } catch (...) {
      errors[is_child] = std::current_exception();
    }
  };
  std::thread child(run, true);
  run(false);
  child.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace

void Places::add_to(CLI::App& app) {
  app.add_flag("--listen", listen, "wait for the other host");
  app.add_option("--peer", peer, "the host that listens");
  app.add_option("--tcp-port", tcp_port, "of the host that listens");
  app.add_flag("--in-threads", in_threads, "both sides in this process");
}

void run_both(const Places& places, const std::function<void(Duo&)>& side) {
  if (places.in_threads) return run_in_threads(side);
  const bool two_hosts = places.listen || !places.peer.empty();
  const auto duo =
      two_hosts ? std::make_unique<Duo>(places.peer, places.tcp_port) : std::make_unique<Duo>();
  side(*duo);
}

Duo::Duo() {
  const std::array<int, 2> ends = connected_pair();
  child_ = ::fork();
  is_child_ = child_ == 0;
  fd_ = Fd(ends[is_child_]);
  ::close(ends[!is_child_]);
  if (is_child_) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(is_child_ ? 1U : 0U, &set);
  (void)::sched_setaffinity(0, sizeof(set), &set);  // one core only: both share it
}

Duo::Duo(const std::string& peer, uint16_t port)
    : is_child_(peer.empty()), fd_(is_child_ ? accept_one(port) : call(peer, port)) {}

Duo::~Duo() {
  fd_.reset();
  if (child_ > 0) ::waitpid(child_, nullptr, 0);
}

std::string Duo::exchange(const std::string& mine) {
  const auto bytes = static_cast<uint32_t>(mine.size());
  if (!give(&bytes, sizeof(bytes)) || !give(mine.data(), mine.size())) return {};
  uint32_t there = 0;
  if (!take(&there, sizeof(there)) || there > kBytesMax) return {};
  std::string theirs(there, '\0');
  return take(theirs.data(), theirs.size()) ? theirs : std::string();
}

bool Duo::give(const void* bytes, size_t count) {
  const char* at = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t sent = ::send(fd_.get(), at, count, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += sent;
    count -= static_cast<size_t>(sent);
  }
  return true;
}

bool Duo::take(void* bytes, size_t count) {
  char* at = static_cast<char*>(bytes);
  while (count > 0) {
    const ssize_t got = ::recv(fd_.get(), at, count, 0);
    if (got <= 0) return false;
    at += got;
    count -= static_cast<size_t>(got);
  }
  return true;
}

}  // namespace copykv::bench
