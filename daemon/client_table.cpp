// SPDX-License-Identifier: Apache-2.0
#include "daemon/client_table.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "base/units.hpp"

namespace copykv {
namespace {

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/// Takes the memory now, with an error instead of a later SIGBUS, and fills the page tables.
[[nodiscard]] std::string populate(int fd, std::byte* base, uint64_t offset, uint64_t bytes) {
  if (bytes == 0) return {};
  if (::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes)) != 0) {
    return fmt::format(
        "no memory for {} of a client segment: {}; lower --memory or --client-bulk, "
        "or raise the container's memory limit",
        format_bytes(bytes), std::strerror(errno));
  }
  // Kernels before 5.14 do not know it: then the pages are there, only not mapped yet.
  (void)::madvise(base + offset, bytes, MADV_POPULATE_WRITE);
  return {};
}

}  // namespace

Outcome<void> ClientRecord::make_segment(const SegmentGeometry& with, uint64_t epoch) {
  geometry = with;
  Outcome<Fd> made = make_memfd("copykv-client", geometry.segment_bytes());
  if (!made) return Failure{made.error};
  memory = std::move(*made);
  auto mapped =
      map_descriptor(memory.get(), geometry.segment_bytes(), Access::read_write, "client segment");
  if (!mapped) return Failure{mapped.error};
  mapping = std::move(*mapped);
  // Values of clients pass through it; a core dump of ours is not for everybody's eyes.
  (void)::madvise(base(), geometry.segment_bytes(), MADV_DONTDUMP);
  std::string error = populate(memory.get(), base(), 0, geometry.bulk_offset());
  if (!error.empty()) return Failure{std::move(error)};
  write_segment_header(*reinterpret_cast<SegmentHeader*>(base()), geometry, epoch);
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Failure{fmt::format("cannot seal a client segment: {}", std::strerror(errno))};
  }
  return {};
}

std::string ClientRecord::grow_bulk(uint64_t bytes) {
  if (bytes > geometry.bulk_bytes_max) {
    return fmt::format(
        "{} asked, {} is this client's limit; raise Options::bulk_bytes_max or "
        "copykvd --client-bulk",
        format_bytes(bytes), format_bytes(geometry.bulk_bytes_max));
  }
  const uint64_t whole = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  if (whole <= bulk_bytes_granted) return {};
  std::string error = populate(memory.get(), base(), geometry.bulk_offset() + bulk_bytes_granted,
                               whole - bulk_bytes_granted);
  if (error.empty()) publish(bulk_bytes_granted, whole);
  return error;
}

LaneSetup ClientRecord::lane(uint32_t daemon) noexcept {
  LaneSetup setup;
  setup.id = number;
  setup.depth = geometry.queue_depth;
  setup.slot_payload_bytes = geometry.slot_payload_bytes;
  setup.fence_free = fence_free;
  setup.slots = reinterpret_cast<Slot*>(base() + geometry.lane_offset(daemon));
  setup.payload = base() + geometry.slot_payload_offset(daemon, 0);
  setup.bulk = base() + geometry.bulk_offset();
  setup.control = reinterpret_cast<ClientControl*>(base() + geometry.control_offset());
  setup.bulk_bytes_granted = &bulk_bytes_granted;
  setup.closed = &closed[daemon];
  return setup;
}

bool ClientRecord::all_closed() const noexcept {
  for (uint32_t daemon = 0; daemon < geometry.lane_count; ++daemon) {
    if (observe(closed[daemon]) == 0) return false;
  }
  return true;
}

}  // namespace copykv
