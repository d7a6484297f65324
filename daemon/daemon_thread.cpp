// SPDX-License-Identifier: Apache-2.0
#include "daemon/daemon_thread.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <cstring>

namespace copykv {
namespace {

// An idle turn takes 10 to 30 ns, a yield 0.3 us or a time slice of somebody else.
constexpr uint32_t kSpinTurns = 400;
constexpr uint32_t kYieldTurns = 400 + 1500;
// Short enough for expiry and counters, long enough to cost nothing.
constexpr long kSleepMs = 100;
// With peers: they want to hear of us now and then.
constexpr long kSleepWithPeersMs = 25;
// Beside a fabric that cannot wake a sleeper: about 1 % of a core.
constexpr long kNapNs = 500'000;
// A rank that stops serves its peers until they have been quiet for so long, but not for ever.
constexpr uint64_t kLeaveQuietNs = 5 * kNanosPerMilli;
constexpr uint64_t kLeaveNsMax = 200 * kNanosPerMilli;
constexpr uint32_t kDrainTurnsMax = 1U << 24;
// Those left over end the next sleep at once.
constexpr int kClientWakesPerSleep = 64;

Failure no_descriptor(const char* what) {
  return Failure{fmt::format("{}: {}; raise the limit of open files (`ulimit -n`)", what,
                             std::strerror(errno))};
}

}  // namespace

Outcome<std::unique_ptr<DaemonThread>> DaemonThread::create(const DaemonThreadOptions& options,
                                                            const RankHeader& rank,
                                                            DaemonBlock& block) {
  std::unique_ptr<DaemonThread> daemon(new DaemonThread(options, block));
  auto memory = StoreMemory::create(options.memory);
  if (!memory) return Failure{memory.error};
  daemon->memory_ = std::move(*memory);
  daemon->wake_fd_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!daemon->wake_fd_) return no_descriptor("eventfd");
  daemon->client_wakes_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!daemon->client_wakes_) return no_descriptor("epoll");
  daemon->store_ = std::make_unique<Store>(*daemon->memory_, options.store);
  if (options.remote) {
    auto fabric = make_fabric(options.remote->transport, options.remote->fabric);
    if (!fabric) return Failure{fabric.error};
    const Region& arena = daemon->memory_->arena();
    auto network = RpcNetwork::create(std::move(*fabric), options.remote->node, daemon->clock_,
                                      {arena.base, arena.virtual_bytes});
    if (!network) return Failure{network.error};
    daemon->network_ = std::move(*network);
    daemon->network_->record_rtt_in(block.rtt_ns);
  }
  Network* seen = daemon->network_.get();
  if (options.remote && options.remote->stations != nullptr) {
    const bool posts_at_once = options.remote->node.flush.kind == copyrpc::FlushPolicy::Kind::call;
    daemon->stations_ = std::make_unique<StationNetwork>(
        *daemon->network_, *options.remote->stations, posts_at_once, daemon->clock_);
    seen = daemon->stations_.get();
  }
  daemon->engine_ =
      std::make_unique<Engine>(options.engine, rank, block, *daemon->store_, daemon->clock_, seen);
  return daemon;
}

DaemonThread::~DaemonThread() {
  stop();
}

void DaemonThread::start() {
  thread_ = std::thread([this] { run(); });
}

void DaemonThread::stop() {
  if (!thread_.joinable()) return;
  publish<uint32_t>(stop_, 1);
  wake();
  thread_.join();
}

void DaemonThread::wake() const noexcept {
  const uint64_t one = 1;
  (void)!::write(wake_fd_.get(), &one, sizeof(one));
}

Outcome<Fd> DaemonThread::make_client_wake() const {
  Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return no_descriptor("eventfd");
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  if (::epoll_ctl(client_wakes_.get(), EPOLL_CTL_ADD, wake.get(), &event) == 0) return wake;
  return Failure{
      fmt::format("epoll_ctl: {}; raise fs.epoll.max_user_watches", std::strerror(errno))};
}

void DaemonThread::run() noexcept {
  options_.place.bind_this_thread();
  uint32_t idle_turns = 0;
  while (observe(stop_) == 0) {
    if (engine_->turn() > 0) {
      idle_turns = 0;
    } else {
      idle(++idle_turns);
    }
  }
  if (network_ != nullptr) leave_job();
  for (uint32_t turn = 0; turn < kDrainTurnsMax && engine_->has_work(); ++turn) {
    (void)engine_->turn();
  }
  engine_->tick();
}

/// Until the peers know, their calls still come: each is served, so that none of them is left open.
void DaemonThread::leave_job() noexcept {
  network_->leave();
  const uint64_t began_ns = clock_.now_ns();
  uint64_t busy_ns = began_ns;
  for (uint64_t now_ns = began_ns;
       now_ns - busy_ns < kLeaveQuietNs && now_ns - began_ns < kLeaveNsMax;
       now_ns = clock_.now_ns()) {
    network_->poll_next_turn();
    if (engine_->turn() > 0) busy_ns = now_ns;
  }
}

void DaemonThread::idle(uint32_t idle_turns) noexcept {
  switch (options_.wait) {
    case Wait::spin:
      return;
    case Wait::adaptive:
      if (idle_turns < kSpinTurns) return;
      if (idle_turns < kYieldTurns) {
        sched_yield();
        // It may have taken a time slice of somebody else: peers have waited long enough.
        if (network_ != nullptr) network_->poll_next_turn();
        return;
      }
      break;
    case Wait::park:
      break;
  }
  sleep();
}

void DaemonThread::sleep() noexcept {
  if (engine_->begin_sleep() && observe(stop_) == 0) wait_for_wake();
  engine_->end_sleep();
}

/// Until a client, a peer or the control thread wants something.
void DaemonThread::wait_for_wake() noexcept {
  pollfd waiting[3] = {
      {wake_fd_.get(), POLLIN, 0}, {client_wakes_.get(), POLLIN, 0}, {-1, POLLIN, 0}};
  timespec limit{0, kSleepMs * long{kNanosPerMilli}};
  if (network_ != nullptr) {
    network_->poll_next_turn();
    limit.tv_nsec = kSleepWithPeersMs * long{kNanosPerMilli};
    copyrpc::Fabric& fabric = network_->node().fabric();
    waiting[2].fd = fabric.wait_fd();
    if (waiting[2].fd < 0) {
      limit.tv_nsec = kNapNs;
    } else if (!fabric.arm()) {
      return;
    }
  }
  if (::ppoll(waiting, 3, &limit, nullptr) <= 0) return;
  if ((waiting[0].revents & POLLIN) != 0) {
    uint64_t wakes;
    (void)!::read(wake_fd_.get(), &wakes, sizeof(wakes));
  }
  if ((waiting[1].revents & POLLIN) != 0) {
    epoll_event events[kClientWakesPerSleep];
    (void)::epoll_wait(client_wakes_.get(), events, kClientWakesPerSleep, 0);
  }
}

}  // namespace copykv
