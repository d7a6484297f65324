// SPDX-License-Identifier: Apache-2.0
// What another rank than 0 says to rank 0 and makes of the answers, without the socket.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/bootstrap/bootstrap.hpp"
#include "daemon/bootstrap/tcp_link.hpp"

namespace copykv::bootstrap {

/// Why a connection is of no more use.
struct LinkEnd {
  std::string line;
  bool is_final = false;     ///< trying again would end the same way
  bool lost_number = false;  ///< another process is this rank
};

class TcpClient {
 public:
  TcpClient(const BootstrapOptions& options, std::string where);

  void publish(const std::string& card);
  /// A new connection stands: begins to speak.
  void begin();
  [[nodiscard]] std::optional<LinkEnd> receive(std::string_view bytes);

  [[nodiscard]] std::string_view to_send() const noexcept { return link_.to_send(); }
  void sent(size_t bytes) noexcept { link_.sent(bytes); }

  /// Rank 0 has proved itself on this connection.
  [[nodiscard]] bool is_welcome() const noexcept { return stage_ == Stage::welcome; }
  /// Every rank was there at one time.
  [[nodiscard]] bool is_complete() const noexcept { return complete_; }
  [[nodiscard]] std::vector<uint32_t> missing() const;
  [[nodiscard]] std::vector<std::string> cards() const;
  [[nodiscard]] std::vector<Bootstrap::Change> take_changes();

 private:
  enum class Stage : uint8_t { hello, proof, welcome };

  [[nodiscard]] std::optional<LinkEnd> on_message(const WireMessage& message);
  [[nodiscard]] std::optional<LinkEnd> on_challenge(const WireMessage& message);
  [[nodiscard]] std::optional<LinkEnd> on_welcome(const WireMessage& message);
  [[nodiscard]] std::optional<LinkEnd> on_card(const WireMessage& message);
  [[nodiscard]] std::optional<LinkEnd> on_gone(const WireMessage& message);
  [[nodiscard]] std::optional<LinkEnd> on_complete();
  [[nodiscard]] LinkEnd on_refusal(const WireMessage& message) const;
  [[nodiscard]] LinkEnd out_of_turn() const;

  const BootstrapOptions options_;
  const std::string where_;
  const uint64_t incarnation_;
  std::vector<RankCard> seats_;  ///< by rank; incarnation 0: not there
  TcpLink link_{};
  Stage stage_ = Stage::hello;
  std::string hello_body_{};
  Proofs proofs_{};
  bool complete_ = false;
  std::vector<Bootstrap::Change> changes_{};
};

}  // namespace copykv::bootstrap
