// SPDX-License-Identifier: Apache-2.0
// Where the ranks of a benchmark leave notes for each other: keys of the service that is measured,
// so that nothing but copykv is needed to run on many machines. Nothing is written or read while a
// run is measured.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <copykv/client.hpp>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace copykv::bench {

/// Not thread-safe.
class Board {
 public:
  virtual ~Board() = default;
  virtual Status put(std::string_view key, std::string_view value) = 0;
  virtual Status get(std::string_view key, std::string& value) = 0;
  [[nodiscard]] virtual uint64_t now_ns() const = 0;
  /// Lets a moment pass between two looks.
  virtual void pause() = 0;
};

/// The notes of a rank, through a client of its own. An operation that its daemon does not answer
/// within 5 s ends as disconnected: a stopped daemon must not stop the benchmark as well.
class ClientBoard final : public Board {
 public:
  [[nodiscard]] static Outcome<std::unique_ptr<ClientBoard>> attach(const Options& options);

  Status put(std::string_view key, std::string_view value) override;
  Status get(std::string_view key, std::string& value) override;
  [[nodiscard]] uint64_t now_ns() const override { return SystemClock().now_ns(); }
  void pause() override;

 private:
  explicit ClientBoard(Client client) : client_(std::move(client)) {}
  [[nodiscard]] Status finish(Status submitted, std::string* value);

  Client client_;
  uint64_t tag_ = 0;
};

}  // namespace copykv::bench
