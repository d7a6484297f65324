// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace copykv::bench {

/// Of the tree that this program was built from; ends in "-dirty" when there were changes. Made by
/// the build (commit.cpp.in).
extern const char* const kCommit;

}  // namespace copykv::bench
