// SPDX-License-Identifier: Apache-2.0
#include "tests/storm/ranks.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "base/hash.hpp"

namespace copykv::storm {
namespace {

namespace fs = std::filesystem;

/// A port of this moment: nobody else is expected to take it until rank 0 does.
[[nodiscard]] uint16_t free_port() {
  const Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  if (::bind(probe.get(), reinterpret_cast<sockaddr*>(&address), bytes) != 0 ||
      ::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &bytes) != 0) {
    throw std::runtime_error("no free port");
  }
  return ntohs(address.sin_port);
}

}  // namespace

uint64_t own_memory_kib(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  for (std::string word; file >> word;) {
    uint64_t kib = 0;
    if (word == "RssAnon:" && file >> kib) return kib;
  }
  return 0;
}

Ranks::Ranks(const RanksOptions& options) {
  // Not on a disk: how long it takes to write a card there is not what is measured.
  const fs::path memory = "/dev/shm";
  const fs::path parent = fs::is_directory(memory) ? memory : fs::temp_directory_path();
  std::string pattern = (parent / "copykv-ranks-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp: " + pattern);
  directory_ = pattern;
  fs::create_directory(directory_ + "/rendezvous");
  const std::string rendezvous = options.by_tcp ? fmt::format("tcp://127.0.0.1:{}", free_port())
                                                : "file://" + directory_ + "/rendezvous";
  for (uint32_t rank = 0; rank < options.ranks; ++rank) {
    std::vector<std::string> flags = {"--rank", std::to_string(rank), "--ranks",
                                      std::to_string(options.ranks), "--transport",
                                      options.transport, "--rendezvous", rendezvous,
                                      // To make large pages the kernel waits for all cores.
                                      "--huge-pages", "off", "--memory", "64MiB"};
    flags.insert(flags.end(), options.flags.begin(), options.flags.end());
    daemons_.push_back(std::make_unique<DaemonProcess>(std::move(flags), directory_ + "/run"));
  }
}

Ranks::~Ranks() {
  daemons_.clear();
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

void Ranks::start_all() {
  for (auto& daemon : daemons_) daemon->launch();
  for (auto& daemon : daemons_) daemon->await_ready();
}

std::vector<int> Ranks::stop_all() {
  std::vector<int> codes;
  for (auto& daemon : daemons_) codes.push_back(daemon->stop());
  return codes;
}

Client Ranks::attach(uint32_t rank, Options options) const {
  options.rank = rank;
  return attach_to(*daemons_[rank], options);
}

uint32_t Ranks::owner_of(const std::string& key) const {
  return partition_of(hash_key(key)) % count();
}

}  // namespace copykv::storm
