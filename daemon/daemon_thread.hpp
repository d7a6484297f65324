// SPDX-License-Identifier: Apache-2.0
// One daemon thread of a rank: memory, store, engine, and what to do when there is nothing to do.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <thread>

#include <copykv/wait.hpp>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "daemon/engine.hpp"
#include "daemon/placement.hpp"
#include "daemon/rpc_network.hpp"
#include "daemon/station_network.hpp"
#include "daemon/transport.hpp"
#include "shm/store_memory.hpp"

namespace copykv {

/// What a daemon of a job of many ranks needs beyond its store.
struct RemoteOptions {
  TransportChoice transport{};
  FabricOptions fabric{};
  copyrpc::NodeOptions node{};
  StationRing* stations = nullptr;  ///< where to write when sampled requests passed; nullptr: not
};

struct DaemonThreadOptions {
  std::optional<RemoteOptions> remote{};  ///< empty: the rank is alone
  EngineOptions engine;
  StoreMemoryOptions memory;
  StoreOptions store;
  Wait wait = Wait::adaptive;
  CpuPlace place;
};

class DaemonThread {
 public:
  /// Allocates everything; starts no thread. The error line names the remedy.
  [[nodiscard]] static Outcome<std::unique_ptr<DaemonThread>> create(
      const DaemonThreadOptions& options, const RankHeader& rank, DaemonBlock& block);
  ~DaemonThread();

  void start();
  /// Serves what stands on the lanes, then ends the thread. Called by the control thread.
  void stop();

  /// The control thread's queue into the engine; wake() afterwards.
  [[nodiscard]] CommandQueue& commands() noexcept { return engine_->commands(); }
  /// Ends a sleep.
  void wake() const noexcept;
  [[nodiscard]] bool sleeping() const noexcept { return peek(block_.sleeping) != 0; }
  /// An eventfd for one client, which ends a sleep by writing to it. Of each client its own: who
  /// shares one could read away the wakes of others, or make their writes wait. Nobody here keeps
  /// it: it leaves the set when the last process has closed it.
  [[nodiscard]] Outcome<Fd> make_client_wake() const;

  /// nullptr: the rank is alone. Only before start, but for the commands.
  [[nodiscard]] RpcNetwork* network() noexcept { return network_.get(); }
  [[nodiscard]] StoreMemory& memory() noexcept { return *memory_; }
  [[nodiscard]] int wake_fd() const noexcept { return wake_fd_.get(); }

 private:
  DaemonThread(const DaemonThreadOptions& options, DaemonBlock& block)
      : options_(options), block_(block) {}
  void run() noexcept;
  void leave_job() noexcept;
  void idle(uint32_t idle_turns) noexcept;
  void sleep() noexcept;
  void wait_for_wake() noexcept;

  const DaemonThreadOptions options_;
  DaemonBlock& block_;
  SystemClock clock_;
  std::unique_ptr<StoreMemory> memory_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<RpcNetwork> network_;
  std::unique_ptr<StationNetwork> stations_;  ///< between engine and network_; nullptr: nothing is
  std::unique_ptr<Engine> engine_;
  Fd wake_fd_;         ///< of this process
  Fd client_wakes_;    ///< epoll set, edge-triggered: what clients write is never read
  uint32_t stop_ = 0;  ///< published by stop()
  std::thread thread_;
};

}  // namespace copykv
