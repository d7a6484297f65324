// SPDX-License-Identifier: Apache-2.0
// SIGINT and SIGTERM end the measurement, not the program: what was measured is still reported. A
// second signal ends the program at once.
#pragma once

namespace copykv::bench {

void watch_interrupts() noexcept;
[[nodiscard]] bool interrupted() noexcept;

}  // namespace copykv::bench
