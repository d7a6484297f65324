// SPDX-License-Identifier: Apache-2.0
// One rank's card as a file, <dir>/copykv-<job>-rank<r>, replaced as a whole by rename.
//
// LAYOUT (little-endian)
//    0  magic "ckvcard\n"                     8
//    8  format version                        4   what follows is of this version
//   12  phase                                 4
//   16  incarnation of the writer, random     8
//   24  revision, grows with each write       8
//   32  rank, ranks                           4 + 4
//   40  job, card, note                       each 4 bytes of length, then the text
//       heard: count, then incarnations       4 + 8 each
//       XXH3 of all before                    8
//
// TRUST   Whoever may write into the directory may be a rank: one that other users own, or may
//   change, is refused. So are files of another user than our own; damaged ones are as if they were
//   not there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace copykv::bootstrap {

enum class CardPhase : uint32_t {
  claiming = 1,  ///< asks whether somebody else has this number
  present = 2,
  left = 3,  ///< ended in order, or gave up: the note says why
};

/// What changes with every write: enough to see that there is something new.
struct CardHead {
  uint64_t incarnation = 0;
  uint64_t revision = 0;
  CardPhase phase = CardPhase::present;

  [[nodiscard]] bool operator==(const CardHead&) const = default;
};

struct CardFile {
  CardHead head{};
  uint32_t rank = 0;
  uint32_t ranks = 0;
  std::string job{};
  std::string card{};
  std::string note{};
  /// By rank 0: the incarnation that it accepted of each rank, 0 for none. By the others: one, that
  /// of rank 0.
  std::vector<uint64_t> heard{};
};

[[nodiscard]] std::string encode_card_file(const CardFile& file);
/// The error says what is wrong with the bytes, without their place.
[[nodiscard]] Outcome<CardFile> decode_card_file(std::string_view bytes);

/// The shared directory of a job.
class CardDir {
 public:
  [[nodiscard]] static Outcome<CardDir> open(const std::string& path, const std::string& job);

  /// Opens the directory again: that is what makes a network file system look at it afresh.
  [[nodiscard]] Outcome<void> refresh();
  [[nodiscard]] Outcome<void> write(const CardFile& file);
  /// A head of zeros: no file, or none that can be read; read() says why.
  [[nodiscard]] CardHead peek(uint32_t rank) const;
  /// Fails with a whole sentence, also when there is no file.
  [[nodiscard]] Outcome<CardFile> read(uint32_t rank) const;

 private:
  CardDir(std::string path, std::string job) : path_(std::move(path)), job_(std::move(job)) {}
  [[nodiscard]] std::string name_of(uint32_t rank) const;
  [[nodiscard]] Outcome<void> check_owner(uint32_t self) const;

  std::string path_;
  std::string job_;
  Fd dir_{};
  uint32_t owner_ = 0;  ///< of the files that we write, as the file system sees us
  bool has_written_ = false;
};

}  // namespace copykv::bootstrap
