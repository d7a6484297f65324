// SPDX-License-Identifier: Apache-2.0
// A fabric between endpoints of one thread that carries out every post at once and keeps what was
// posted. Its addresses are those of ofi-tcp and its keys count up, so that the same run makes the
// same bytes every time.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "copyrpc/fabric/fabric.hpp"

namespace copykv::test {

struct TapedPost {
  uint32_t from = 0;  ///< endpoint
  std::string bytes{};
  std::optional<uint32_t> immediate{};
};

class TapeEndpoint;

class Tape {
 public:
  [[nodiscard]] std::unique_ptr<copyrpc::Fabric> attach();

  /// Writes, with and without immediate, in the order in which they were posted.
  std::vector<TapedPost> posts{};

 private:
  friend class TapeEndpoint;
  struct Region {
    std::byte* base;
    uint64_t bytes;
  };
  std::vector<TapeEndpoint*> endpoints_{};
  std::map<uint64_t, Region> regions_{};  ///< by key
  uint64_t last_key_ = 0x5ec2'e7ec'0000'0000;
};

}  // namespace copykv::test
