// SPDX-License-Identifier: Apache-2.0
// What the control thread makes before it serves.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "base/log.hpp"
#include "base/membarrier.hpp"
#include "base/runtime_paths.hpp"
#include "daemon/control.hpp"
#include "daemon/control_tokens.hpp"

namespace copykv {

Outcome<std::unique_ptr<Control>> Control::create(const DaemonOptions& options) {
  std::unique_ptr<Control> control(new Control(options));
  using Step = Outcome<void> (Control::*)();
  for (const Step step : {&Control::take_rank, &Control::make_rank_page, &Control::watch_signals,
                          &Control::prepare_job, &Control::make_daemons, &Control::join_job,
                          &Control::listen, &Control::write_info}) {
    const Outcome<void> done = (control.get()->*step)();
    if (!done) return Failure{done.error};
  }
  return control;
}

/// The rank's lock: one daemon per job and rank, also after a crash, and no stale socket.
Outcome<void> Control::take_rank() {
  const std::string directory = runtime_dir(options_.runtime_dir);
  const std::string job = job_name(options_.job);
  Outcome<std::string> made = make_job_dir(directory, job);
  if (!made) return Failure{made.error};
  job_dir_ = *made;
  Outcome<std::string> socket = copykv::socket_path(directory, job, options_.rank);
  if (!socket) return Failure{socket.error};
  socket_path_ = *socket;
  info_path_ = fmt::format("{}/rank{}.info", job_dir_, options_.rank);
  const std::string lock_path = fmt::format("{}/rank{}.lock", job_dir_, options_.rank);
  lock_ = Fd(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_) return Failure{fmt::format("cannot open {}: {}", lock_path, std::strerror(errno))};
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return Failure{
        fmt::format("rank {} of job {} is served already (lock {}); stop that copykvd, or "
                    "use another --job, --rank or --runtime-dir",
                    options_.rank, job, lock_path)};
  }
  has_membarrier_ = register_global_membarrier();
  epoch_ = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                     std::chrono::system_clock::now().time_since_epoch())
                                     .count());
  clients_.resize(options_.clients_max);
  for (uint32_t number = options_.clients_max; number > 0; --number) {
    free_numbers_.push_back(number - 1);
  }
  return {};
}

Outcome<void> Control::make_rank_page() {
  const uint64_t bytes = rank_file_bytes(options_.daemon_threads, options_.stations);
  Outcome<Fd> made = make_memfd("copykv-rank", bytes);
  if (!made) return Failure{made.error};
  auto mapped = map_descriptor(made->get(), bytes, Access::read_write, "rank page");
  if (!mapped) return Failure{mapped.error};
  rank_mapping_ = std::move(*mapped);
  std::memset(rank_mapping_.get_address(), 0, bytes);  // takes the memory now
  // From here on nobody can map it writable, through whatever descriptor.
  if (::fcntl(made->get(), F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
    return Failure{fmt::format("cannot seal the rank page: {}; Linux 5.1 or later is needed",
                               std::strerror(errno))};
  }
  rank_page_fd_ = std::move(*made);
  rank_ = static_cast<RankHeader*>(rank_mapping_.get_address());
  rank_->magic = kRankPageMagic;
  rank_->abi_major = kAbiMajor;
  rank_->abi_minor = kAbiMinor;
  rank_->rank = options_.rank;
  rank_->fingerprint = layout_fingerprint();
  rank_->epoch = epoch_;
  rank_->rank_count = options_.ranks;
  rank_->daemon_count = options_.daemon_threads;
  rank_->value_bytes_max = options_.value_bytes_max;
  rank_->memory_budget_bytes = options_.memory_bytes;
  rank_->started_unix_ms = epoch_ / kNanosPerMilli;
  rank_->pid = static_cast<uint32_t>(::getpid());
  rank_->routing_epoch = 1;
  rank_->stations = options_.stations ? 1 : 0;
  return {};
}

Outcome<void> Control::make_daemons() {
  Outcome<DaemonPlaces> placed = place_daemons(options_.pin, options_.daemon_threads);
  if (!placed) return Failure{placed.error};
  log_info("{}", placed->note);
  data_ports_.leave_out();
  for (uint32_t daemon = 0; daemon < options_.daemon_threads; ++daemon) {
    DaemonThreadOptions with;
    with.engine.daemon = daemon;
    with.engine.daemon_count = options_.daemon_threads;
    with.engine.lanes_max = options_.clients_max;
    with.engine.value_bytes_max = static_cast<uint32_t>(options_.value_bytes_max);
    with.memory.budget_bytes = options_.memory_bytes / options_.daemon_threads;
    with.memory.huge_pages = options_.huge_pages;
    with.memory.numa_node = placed->places[daemon].numa_node;
    with.store.first_version = epoch_;  // nanoseconds: above all versions of an earlier start
    with.store.value_bytes_max = static_cast<uint32_t>(options_.value_bytes_max);
    with.wait = options_.wait;
    with.place = placed->places[daemon];
    if (options_.ranks > 1) with.remote = remote_options(daemon);
    if (options_.stations) {
      with.remote->stations = &station_ring(*rank_, options_.daemon_threads, daemon);
    }
    auto made = DaemonThread::create(with, *rank_, daemon_block(*rank_, daemon));
    if (!made) return Failure{made.error};
    log_info("daemon {}: {}", daemon, (*made)->memory().page_note());
    daemons_.push_back(std::move(*made));
  }
  data_ports_.find();
  return {};
}

Outcome<void> Control::watch(int fd, uint64_t token) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP;
  event.data.u64 = token;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
  // An arrival that becomes a client.
  if (errno == EEXIST && ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return {};
  return Failure{
      fmt::format("epoll_ctl: {}; raise fs.epoll.max_user_watches", std::strerror(errno))};
}

Outcome<void> Control::watch_signals() {
  epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!epoll_ || !signals_) {
    return Failure{fmt::format("epoll or signalfd: {}; raise `ulimit -n`", std::strerror(errno))};
  }
  return watch(signals_.get(), kSignalToken);
}

Outcome<void> Control::listen() {
  listener_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
  (void)::unlink(socket_path_.c_str());  // ours by the lock
  const mode_t before = ::umask(0177);
  const bool bound =
      ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  ::umask(before);
  if (!bound || ::listen(listener_.get(), 512) != 0) {
    return Failure{fmt::format("cannot listen at {}: {}", socket_path_, std::strerror(errno))};
  }
  return watch(listener_.get(), kListenerToken);
}

/// Where `copykv stat` finds the counters even when every thread hangs: through /proc/<pid>/fd.
Outcome<void> Control::write_info() {
  std::string text = fmt::format("pid = {}\nrank_page_fd = {}\nepoch = {}\nsocket = \"{}\"\n",
                                 ::getpid(), rank_page_fd_.get(), epoch_, socket_path_);
  if (options_.ranks > 1) text += fmt::format("transport = \"{}\"\n", transport_.name);
  const std::string draft = info_path_ + ".new";
  Fd file(::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::rename(draft.c_str(), info_path_.c_str()) != 0) {
    return Failure{fmt::format("cannot write {}: {}; free some space there", info_path_,
                               std::strerror(errno))};
  }
  return {};
}

}  // namespace copykv
