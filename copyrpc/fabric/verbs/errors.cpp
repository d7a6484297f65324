// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/errors.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace copyrpc::verbs {
namespace {

struct Meaning {
  ibv_wc_status status;
  int32_t error;
  std::string_view words;
};

constexpr std::array kMeanings = {
    Meaning{IBV_WC_SUCCESS, 0, "success"},
    Meaning{IBV_WC_LOC_LEN_ERR, EMSGSIZE, "local length error: a message longer than its buffer"},
    Meaning{IBV_WC_LOC_QP_OP_ERR, EINVAL, "local queue pair error: an inconsistent request"},
    Meaning{IBV_WC_LOC_EEC_OP_ERR, EINVAL, "local end-to-end context error"},
    Meaning{IBV_WC_LOC_PROT_ERR, EFAULT, "local protection error: memory that is not registered"},
    Meaning{IBV_WC_WR_FLUSH_ERR, ECANCELED, "flushed: the queue pair had failed before"},
    Meaning{IBV_WC_MW_BIND_ERR, EACCES, "memory window bind error"},
    Meaning{IBV_WC_BAD_RESP_ERR, EPROTO, "bad response: the peer answered with an unknown opcode"},
    Meaning{IBV_WC_LOC_ACCESS_ERR, EACCES, "local access error: a peer's write was refused here"},
    Meaning{IBV_WC_REM_INV_REQ_ERR, EREMOTEIO, "invalid request, says the peer's device"},
    Meaning{IBV_WC_REM_ACCESS_ERR, EACCES, "remote access error: wrong key, or out of bounds"},
    Meaning{IBV_WC_REM_OP_ERR, EREMOTEIO, "remote operation error: the peer could not finish it"},
    Meaning{IBV_WC_RETRY_EXC_ERR, ETIMEDOUT, "no acknowledgement: the peer or the way is gone"},
    Meaning{IBV_WC_RNR_RETRY_EXC_ERR, ENOBUFS,
            "receiver not ready: its receive queue stayed empty"},
    Meaning{IBV_WC_LOC_RDD_VIOL_ERR, EINVAL, "local reliable datagram domain violation"},
    Meaning{IBV_WC_REM_INV_RD_REQ_ERR, EREMOTEIO, "remote invalid reliable datagram request"},
    Meaning{IBV_WC_REM_ABORT_ERR, ECONNABORTED, "aborted by the peer"},
    Meaning{IBV_WC_INV_EECN_ERR, EINVAL, "invalid end-to-end context number"},
    Meaning{IBV_WC_INV_EEC_STATE_ERR, EINVAL, "invalid end-to-end context state"},
    Meaning{IBV_WC_FATAL_ERR, EIO, "fatal error of the device's transport"},
    Meaning{IBV_WC_RESP_TIMEOUT_ERR, ETIMEDOUT, "response time-out"},
    Meaning{IBV_WC_GENERAL_ERR, EIO, "general error of the device"},
    Meaning{IBV_WC_TM_ERR, EIO, "tag matching error"},
    Meaning{IBV_WC_TM_RNDV_INCOMPLETE, EIO, "tag matching rendezvous incomplete"},
};

const Meaning* meaning_of(ibv_wc_status status) noexcept {
  for (const Meaning& one : kMeanings)
    if (one.status == status) return &one;
  return nullptr;
}

/// What usually lies behind it.
std::string remedy(int error) {
  if (error == EACCES || error == EPERM)
    return "; /dev/infiniband/uverbs* must be readable and writable for this user";
  if (error != ENOMEM) return {};
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    return fmt::format(
        "; the limit of locked memory is {} KiB: raise it (ulimit -l unlimited, memlock in "
        "/etc/security/limits.conf, LimitMEMLOCK=infinity), or use less memory",
        limit.rlim_cur / 1024);
  return "; the device or this machine has no room for it";
}

}  // namespace

std::string_view status_words(ibv_wc_status status) noexcept {
  const Meaning* meaning = meaning_of(status);
  return meaning == nullptr ? "unknown status" : meaning->words;
}

int32_t status_errno(ibv_wc_status status) noexcept {
  const Meaning* meaning = meaning_of(status);
  return meaning == nullptr ? EIO : meaning->error;
}

copykv::Failure failure(std::string_view device, std::string_view call, int error) {
  return {fmt::format("{} on {}: {}{}", call, device, std::strerror(error), remedy(error))};
}

}  // namespace copyrpc::verbs
