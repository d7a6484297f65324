// SPDX-License-Identifier: Apache-2.0
// One work request of a send queue, and how it is told to an extended queue pair.
#pragma once

#include <endian.h>
#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>

#include "copyrpc/fabric/verbs/memory.hpp"

namespace copyrpc::verbs {

struct Request {
  enum class Kind : uint8_t { write, write_immediate, read } kind = Kind::write;
  const std::byte* local = nullptr;
  uint32_t local_key = 0;
  uint32_t bytes = 0;
  uint64_t remote = 0;
  uint32_t remote_key = 0;
  uint32_t immediate = 0;

  /// False: the remote key is none of a verbs device.
  [[nodiscard]] bool fill(Kind what, const LocalPart& part, const RemoteMemory& memory,
                          uint32_t immediate_data) noexcept {
    kind = what;
    local = part.memory->base + part.offset;
    local_key = verbs::local_key(*part.memory);
    bytes = part.bytes;
    remote = memory.address;
    immediate = immediate_data;
    return verbs::remote_key(memory, remote_key);
  }
  /// Whether it can carry its bytes itself, where so many may be.
  [[nodiscard]] bool fits_inline(uint32_t inline_bytes) const noexcept {
    return bytes <= inline_bytes && kind != Kind::read;
  }
};

inline void set_operation(ibv_qp_ex* queue, const Request& request) noexcept {
  switch (request.kind) {
    case Request::Kind::write:
      return ibv_wr_rdma_write(queue, request.remote_key, request.remote);
    case Request::Kind::write_immediate:
      return ibv_wr_rdma_write_imm(queue, request.remote_key, request.remote,
                                   htobe32(request.immediate));
    case Request::Kind::read:
      return ibv_wr_rdma_read(queue, request.remote_key, request.remote);
  }
}

inline void set_payload(ibv_qp_ex* queue, const Request& request, bool as_inline) noexcept {
  if (as_inline)
    ibv_wr_set_inline_data(queue, const_cast<std::byte*>(request.local), request.bytes);
  else
    ibv_wr_set_sge(queue, request.local_key, reinterpret_cast<uint64_t>(request.local),
                   request.bytes);
}

}  // namespace copyrpc::verbs
