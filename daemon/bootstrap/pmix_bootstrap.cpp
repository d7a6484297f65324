// SPDX-License-Identifier: Apache-2.0
#include "daemon/bootstrap/pmix_bootstrap.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <pmix.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>
#include <utility>

#include "base/assert.hpp"
#include "base/clock.hpp"
#include "base/runtime_paths.hpp"
#include "base/units.hpp"
#include "daemon/bootstrap/bytes.hpp"
#include "daemon/bootstrap/rank_list.hpp"

namespace copykv::bootstrap {
namespace {

constexpr const char* kLibrary = "libpmix.so.2";
constexpr const char* kCardKey = "copykv.card";
constexpr uint32_t kCardFormat = 1;
constexpr int kGetSeconds = 10;
constexpr std::chrono::milliseconds kLookEvery(50);

/// What is used of libpmix.
struct PmixLibrary {
  decltype(&::PMIx_Init) init = nullptr;
  decltype(&::PMIx_Put) put = nullptr;
  decltype(&::PMIx_Commit) commit = nullptr;
  decltype(&::PMIx_Fence_nb) fence = nullptr;
  decltype(&::PMIx_Get) get = nullptr;
  decltype(&::PMIx_Finalize) finalize = nullptr;
  decltype(&::PMIx_Error_string) error_string = nullptr;

  /// Stays loaded: its threads and exit handlers may outlive us.
  [[nodiscard]] static Outcome<PmixLibrary> load();
};

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

Outcome<PmixLibrary> PmixLibrary::load() {
  void* const library = ::dlopen(kLibrary, RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    return Failure{fmt::format("--rendezvous pmix: cannot load {}: {}; install libpmix2", kLibrary,
                               ::dlerror())};
  }
  PmixLibrary found;
  if (find(library, "PMIx_Init", found.init) && find(library, "PMIx_Put", found.put) &&
      find(library, "PMIx_Commit", found.commit) && find(library, "PMIx_Fence_nb", found.fence) &&
      find(library, "PMIx_Get", found.get) && find(library, "PMIx_Finalize", found.finalize) &&
      find(library, "PMIx_Error_string", found.error_string)) {
    return found;
  }
  return Failure{
      fmt::format("--rendezvous pmix: {} lacks functions; install libpmix2 of PMIx 4", kLibrary)};
}

template <size_t N>
void copy_text(char (&to)[N], std::string_view text) {
  to[text.copy(to, N - 1)] = '\0';
}

/// Ends when every rank has come; may end after whoever waited has given up.
struct Fence {
  std::mutex mutex{};
  std::condition_variable ended{};
  bool has_ended = false;
  pmix_status_t status = PMIX_SUCCESS;

  static void on_end(pmix_status_t status, void* owned) {
    const std::unique_ptr<std::shared_ptr<Fence>> fence(
        static_cast<std::shared_ptr<Fence>*>(owned));
    const std::lock_guard lock((*fence)->mutex);
    (*fence)->has_ended = true;
    (*fence)->status = status;
    (*fence)->ended.notify_all();
  }
};

class PmixBootstrap final : public Bootstrap {
 public:
  PmixBootstrap(const BootstrapOptions& options, const PmixLibrary& pmix)
      : options_(options), pmix_(pmix) {}
  ~PmixBootstrap() override { leave(); }

  [[nodiscard]] Outcome<std::vector<std::string>> exchange(const std::string& card) override;
  [[nodiscard]] std::vector<Change> changes() override { return {}; }

 private:
  [[nodiscard]] Outcome<void> enter();
  [[nodiscard]] Outcome<void> publish(const std::string& card);
  [[nodiscard]] Outcome<void> wait_for_all();
  [[nodiscard]] Outcome<std::string> card_of(uint32_t rank);
  void leave();
  [[nodiscard]] std::string late_line() const;
  [[nodiscard]] Failure fail(std::string_view what, pmix_status_t status) const;

