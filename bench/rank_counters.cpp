// SPDX-License-Identifier: Apache-2.0
#include "bench/rank_counters.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <fstream>
#include <string>

#include "base/fd.hpp"
#include "base/runtime_paths.hpp"
#include "base/units.hpp"
#include "shm/mapping.hpp"

namespace copykv::bench {
namespace {

struct PageAddress {
  uint64_t pid = 0;
  uint64_t fd = 0;
  std::string transport = "none";
};

// Of the lines `name = value`.
Outcome<PageAddress> read_address(const std::string& path) {
  PageAddress address;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    constexpr std::string_view kTransport = "transport = \"";
    if (line.starts_with(kTransport) && line.ends_with('"') && line.size() > kTransport.size()) {
      address.transport = line.substr(kTransport.size(), line.size() - kTransport.size() - 1);
    }
    for (const auto& [name, target] :
         {std::pair("pid = ", &address.pid), std::pair("rank_page_fd = ", &address.fd)}) {
      if (!line.starts_with(name)) continue;
      const Outcome<uint64_t> number = parse_count(line.substr(std::string(name).size()));
      if (!number) return Failure{fmt::format("{}: {}", path, number.error)};
      *target = *number;
    }
  }
  if (address.pid == 0 || address.fd == 0) {
    return Failure{fmt::format("{} does not say where the counters are", path)};
  }
  return address;
}

}  // namespace

Outcome<RankCounters> RankCounters::open(const Options& attach) {
  const std::string root = runtime_dir(attach.runtime_dir);
  const std::string job = job_name(attach.job);
  const Outcome<std::string> dir = job_dir(root, job);
  if (!dir) return Failure{dir.error};
  if (const auto checked = check_job_dir(root, job); !checked) return Failure{checked.error};
  const auto address = read_address(fmt::format("{}/rank{}.info", *dir, attach.rank));
  if (!address) return Failure{address.error};
  const std::string path = fmt::format("/proc/{}/fd/{}", address->pid, address->fd);
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat entry {};
  if (!fd || ::fstat(fd.get(), &entry) != 0 || !S_ISREG(entry.st_mode)) {
    return Failure{fmt::format("{} is no rank page", path)};
  }
  const auto bytes = static_cast<uint64_t>(entry.st_size);
  if (bytes < rank_page_bytes(1)) return Failure{fmt::format("{} is no rank page", path)};
  auto page = map_descriptor(fd.get(), bytes, Access::read_only, "rank page");
  if (!page) return Failure{page.error};
  const auto& header = *static_cast<const RankHeader*>(page->get_address());
  const uint32_t daemon_count = peek(header.daemon_count);
  if (peek(header.magic) != kRankPageMagic || peek(header.fingerprint) != layout_fingerprint() ||
      daemon_count > kDaemonsMax || bytes < rank_page_bytes(daemon_count)) {
    return Failure{fmt::format("{} has the layout of another release", path)};
  }
  const bool stations = peek(header.stations) != 0 && bytes >= rank_file_bytes(daemon_count, true);
  return RankCounters(std::move(*page), attach.rank, daemon_count, stations, address->transport);
}

std::vector<uint64_t> RankCounters::stations_written() const {
  std::vector<uint64_t> written(stations_ ? daemon_count_ : 0);
  for (uint32_t daemon = 0; daemon < written.size(); ++daemon) {
    written[daemon] = observe(station_ring(header(), daemon_count_, daemon).written);
  }
  return written;
}

std::vector<std::vector<StationRecord>> RankCounters::read_stations(
    std::span<const uint64_t> from) const {
  std::vector<std::vector<StationRecord>> records;
  for (uint32_t daemon = 0; daemon < from.size(); ++daemon) {
    records.push_back(station_ring(header(), daemon_count_, daemon).read(from[daemon]));
  }
  return records;
}

std::vector<DaemonSample> RankCounters::read() const {
  std::vector<DaemonSample> samples;
  for (uint32_t daemon = 0; daemon < daemon_count_; ++daemon) {
    samples.push_back(read_counters(daemon_block(header(), daemon), rank_, daemon));
  }
  return samples;
}

uint64_t RankCounters::peers_up() const noexcept {
  uint64_t up = 0;
  for (uint32_t daemon = 0; daemon < daemon_count_; ++daemon) {
    up += peek(daemon_block(header(), daemon).peers_up);
  }
  return up;
}

uint32_t RankCounters::rank_count() const noexcept {
  return peek(header().rank_count);
}

PartitionRanks RankCounters::partition_ranks() const {
  PartitionRanks ranks{};
  for (uint32_t partition = 0; partition < kPartitionCount; ++partition) {
    const uint32_t owner = peek(header().partition_owner[partition]);
    ranks[partition] = peek(header().owners[owner % kOwnersMax].rank);
  }
  return ranks;
}

}  // namespace copykv::bench
