// SPDX-License-Identifier: Apache-2.0
#include "sim/in_process.hpp"

#include <sys/eventfd.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "client/impl.hpp"

namespace copykv::sim {
namespace {

constexpr uint64_t kEpoch = 1;

}  // namespace

Seat::Seat(const SegmentGeometry& geometry, uint64_t epoch)
    : geometry_(geometry),
      bytes_(geometry.segment_bytes()),
      bulk_bytes_granted_(geometry.bulk_bytes_max) {
  void* mapped =
      ::mmap(nullptr, bytes_ + 2 * kPageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  guarded_ = static_cast<std::byte*>(mapped);
  base_ = guarded_ + kPageBytes;
  if (::mprotect(base_, bytes_, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
  write_segment_header(*reinterpret_cast<SegmentHeader*>(base_), geometry_, epoch);
}

Seat::~Seat() {
  ::munmap(guarded_, bytes_ + 2 * kPageBytes);
}

LaneSetup Seat::setup(bool fence_free) {
  LaneSetup setup;
  setup.id = geometry_.client_number;
  setup.depth = geometry_.queue_depth;
  setup.slot_payload_bytes = geometry_.slot_payload_bytes;
  setup.fence_free = fence_free;
  setup.slots = &slot(0);
  setup.payload = base_ + geometry_.slot_payload_offset(0, 0);
  setup.bulk = base_ + geometry_.bulk_offset();
  setup.control = reinterpret_cast<ClientControl*>(base_ + geometry_.control_offset());
  setup.bulk_bytes_granted = &bulk_bytes_granted_;
  setup.closed = &closed_;
  return setup;
}

InProcessDaemon::InProcessDaemon(const Options& options)
    : options_(options),
      rank_page_(rank_page_bytes(1) + kPageBytes),
      wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  void* start = rank_page_.data();
  size_t space = rank_page_.size();
  rank_ = static_cast<RankHeader*>(std::align(kPageBytes, rank_page_bytes(1), start, space));
  rank_->magic = kRankPageMagic;
  rank_->rank_count = options.rank_count;
  rank_->daemon_count = options.daemon_count;
  rank_->value_bytes_max = options.value_bytes_max;
  block_ = &daemon_block(*rank_, 0);
  memory_ = options.memory;
  if (memory_ == nullptr) {
    auto memory =
        StoreMemory::create({.budget_bytes = options.memory_bytes, .huge_pages = HugePages::off});
    if (!memory) throw std::runtime_error(memory.error);
    own_memory_ = std::move(*memory);
    memory_ = own_memory_.get();
  }
  store_ = std::make_unique<Store>(
      *memory_, StoreOptions{.first_version = 1, .value_bytes_max = options.value_bytes_max});
  EngineOptions engine;
  engine.daemon_count = options.daemon_count;
  engine.lanes_max = options.lanes_max;
  engine.value_bytes_max = options.value_bytes_max;
  engine.turns_per_clock_read = options.turns_per_clock_read;
  engine_ = std::make_unique<Engine>(engine, *rank_, *block_, *store_, clock(), options.network);
}

std::unique_ptr<Seat> InProcessDaemon::attach(const SegmentGeometry& geometry) {
  auto seat = std::make_unique<Seat>(geometry, kEpoch);
  const Command command{Command::Kind::attach, seat->setup(options_.fence_free)};
  if (!engine_->commands().push(command)) throw std::runtime_error("the command queue is full");
  return seat;
}

void InProcessDaemon::detach(const Seat& seat) {
  Command command{Command::Kind::close, {}};
  command.lane.id = seat.geometry().client_number;
  if (!engine_->commands().push(command)) throw std::runtime_error("the command queue is full");
}

Client InProcessDaemon::client(const Seat& seat, Wait wait, Fd socket) {
  copykv::Options options;
  options.queue_depth = seat.geometry().queue_depth;
  options.slot_payload_bytes = seat.geometry().slot_payload_bytes;
  options.bulk_bytes_max = seat.geometry().bulk_bytes_max;
  options.wait = wait;
  const int wake_fds[] = {wake_fd_.get()};
  return ClientImpl::wrap(std::make_unique<ClientImpl>(
      options,
      Connection::in_process(seat.base(), seat.geometry(), *rank_, wake_fds, options_.fence_free,
                             std::move(socket)),
      clock()));
}

uint32_t InProcessDaemon::turn() noexcept {
  const uint32_t done = engine_->turn();
  if (memory_->wants_populating()) populate();
  return done;
}

void InProcessDaemon::populate() noexcept {
  while (memory_->populate_ahead()) {
  }
}

void InProcessDaemon::clean(StoreMemory& memory) noexcept {
  for (Region* region : {&memory.index(), &memory.arena()}) {
    std::memset(region->base, 0, std::min(region->wanted_bytes, region->populated_bytes));
    region->wanted_bytes = 0;
  }
}

void InProcessDaemon::settle(uint32_t turns_max) noexcept {
  for (uint32_t turn_index = 0; turn_index < turns_max; ++turn_index) {
    if (turn() == 0 && !engine_->has_work()) return;
  }
}

}  // namespace copykv::sim
