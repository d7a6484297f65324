// SPDX-License-Identifier: Apache-2.0
#include "bench/team.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.hpp"

namespace copykv::bench {
namespace {

// Ranks start one after the other: for so long rank 0 may not be there yet.
constexpr uint64_t kMeetWithinNs = 10 * kNanosPerSecond;
// The others may notice the same trouble later, and still have something to say.
constexpr uint64_t kLastWordsNs = 3 * kNanosPerSecond;

std::string names_of(const std::vector<uint32_t>& ranks) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(ranks.size(), kShown); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", ranks[i]);
  }
  return text + (ranks.size() > kShown ? ", ..." : "");
}

}  // namespace

std::string Team::key_of(std::string_view kind, uint32_t rank) const {
  const uint32_t round = kind == "note" ? gathered_ : announced_;
  for (uint32_t salt = 0;; ++salt) {
    std::string key = fmt::format("{}/{}/{}/{}~{}", place_.prefix, kind, round, rank, salt);
    if (place_.stands_on_rank_0(key)) return key;
  }
}

Failure Team::lost(Status status) const {
  if (place_.rank == 0) {
    return Failure{
        fmt::format("the ranks meet on keys of rank 0, and its own copykvd does not take them ({})",
                    to_string(status))};
  }
  return Failure{
      fmt::format("the ranks meet on keys of rank 0, which cannot be reached any more ({}): either "
                  "it or the copykvd of this rank is gone",
                  to_string(status))};
}

Outcome<void> Team::write(const std::string& key, std::string_view note) {
  const uint64_t give_up_ns = board_->now_ns() + kMeetWithinNs;
  for (;;) {
    const Status status = board_->put(key, note);
    if (status == Status::ok) break;
    const bool may_come = !met_ && status == Status::unreachable;
    if (!may_come || board_->now_ns() >= give_up_ns) return lost(status);
    board_->pause();
  }
  met_ = true;
  return {};
}

Outcome<std::optional<std::string>> Team::read(const std::string& key) {
  std::string note;
  const Status status = board_->get(key, note);
  if (status != Status::ok && status != Status::not_found) return lost(status);
  met_ = true;
  return status == Status::ok ? std::optional(std::move(note)) : std::nullopt;
}

Team::Notes Team::gather(uint64_t within_ns, const Trouble& trouble) {
  Notes notes;
  notes.by_rank.resize(place_.ranks);
  if (place_.ranks == 1) return notes;
  const uint64_t began_ns = board_->now_ns();
  uint64_t give_up_ns = began_ns + within_ns;
  std::string why;
  std::vector<uint32_t> missing(place_.ranks - 1);
  for (uint32_t rank = 1; rank < place_.ranks; ++rank) missing[rank - 1] = rank;
  for (;;) {
    for (size_t i = 0; i < missing.size();) {
      auto note = read(key_of("note", missing[i]));
      if (!note) {
        notes.failure = note.error;
        return notes;
      }
      if (!note->has_value()) {
        ++i;
        continue;
      }
      notes.by_rank[missing[i]] = std::move(*note);
      missing.erase(missing.begin() + static_cast<ptrdiff_t>(i));
    }
    if (missing.empty()) break;
    if (why.empty() && !(why = trouble()).empty()) {
      give_up_ns = std::min(give_up_ns, board_->now_ns() + kLastWordsNs);
    }
    if (board_->now_ns() >= give_up_ns) {
      if (why.empty()) why = fmt::format("within {}", round_duration(within_ns));
      notes.failure =
          fmt::format("{} of {} ranks reported; nothing came from rank {}: {}",
                      place_.ranks - missing.size(), place_.ranks, names_of(missing), why);
      break;
    }
    board_->pause();
  }
  ++gathered_;
  return notes;
}

Outcome<void> Team::announce(std::string_view note) {
  if (place_.ranks == 1) return {};
  auto written = write(key_of("order", 0), note);
  ++announced_;
  return written;
}

Outcome<void> Team::deliver(std::string_view note) {
  auto written = write(key_of("note", place_.rank), note);
  ++gathered_;
  return written;
}

Outcome<std::string> Team::await(uint64_t within_ns) {
  const uint64_t give_up_ns = board_->now_ns() + within_ns;
  const std::string key = key_of("order", 0);
  for (;;) {
    auto note = read(key);
    if (!note) return Failure{note.error};
    if (note->has_value()) {
      ++announced_;
      return std::move(**note);
    }
    if (board_->now_ns() >= give_up_ns) {
      return Failure{
          fmt::format("rank 0 said nothing within {}: its benchkv has stopped or is overloaded",
                      round_duration(within_ns))};
    }
    board_->pause();
  }
}

void Team::await_end_of_rank_0(uint64_t within_ns) {
  const uint64_t give_up_ns = board_->now_ns() + within_ns;
  const std::string key = key_of("order", 0);
  while (board_->now_ns() < give_up_ns && read(key)) board_->pause();
}

}  // namespace copykv::bench
