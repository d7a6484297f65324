// SPDX-License-Identifier: Apache-2.0
// Hangs up on strangers at the TCP ports that libfabric listens at. It reads who calls before it
// tells us of the call, has no limit of how long that may take, and would hold as many connections
// that say nothing as this process may have descriptors: then no client could attach any more.
//
// A stranger is a connection to one of these ports that has said less than a call is long, for five
// seconds, or beside kStrangersAtPortsMax others. Libfabric sees it end, and closes it.
//
// THREADS  The control thread's. It looks at the descriptors of the process from outside, some at a
//   time, and only ends connections, so libfabric needs no lock.
#pragma once

#include <cstdint>
#include <vector>

namespace copykv {

inline constexpr uint32_t kStrangersAtPortsMax = 256;

class DataPorts {
 public:
  /// Ports at which this process listens by now: they are not looked at.
  void leave_out();
  /// Those at which it listens beyond that.
  void find();

  /// Looks at up to 1,024 descriptors; true when strangers were among them: look again soon.
  bool look();

  [[nodiscard]] uint64_t hung_up() const noexcept { return hung_up_; }

 private:
  std::vector<uint16_t> others_{};
  std::vector<uint16_t> ports_{};
  int next_fd_ = 0;
  uint32_t strangers_ = 0;  ///< since descriptor 0
  uint64_t hung_up_ = 0;
};

}  // namespace copykv
