// SPDX-License-Identifier: Apache-2.0
#include "daemon/bootstrap/file_bootstrap.hpp"

#include <fmt/format.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "base/log.hpp"
#include "daemon/bootstrap/bytes.hpp"
#include "daemon/bootstrap/rank_list.hpp"

namespace copykv::bootstrap {
namespace {

constexpr uint64_t kLookEveryMs = 100;
constexpr uint64_t kLookSoonMs = 5;
// An owner that has not put its card back after so many of its looks is taken for dead.
constexpr uint64_t kClaimMs = 10 * kLookEveryMs;

void sleep_ms(uint64_t ms) {
  ::usleep(static_cast<useconds_t>(ms * 1'000));
}

}  // namespace

Outcome<std::unique_ptr<Bootstrap>> FileBootstrap::make(const BootstrapOptions& options,
                                                        const std::string& path) {
  Outcome<CardDir> dir = CardDir::open(path, options.job);
  if (!dir) return Failure{dir.error};
  return std::unique_ptr<Bootstrap>(new FileBootstrap(options, std::move(*dir)));
}

FileBootstrap::FileBootstrap(const BootstrapOptions& options, CardDir dir)
    : options_(options), dir_(std::move(dir)), seats_(options.ranks) {
  timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  itimerspec every{};
  every.it_interval.tv_nsec = every.it_value.tv_nsec = kLookEveryMs * kNanosPerMilli;
  (void)::timerfd_settime(timer_.get(), 0, &every, nullptr);
  own_.head.incarnation = random_incarnation();
  own_.rank = options.rank;
  own_.ranks = options.ranks;
  own_.job = options.job;
  own_.heard.resize(options.rank == 0 ? options.ranks : 1);
}

FileBootstrap::~FileBootstrap() {
  leave({});
}

Outcome<std::vector<std::string>> FileBootstrap::exchange(const std::string& card) {
  COPYKV_ASSERT(card.size() <= kCardBytesMax, "card of {} B", card.size());
  const uint64_t deadline_ns = clock_.now_ns() + options_.deadline_ms * kNanosPerMilli;
  own_.card = card;
  Seat& own_seat = seats_[options_.rank];
  own_seat.incarnation = own_.head.incarnation;
  own_seat.card = card;
  if (options_.rank == 0) own_.heard[0] = own_.head.incarnation;
  for (uint32_t rank = 0; rank < options_.ranks; ++rank) seats_[rank].first_look = dir_.peek(rank);
  if (auto claimed = claim(); !claimed) return Failure{claimed.error};
  if (const auto waited = wait_for_all(deadline_ns); !waited) {
    leave(waited.error);
    return Failure{waited.error};
  }
  exchanged_ = true;
  std::vector<std::string> cards;
  for (const Seat& seat : seats_) cards.push_back(seat.card);
  return cards;
}

Outcome<void> FileBootstrap::wait_for_all(uint64_t deadline_ns) {
  for (uint64_t pause_ms = kLookSoonMs;; pause_ms = std::min(2 * pause_ms, kLookEveryMs / 2)) {
    if (auto stepped = step(); !stepped || is_complete()) return stepped;
    if (clock_.now_ns() >= deadline_ns) return Failure{missing_line()};
    if (is_readable(options_.stop_fd)) return Failure{stopped_line(options_.rank)};
    sleep_ms(pause_ms);
  }
}

Outcome<void> FileBootstrap::claim() {
  const auto left = [](const CardHead& head) {
    return head.incarnation == 0 || head.phase == CardPhase::left;
  };
  if (!left(seats_[options_.rank].first_look)) {
    own_.head.phase = CardPhase::claiming;
    if (auto written = write_own(); !written) return written;
    const uint64_t until_ns = clock_.now_ns() + kClaimMs * kNanosPerMilli;
    while (clock_.now_ns() < until_ns) {
      sleep_ms(kLookSoonMs);
      if (is_readable(options_.stop_fd)) return Failure{stopped_line(options_.rank)};
      if (auto fresh = dir_.refresh(); !fresh) return fresh;
      if (auto kept = keep_own_place(); !kept) return kept;
    }
  }
  own_.head.phase = CardPhase::present;
  return write_own();
}

Outcome<void> FileBootstrap::step() {
  if (auto fresh = dir_.refresh(); !fresh) return fresh;
  if (auto kept = keep_own_place(); !kept || superseded_) return kept;
  if (auto looked = options_.rank == 0 ? look_as_rank_0() : look_at_rank_0(); !looked) {
    return looked;
  }
  return listed_changed_ ? write_own() : Outcome<void>();
}

Outcome<void> FileBootstrap::keep_own_place() {
  const CardHead there = dir_.peek(options_.rank);
  if (there.incarnation == own_.head.incarnation) return {};
  const bool is_owner = own_.head.phase == CardPhase::present;
  if (is_owner && (there.incarnation == 0 || there.phase == CardPhase::claiming)) {
    if (there.incarnation != 0) {
      log_warn("another process wants to be rank {} of job '{}' too and is turned away",
               options_.rank, options_.job);
    }
    return write_own();
  }
  superseded_ = true;
  return Failure{
      fmt::format("rank {} of job '{}' is another living process as well (its card "
                  "stands in place of ours); give each rank a --rank of its own, or "
                  "another --job",
                  options_.rank, options_.job)};
}

Outcome<void> FileBootstrap::write_own() {
  ++own_.head.revision;
  auto written = dir_.write(own_);
  if (written) listed_changed_ = false;
  return written;
}

/// Marks the own card, so that a later start need not ask whether we live.
void FileBootstrap::leave(const std::string& note) {
  if (own_.head.phase != CardPhase::present || superseded_ || !dir_.refresh() ||
      dir_.peek(options_.rank).incarnation != own_.head.incarnation) {
    return;
  }
  own_.head.phase = CardPhase::left;
  own_.note = note;
  if (const auto written = write_own(); !written) log_warn("{}", written.error);
}

std::vector<Bootstrap::Change> FileBootstrap::changes() {
  uint64_t expirations;
  const bool is_due = ::read(timer_.get(), &expirations, sizeof(expirations)) > 0;
  if (!is_due || superseded_ || !exchanged_) return {};
  if (const auto stepped = step(); !stepped && stepped.error != last_trouble_) {
    last_trouble_ = stepped.error;
    log_error("{}", stepped.error);
  } else if (stepped) {
    last_trouble_.clear();
  }
  return std::exchange(changes_, {});
}

}  // namespace copykv::bootstrap
