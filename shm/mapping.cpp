// SPDX-License-Identifier: Apache-2.0
#include "shm/mapping.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace copykv {
namespace {

namespace ipc = boost::interprocess;

/// What mapped_region wants to know of a mappable object: its descriptor.
struct Descriptor {
  int fd;
  [[nodiscard]] ipc::mapping_handle_t get_mapping_handle() const {
    return ipc::ipcdetail::mapping_handle_from_file_handle(fd);
  }
};

}  // namespace

Outcome<ipc::mapped_region> map_descriptor(int fd, uint64_t bytes, Access access,
                                           const char* what) {
  try {
    return ipc::mapped_region(
        Descriptor{fd}, access == Access::read_only ? ipc::read_only : ipc::read_write, 0, bytes);
  } catch (const ipc::interprocess_exception& error) {
    return Failure{fmt::format(
        "cannot map {} B of the {}: {}; check `ulimit -v` and the memory limit of the container",
        bytes, what, error.what())};
  }
}

Outcome<Fd> make_memfd(const char* name, uint64_t bytes) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) {
    return Failure{fmt::format("memfd_create({}): {}; raise the limit of open files (`ulimit -n`)",
                               name, std::strerror(errno))};
  }
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return Failure{
        fmt::format("cannot size {} to {} B: {}; raise the file size limit (`ulimit -f`)", name,
                    bytes, std::strerror(errno))};
  }
  return fd;
}

}  // namespace copykv
