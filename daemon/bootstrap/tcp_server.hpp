// SPDX-License-Identifier: Apache-2.0
// What rank 0 knows of the others and answers them, without sockets: connections have numbers,
// their bytes come from and go to the caller, time is a parameter.
//
// LIMITS  A connection has kProofWithinNs to prove itself. At most kStrangersMax more than there
// are
//   ranks may be unproved at one time; then the oldest goes. A proved one that does not read has
//   its connection closed when more waits for it than all cards twice.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/log_limit.hpp"
#include "daemon/bootstrap/bootstrap.hpp"
#include "daemon/bootstrap/tcp_link.hpp"

namespace copykv::bootstrap {

inline constexpr uint64_t kProofWithinNs = 5 * kNanosPerSecond;
inline constexpr uint64_t kPongWithinNs = 3 * kNanosPerSecond;
inline constexpr uint32_t kStrangersMax = 256;

class TcpServer {
 public:
  using Id = uint64_t;

  TcpServer(const BootstrapOptions& options, const Clock& clock);

  /// The own card; before the first connection.
  void publish(const std::string& card);

  /// A new connection; `from` is its address, for the log. May close an older one.
  Id open(std::string from);
  void receive(Id id, std::string_view bytes);
  /// The connection has ended.
  void closed(Id id);
  /// Has the oldest of the connections closed that have not proved themselves: there are too many.
  void shed();
  /// Looks at what is due; returns when to call it again (UINT64_MAX: nothing is due).
  uint64_t tick();

  [[nodiscard]] std::string_view to_send(Id id) const;
  void sent(Id id, size_t bytes);

  /// Connections with something to send, or to be ended or closed, since the last call.
  [[nodiscard]] std::vector<Id> take_touched();
  /// Nothing comes after to_send(): shut down writing then, and let the other side read it.
  [[nodiscard]] bool wants_end(Id id) const;
  /// Close it, whatever is unsent.
  [[nodiscard]] bool must_close(Id id) const;

  /// Every rank was there at one time.
  [[nodiscard]] bool is_complete() const noexcept { return complete_; }
  [[nodiscard]] std::vector<uint32_t> missing() const;
  [[nodiscard]] bool has_unsent() const;
  /// Tells all who wait that it failed.
  void give_up();
  [[nodiscard]] std::vector<std::string> cards() const;
  [[nodiscard]] std::vector<Bootstrap::Change> take_changes();

 private:
  enum class Stage : uint8_t { hello, proof, card, contending, seated, closing };
  struct Connection {
    TcpLink link{};
    Stage stage = Stage::hello;
    std::string from{};
    bool proved = false;
    uint64_t due_ns = 0;  ///< when its time is over, unless it is seated; closing: 0 is now
    Hello hello{};
    Proofs proofs{};
    std::string card{};
  };
  struct Seat {
    uint64_t incarnation = 0;  ///< 0: nobody was ever here
    std::string card{};
    Id owner = 0;      ///< 0: its connection has ended
    Id contender = 0;  ///< has the same number and waits whether the owner answers
  };

  void on_message(Id id, Connection& connection, const WireMessage& message);
  void on_hello(Id id, Connection& connection, const WireMessage& message);
  void on_proof(Id id, Connection& connection, const WireMessage& message);
  void on_card(Id id, Connection& connection, const WireMessage& message);
  void on_pong(Id id, const Connection& connection);
  void seat(Id id, Connection& connection);
  void send(Id id, Connection& connection, WireType type, std::string_view body);
  void send_all_but(uint32_t rank, WireType type, std::string_view body);
  void refuse(Id id, Connection& connection, const RefusalNote& note, const std::string& why);
  void close(Id id, Connection& connection);
  void release(Id id, const Connection& connection);
  void check_complete();

  const BootstrapOptions options_;
  const Clock& clock_;
  const uint64_t incarnation_;
  std::map<Id, Connection> connections_{};  ///< ascending: the oldest first
  std::vector<Seat> seats_;
  std::vector<Id> touched_{};
  Id last_id_ = 0;
  uint32_t strangers_ = 0;  ///< connections that have not proved themselves, closing ones too
  size_t cards_bytes_ = 0;  ///< of all cards as messages
  bool complete_ = false;
  std::vector<Bootstrap::Change> changes_{};
  LogLimit log_limit_;
};

}  // namespace copykv::bootstrap