  const BootstrapOptions options_;
  const PmixLibrary pmix_;
  const SystemClock clock_{};
  pmix_proc_t self_{};
  bool entered_ = false;
};

Failure PmixBootstrap::fail(std::string_view what, pmix_status_t status) const {
  return Failure{
      fmt::format("--rendezvous pmix: {}: {}; see that one mpirun or srun --mpi=pmix "
                  "starts all ranks",
                  what, pmix_.error_string(status))};
}

Outcome<void> PmixBootstrap::enter() {
  pmix_status_t status = pmix_.init(&self_, nullptr, 0);
  if (status != PMIX_SUCCESS) return fail("the launcher does not answer", status);
  entered_ = true;
  pmix_proc_t all = self_;
  all.rank = PMIX_RANK_WILDCARD;
  pmix_value_t* size = nullptr;
  status = pmix_.get(&all, PMIX_JOB_SIZE, nullptr, 0, &size);
  if (status != PMIX_SUCCESS) return fail("the launcher does not say how many ranks", status);
  const uint32_t ranks = size->type == PMIX_UINT32 ? size->data.uint32 : 0;
  std::free(size);
  if (self_.rank == options_.rank && ranks == options_.ranks) return {};
  return Failure{
      fmt::format("--rendezvous pmix: this is --rank {} of --ranks {}, but the launcher "
                  "started rank {} of {}; leave --rank and --ranks to the launcher",
                  options_.rank, options_.ranks, self_.rank, ranks)};
}

Outcome<void> PmixBootstrap::publish(const std::string& card) {
  std::string bytes = ByteWriter().number(kCardFormat).text(options_.job).text(card).take();
  pmix_value_t value{};
  value.type = PMIX_BYTE_OBJECT;
  value.data.bo.bytes = bytes.data();
  value.data.bo.size = bytes.size();
  pmix_status_t status = pmix_.put(PMIX_GLOBAL, kCardKey, &value);
  if (status == PMIX_SUCCESS) status = pmix_.commit();
  if (status != PMIX_SUCCESS) return fail("cannot publish the card", status);
  return {};
}

Outcome<void> PmixBootstrap::wait_for_all() {
  pmix_proc_t all = self_;
  all.rank = PMIX_RANK_WILDCARD;
  pmix_info_t collect{};
  copy_text(collect.key, PMIX_COLLECT_DATA);
  collect.value.type = PMIX_BOOL;
  collect.value.data.flag = true;
  const auto fence = std::make_shared<Fence>();
  auto owned = std::make_unique<std::shared_ptr<Fence>>(fence);
  pmix_status_t status = pmix_.fence(&all, 1, &collect, 1, &Fence::on_end, owned.get());
  if (status == PMIX_SUCCESS) {
    (void)owned.release();  // it is the callback's now
    std::unique_lock lock(fence->mutex);
    const uint64_t deadline_ns = clock_.now_ns() + options_.deadline_ms * kNanosPerMilli;
    while (!fence->has_ended && clock_.now_ns() < deadline_ns && !is_readable(options_.stop_fd)) {
      fence->ended.wait_for(lock, kLookEvery, [&] { return fence->has_ended; });
    }
    if (!fence->has_ended) {
      entered_ = false;  // leaving would wait for the fence
      return Failure{clock_.now_ns() < deadline_ns ? stopped_line(options_.rank) : late_line()};
    }
    status = fence->status;
  }
  if (status != PMIX_SUCCESS && status != PMIX_OPERATION_SUCCEEDED) {
    return fail("the ranks do not come together", status);
  }
  return {};
}

std::string PmixBootstrap::late_line() const {
  return fmt::format(
      "--rendezvous pmix: not all of the {} ranks came within {}; the launcher does "
      "not say which: look for the one that has no log",
      options_.ranks, spell_duration(options_.deadline_ms * kNanosPerMilli));
}

Outcome<std::string> PmixBootstrap::card_of(uint32_t rank) {
  pmix_proc_t other = self_;
  other.rank = rank;
  pmix_info_t within{};
  copy_text(within.key, PMIX_TIMEOUT);
  within.value.type = PMIX_INT;
  within.value.data.integer = kGetSeconds;
  pmix_value_t* value = nullptr;
  const pmix_status_t status = pmix_.get(&other, kCardKey, &within, 1, &value);
  if (status != PMIX_SUCCESS || value->type != PMIX_BYTE_OBJECT) {
    return fail(fmt::format("rank {} published no card", rank), status);
  }
  ByteReader from({value->data.bo.bytes, value->data.bo.size});
  const auto format = from.number<uint32_t>();
  const std::string job(from.text(kJobNameBytesMax));
  std::string card(from.text(kCardBytesMax));
  const bool is_whole = from.done();
  std::free(value->data.bo.bytes);
  std::free(value);
  if (format != kCardFormat || !is_whole) {
    return Failure{
        fmt::format("--rendezvous pmix: rank {} has a card of format {}, this copykvd "
                    "reads format {}; start the same release everywhere",
                    rank, format, kCardFormat)};
  }
  if (job == options_.job) return card;
  return Failure{
      fmt::format("--rendezvous pmix: rank {} belongs to job '{}', this one to '{}'; give "
                  "all ranks the same --job",
                  rank, job, options_.job)};
}

Outcome<std::vector<std::string>> PmixBootstrap::exchange(const std::string& card) {
  COPYKV_ASSERT(card.size() <= kCardBytesMax, "card of {} B", card.size());
  if (auto entered = enter(); !entered) return Failure{entered.error};
  if (auto published = publish(card); !published) return Failure{published.error};
  if (auto came = wait_for_all(); !came) return Failure{came.error};
  std::vector<std::string> cards;
  for (uint32_t rank = 0; rank < options_.ranks; ++rank) {
    Outcome<std::string> found = card_of(rank);
    if (!found) return Failure{found.error};
    cards.push_back(std::move(*found));
  }
  leave();
  return cards;
}

void PmixBootstrap::leave() {
  if (std::exchange(entered_, false)) (void)pmix_.finalize(nullptr, 0);
}

}  // namespace

Outcome<std::unique_ptr<Bootstrap>> make_pmix_bootstrap(const BootstrapOptions& options) {
  if (std::getenv("PMIX_RANK") == nullptr || std::getenv("PMIX_NAMESPACE") == nullptr) {
    return Failure{
        "--rendezvous pmix: no launcher that speaks PMIx started this process (PMIX_RANK is not "
        "set); start it by mpirun or srun --mpi=pmix, or use tcp://host:port"};
  }
  const Outcome<PmixLibrary> pmix = PmixLibrary::load();
  if (!pmix) return Failure{pmix.error};
  return std::unique_ptr<Bootstrap>(new PmixBootstrap(options, *pmix));
}

}  // namespace copykv::bootstrap
