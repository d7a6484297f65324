// SPDX-License-Identifier: Apache-2.0
// The control thread: everything that may block or fault, so that the daemon threads never do.
//   attach and leave of clients, growth of bulk areas and of store memory, signals, the rank page.
// One epoll loop in the main thread.
//
// DEATH  Only the kernel declares a client dead: end-of-file of its socket, or its pidfd. No timer
//   does: a client that is stopped for an hour is alive.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/log_limit.hpp"
#include "daemon/attach_rate.hpp"
#include "daemon/bootstrap/bootstrap.hpp"
#include "daemon/client_table.hpp"
#include "daemon/daemon_thread.hpp"
#include "daemon/data_ports.hpp"
#include "daemon/job_card.hpp"
#include "daemon/options.hpp"
#include "shm/rank_page.hpp"

namespace copykv {

class Control {
 public:
  /// Makes socket, rank page and daemon threads. The error line names the check and the remedy.
  [[nodiscard]] static Outcome<std::unique_ptr<Control>> create(const DaemonOptions& options);
  ~Control();

  /// Serves until SIGTERM or SIGINT, then drains. Prints the line `ready ...` to stdout first.
  void run();

 private:
  /// A connection that is no client: costs at most two descriptors and has no number.
  struct Arrival {
    Fd socket{};
    Fd pidfd{};
    int pid = 0;
    uint64_t due_ns = 0;     ///< when it is refused, if it has not become a client
    bool too_often = false;  ///< refused in any case, but only then: it shall not try again at once
  };

  explicit Control(const DaemonOptions& options)
      : options_(options),
        attach_rate_(std::max(options.clients_max, kAttachesAtOnceMin), options.attach_rate) {}

  // control_setup.cpp
  [[nodiscard]] Outcome<void> take_rank();
  [[nodiscard]] Outcome<void> make_rank_page();
  [[nodiscard]] Outcome<void> make_daemons();
  [[nodiscard]] Outcome<void> listen();
  [[nodiscard]] Outcome<void> watch_signals();
  [[nodiscard]] Outcome<void> write_info();
  [[nodiscard]] Outcome<void> watch(int fd, uint64_t token);

  // control_job.cpp
  [[nodiscard]] Outcome<void> prepare_job();
  [[nodiscard]] RemoteOptions remote_options(uint32_t daemon) const;
  [[nodiscard]] Outcome<void> join_job();
  [[nodiscard]] Outcome<void> connect_daemons();
  [[nodiscard]] std::vector<const copyrpc::Card*> peers_of(uint32_t own, const JobCard& card) const;
  void set_routing(const std::vector<uint32_t>& daemons);
  void wait_for_peers();
  void take_changes();
  void tell_peer(const JobCard& card);

  // control_attach.cpp
  void accept_clients();
  void arrive(Arrival arrival);
  void keep_waiting(Arrival arrival, uint64_t id);
  [[nodiscard]] bool hear(Arrival& arrival);
  void refuse_the_due();
  void refuse_waiting(const Arrival& arrival);
  void refuse(int socket, Refusal refusal, const std::string& text);
  [[nodiscard]] Refusal welcome(Arrival& arrival, const Hello& hello, std::string& text);
  void send_welcome(ClientRecord& client, std::span<const Fd> wakes);
  [[nodiscard]] std::string clients_memory_error(uint64_t bytes) const;

  // control.cpp
  void on_event(uint64_t token);
  void look_at_data_ports();
  void on_message(ClientRecord& client);
  static void send_command(DaemonThread& daemon, const Command& command);
  void grant_bulk(ClientRecord& client, const BulkRequest& request);
  void leave(ClientRecord& client, const char* why);
  void remove(uint32_t number);
  void push_leaving();
  void drain();
  [[nodiscard]] bool populate_stores();
  [[nodiscard]] int tick_ms(bool grew) const;
  void warn_once_of_full_memory();

  /// A process may attach so often before --attach-rate counts.
  static constexpr uint32_t kAttachesAtOnceMin = 1024;

  const DaemonOptions options_;
  const SystemClock clock_{};
  LogLimit log_limit_{clock_};
  AttachRate attach_rate_;
  std::string fabric_address_;  ///< --address, else the way to the rendezvous
  std::string job_dir_;
  std::string socket_path_;
  std::string info_path_;
  uint64_t epoch_ = 0;
  bool has_membarrier_ = false;
  bool stopping_ = false;
  Fd lock_;
  Fd epoll_;
  Fd signals_;
  Fd listener_;
  Fd rank_page_fd_;  ///< read-only descriptor, passed to clients
  boost::interprocess::mapped_region rank_mapping_;
  RankHeader* rank_ = nullptr;
  std::vector<std::unique_ptr<ClientRecord>> clients_;  ///< by number; empty: free
  std::vector<uint32_t> free_numbers_;
  /// Free, but events of their last owners may still stand in this round: not given out before the
  /// next one.
  std::vector<uint32_t> freed_numbers_;
  std::map<uint64_t, Arrival> arrivals_;  ///< by id: the oldest first
  uint64_t last_arrival_ = 0;
  uint64_t clients_bytes_ = 0;  ///< of all segments, with the bulk memory granted
  uint32_t leaving_count_ = 0;
  bool said_memory_full_ = false;
  // Of a job of many ranks.
  DataPorts data_ports_{};
  bool strangers_call_ = false;
  TransportChoice transport_{};
  std::unique_ptr<Bootstrap> bootstrap_;
  std::vector<JobCard> job_;                            ///< by rank
  uint64_t peers_wanted_ = 0;                           ///< connections of all own daemons
  std::deque<copyrpc::Card> new_cards_;                 ///< told to daemons; they keep pointers
  std::vector<std::unique_ptr<DaemonThread>> daemons_;  ///< destroyed first: they use the rest
};

}  // namespace copykv
