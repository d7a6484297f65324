// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/async_events.hpp"

#include <fcntl.h>

#include <cerrno>

namespace copyrpc::verbs {

int make_nonblocking(int fd) noexcept {
  const int flags = fcntl(fd, F_GETFL);
  return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ? errno : 0;
}

bool next_async_event(ibv_context* context, AsyncEvent& event) noexcept {
  ibv_async_event raw{};
  if (ibv_get_async_event(context, &raw) != 0) return false;
  event = {};
  event.words = ibv_event_type_str(raw.event_type);
  switch (raw.event_type) {
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
    case IBV_EVENT_PATH_MIG_ERR:
      event.of_queue_pair = true;
      event.queue_pair = raw.element.qp->qp_num;
      break;
    case IBV_EVENT_CQ_ERR:
    case IBV_EVENT_SRQ_ERR:
    case IBV_EVENT_DEVICE_FATAL:
      event.fatal = true;
      break;
    default:
      break;
  }
  // The library waits in every destroy for the events of that object.
  ibv_ack_async_event(&raw);
  return true;
}

}  // namespace copyrpc::verbs
