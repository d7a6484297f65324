// SPDX-License-Identifier: Apache-2.0
// What a rank makes of the cards of the others.
#include <fmt/format.h>

#include "base/log.hpp"
#include "base/units.hpp"
#include "daemon/bootstrap/file_bootstrap.hpp"
#include "daemon/bootstrap/rank_list.hpp"

namespace copykv::bootstrap {
namespace {

constexpr uint32_t kSeatsPerStep = 64;
constexpr const char* kOfAnEarlierRun = "a card of an earlier run stands there";

std::string other_size(const CardFile& file, uint32_t ranks) {
  return fmt::format(
      "rank {} was started with --ranks {}, this one with --ranks {}; start all of "
      "them with the same number",
      file.rank, file.ranks, ranks);
}

}  // namespace

Outcome<void> FileBootstrap::look_as_rank_0() {
  // All of them while somebody waits; later so many in each step that an idle rank stays idle.
  const uint32_t seats = exchanged_ ? std::min(options_.ranks, kSeatsPerStep) : options_.ranks;
  for (uint32_t step = 0; step < seats; ++step) {
    next_seat_ = (next_seat_ + 1) % options_.ranks;
    if (next_seat_ == 0) continue;
    const CardHead there = dir_.peek(next_seat_);
    if (there == seats_[next_seat_].looked_at) continue;
    seats_[next_seat_].looked_at = there;
    judge_member(next_seat_);
  }
  return {};
}

void FileBootstrap::judge_member(uint32_t rank) {
  Seat& seat = seats_[rank];
  const Outcome<CardFile> file = dir_.read(rank);
  if (!file) {
    seat.trouble = file.error;
    return;
  }
  const bool answers_us = file->heard.size() == 1 && file->heard[0] == own_.head.incarnation;
  if (file->ranks != options_.ranks) {
    seat.trouble = other_size(*file, options_.ranks);
    if (answers_us || file->head != seat.first_look) log_warn("{}", seat.trouble);
    return;
  }
  if (file->head.phase == CardPhase::claiming) return;  // present, or gone, within seconds
  if (!answers_us) {
    seat.trouble = kOfAnEarlierRun;
    return;
  }
  if (file->head.phase == CardPhase::present) return take(rank, *file);
  if (exchanged_) return;  // it ended in order: its card stays what it was
  seat.trouble = fmt::format("rank {} gave up: {}", rank, file->note);
  seat.incarnation = own_.heard[rank] = 0;
  listed_changed_ = true;
}

void FileBootstrap::take(uint32_t rank, const CardFile& file) {
  Seat& seat = seats_[rank];
  if (seat.incarnation == file.head.incarnation) return;
  seat.incarnation = file.head.incarnation;
  seat.card = file.card;
  seat.trouble.clear();
  if (exchanged_) changes_.push_back({rank, seat.card});
  if (options_.rank != 0) return;
  own_.heard[rank] = seat.incarnation;
  listed_changed_ = true;
}

Outcome<void> FileBootstrap::look_at_rank_0() {
  Seat& seat = seats_[0];
  const CardHead there = dir_.peek(0);
  if (there != seat.looked_at) {
    seat.looked_at = there;
    const Outcome<CardFile> file = dir_.read(0);
    if (!file) seat.trouble = file.error;
    auto judged = file ? judge_rank_0(*file) : Outcome<void>();
    if (!judged) return judged;
  }
  take_listed_cards();
  return {};
}

/// Fails on what will not mend itself while we wait.
Outcome<void> FileBootstrap::judge_rank_0(const CardFile& file) {
  Seat& seat = seats_[0];
  const bool lists_us =
      file.heard.size() == options_.ranks && file.heard[options_.rank] == own_.head.incarnation;
  const bool is_fresh = lists_us || file.head != seat.first_look;
  seat.trouble = is_fresh ? std::string() : kOfAnEarlierRun;
  if (file.ranks != options_.ranks) {
    seat.trouble = other_size(file, options_.ranks);
    if (is_fresh && !exchanged_) return Failure{seat.trouble};
    return {};
  }
  if (file.head.phase == CardPhase::claiming) return {};
  if (file.head.phase == CardPhase::left && !file.note.empty()) {
    seat.trouble = fmt::format("rank 0 gave up: {}", file.note);
    return lists_us && !exchanged_ ? Outcome<void>(Failure{file.note}) : Outcome<void>();
  }
  // One that has left without a word had come through: its list still counts.
  if (own_.heard[0] != file.head.incarnation) {
    own_.heard[0] = file.head.incarnation;
    listed_changed_ = true;
  }
  listed_ = lists_us ? file.heard : std::vector<uint64_t>();
  return {};
}

void FileBootstrap::take_listed_cards() {
  for (uint32_t rank = 0; rank < listed_.size(); ++rank) {
    if (listed_[rank] == 0 || listed_[rank] == seats_[rank].incarnation) continue;
    const Outcome<CardFile> file = dir_.read(rank);
    if (!file) {
      seats_[rank].trouble = file.error;
    } else if (file->head.incarnation == listed_[rank]) {
      take(rank, *file);
    }  // else it has started again since: the list will say so
  }
}

const std::vector<uint64_t>& FileBootstrap::list() const {
  return options_.rank == 0 ? own_.heard : listed_;
}

bool FileBootstrap::is_complete() const {
  if (listed_changed_ || list().empty()) return false;  // others still wait for our file
  for (uint32_t rank = 0; rank < options_.ranks; ++rank) {
    if (list()[rank] == 0 || list()[rank] != seats_[rank].incarnation) return false;
  }
  return true;
}

std::string FileBootstrap::missing_line() const {
  std::vector<uint32_t> missing;
  std::string trouble;
  for (uint32_t rank = 0; rank < options_.ranks; ++rank) {
    if (!list().empty() && list()[rank] != 0 && list()[rank] == seats_[rank].incarnation) continue;
    if (list().empty() && rank > 0) break;  // nobody but rank 0 knows
    missing.push_back(rank);
    if (trouble.empty()) trouble = seats_[rank].trouble;
  }
  return fmt::format(
      "{} missing at --rendezvous {} after {}{}{}; start every rank with the same "
      "--job, --ranks and --rendezvous",
      ranks_are(missing, options_.ranks), options_.url,
      spell_duration(options_.deadline_ms * kNanosPerMilli), trouble.empty() ? "" : ": ", trouble);
}

}  // namespace copykv::bootstrap
