// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/peer_process.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/conformance/transport.hpp"

namespace copyrpc::conformance {
namespace {

constexpr uint32_t kWriteBytes = 32'768;

bool write_all(int fd, const void* data, size_t bytes) {
  return ::write(fd, data, bytes) == static_cast<ssize_t>(bytes);  // pipes take a card at once
}

bool read_all(int fd, void* data, size_t bytes) {
  size_t got = 0;
  while (got < bytes) {
    const ssize_t more = ::read(fd, static_cast<char*>(data) + got, bytes - got);
    if (more <= 0) return false;
    got += static_cast<size_t>(more);
  }
  return true;
}

/// Only stdin, stdout and stderr are inherited: a copy of a test's socket in another process would
/// keep it open.
[[noreturn]] void become_peer(const std::string& transport, int in, int out) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  close_range(STDERR_FILENO + 1, ~0U, 0);
  execl("/proc/self/exe", "conformance", kPeerFlag, transport.c_str(), nullptr);
  _exit(127);
}

}  // namespace

PeerCard make_card(const Fabric& fabric, const RemoteMemory& memory) {
  PeerCard card{};
  const std::string address = fabric.address();
  std::memcpy(card.address, address.data(), address.size());
  card.address_bytes = static_cast<uint32_t>(address.size());
  card.memory = memory;
  return card;
}

PeerProcess::PeerProcess(const std::string& transport) {
  std::array<int, 2> to{};
  std::array<int, 2> from{};
  REQUIRE(pipe2(to.data(), O_CLOEXEC) == 0);
  REQUIRE(pipe2(from.data(), O_CLOEXEC) == 0);
  pid_ = fork();
  if (pid_ == 0) become_peer(transport, to[0], from[1]);
  REQUIRE(pid_ > 0);
  close(to[0]);
  close(from[1]);
  to_peer_ = to[1];
  const bool told = read_all(from[0], &card_, sizeof(card_));
  close(from[0]);
  REQUIRE(told);
}

PeerProcess::~PeerProcess() {
  kill();
}

void PeerProcess::start_writing(const PeerCard& ours) {
  REQUIRE(write_all(to_peer_, &ours, sizeof(ours)));
}

void PeerProcess::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  close(to_peer_);
  pid_ = -1;
}

void PeerProcess::stop() {
  ::kill(pid_, SIGSTOP);
}

int be_a_peer(const std::string& transport_name) {
  const Transport transport = make_transport(transport_name);
  const auto fabric = transport.make({});
  std::vector<std::byte> block(kPeerMemoryBytes, std::byte{0x77});
  const auto memory =
      fabric->register_memory(block.data(), block.size(), Access::remote_read_write);
  if (!memory) return 1;
  const PeerCard mine = make_card(*fabric, memory->remote);
  PeerCard theirs;
  if (!write_all(STDOUT_FILENO, &mine, sizeof(mine)) ||
      !read_all(STDIN_FILENO, &theirs, sizeof(theirs)) || !fabric->connect(0, theirs.text()))
    return 1;
  std::array<Completion, 16> completions;
  for (uint32_t at = 0;; ++at) {
    (void)fabric->poll(completions);
    (void)fabric->write_immediate(0, {&*memory, 0, kWriteBytes}, theirs.memory, at, kUnsignalled);
    fabric->submit();
  }
}

}  // namespace copyrpc::conformance
