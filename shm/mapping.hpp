// SPDX-License-Identifier: Apache-2.0
// A mapping of a descriptor, through Boost.Interprocess, with its own end.
#pragma once

#include <cstddef>
#include <cstdint>

#include <boost/interprocess/mapped_region.hpp>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace copykv {

/// `what` names the memory in the error line ("client segment", "rank page").
enum class Access : uint8_t { read_only, read_write };
[[nodiscard]] Outcome<boost::interprocess::mapped_region> map_descriptor(int fd, uint64_t bytes,
                                                                         Access access,
                                                                         const char* what);

/// A new close-on-exec memfd of `bytes`, sparse, that allows sealing.
[[nodiscard]] Outcome<Fd> make_memfd(const char* name, uint64_t bytes);

}  // namespace copykv
