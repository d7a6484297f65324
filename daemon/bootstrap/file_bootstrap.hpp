// SPDX-License-Identifier: Apache-2.0
// --rendezvous file:///dir: ranks meet in a directory that they share.
//
// There is no common clock and a directory keeps what earlier runs left, so age proves nothing.
// What proves that a card is of a living rank is an answer: each life of a rank has a random
// incarnation, and a card is taken when its writer has named ours.
//
//   rank r   writes its card with the incarnation of rank 0 that it sees       heard = {e0}
//   rank 0   takes the card of r when it names e0; lists the incarnation       heard[r] = er
//   rank r   is done when the list has er and no gap; then takes the cards whose incarnations
//            are those of the list
//
// So rank 0 reads all cards while it waits, the others only that of rank 0 until it is complete. A
// rank that starts again has a new er and goes the same way; the others see the list change. When
// rank 0 starts again, its e0 is new, and the others name it in theirs.
//
// TWO RANKS WITH ONE NUMBER   A rank that finds a card under its number first writes "claiming" in
//   its place and waits: a living owner looks at its file ten times a second and puts it back, and
//   the newcomer gives up. The others do not look at claims, so a mistake disturbs no running job.
//   An owner that stood still for the whole time finds its place taken and says so.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "daemon/bootstrap/bootstrap.hpp"
#include "daemon/bootstrap/card_file.hpp"

namespace copykv::bootstrap {

class FileBootstrap final : public Bootstrap {
 public:
  [[nodiscard]] static Outcome<std::unique_ptr<Bootstrap>> make(const BootstrapOptions& options,
                                                                const std::string& path);
  ~FileBootstrap() override;

  [[nodiscard]] Outcome<std::vector<std::string>> exchange(const std::string& card) override;
  [[nodiscard]] std::vector<Change> changes() override;
  [[nodiscard]] int wait_fd() const noexcept override { return timer_.get(); }
  [[nodiscard]] bool is_superseded() const noexcept override { return superseded_; }

 private:
  struct Seat {
    CardHead looked_at{};      ///< of the file when it was last read
    CardHead first_look{};     ///< what stood there when we came: perhaps of an earlier run
    uint64_t incarnation = 0;  ///< of the card; 0: none
    std::string card{};
    std::string trouble{};  ///< why the file there is no card of this run
  };

  FileBootstrap(const BootstrapOptions& options, CardDir dir);
  [[nodiscard]] Outcome<void> claim();
  [[nodiscard]] Outcome<void> wait_for_all(uint64_t deadline_ns);
  [[nodiscard]] Outcome<void> step();
  [[nodiscard]] Outcome<void> keep_own_place();
  [[nodiscard]] Outcome<void> look_as_rank_0();
  [[nodiscard]] Outcome<void> look_at_rank_0();
  void judge_member(uint32_t rank);
  [[nodiscard]] Outcome<void> judge_rank_0(const CardFile& file);
  void take_listed_cards();
  void take(uint32_t rank, const CardFile& file);
  [[nodiscard]] Outcome<void> write_own();
  void leave(const std::string& note);
  [[nodiscard]] const std::vector<uint64_t>& list() const;
  [[nodiscard]] bool is_complete() const;
  [[nodiscard]] std::string missing_line() const;

  const BootstrapOptions options_;
  CardDir dir_;
  const SystemClock clock_{};
  Fd timer_{};
  CardFile own_{};
  std::vector<Seat> seats_;
  std::vector<uint64_t> listed_{};  ///< not on rank 0: its list, once it has us; else empty
  uint32_t next_seat_ = 0;          ///< rank 0 looks at some of many in each step
  bool listed_changed_ = false;     ///< own file is behind own_
  bool exchanged_ = false;
  bool superseded_ = false;
  std::string last_trouble_{};  ///< logged already
  std::vector<Change> changes_{};
};

}  // namespace copykv::bootstrap
