// SPDX-License-Identifier: Apache-2.0
// The target's half: who is it, may it, and then it is done in one piece.
#include <algorithm>
#include <cstring>

#include "tests/emulated_mlx5/network.hpp"

namespace emulated_mlx5 {
namespace {

bool reachable(const Pair& target, const Context& from, const ibv_ah_attr& address) {
  const Context& to = context_of(target.qp_base.context);
  if (to.cut || from.cut) return false;
  if (target.qp_base.state != IBV_QPS_RTR && target.qp_base.state != IBV_QPS_RTS) return false;
  const ibv_gid gid = to.device->gid();
  if (address.is_global != 0 && std::memcmp(address.grh.dgid.raw, gid.raw, sizeof(gid.raw)) != 0)
    return false;
  return network().options.ethernet || address.dlid == to.device->lid;
}

Pair* find_target(Network& network, Pair& from, Request& request) {
  const bool is_dc = from.kind == PairKind::dci;
  if (!is_dc) request.address = from.attributes.ah_attr;
  Pair* target = network.find_pair(is_dc ? request.dctn : from.attributes.dest_qp_num);
  if (target == nullptr || target->kind != (is_dc ? PairKind::dct : PairKind::rc)) return nullptr;
  if (!reachable(*target, context_of(from.qp_base.context), request.address)) return nullptr;
  // The two ends of a connection name each other.
  if (!is_dc && target->attributes.dest_qp_num != from.qp_base.qp_num) return nullptr;
  if (is_dc && target->access_key != request.dc_key) return nullptr;
  return target;
}

/// The bytes that a peer may touch, or null.
std::byte* remote_bytes(Network& network, const Pair& target, const Request& request,
                        uint64_t bytes, int access) {
  const auto found = network.regions.find(request.rkey);
  if (found == network.regions.end()) return nullptr;
  const Region& region = *found->second;
  if (region.pd != target.qp_base.pd || (region.access & access) == 0) return nullptr;
  if ((target.attributes.qp_access_flags & static_cast<unsigned>(access)) == 0) return nullptr;
  const auto start = reinterpret_cast<uint64_t>(region.addr);
  if (request.remote_address < start || bytes > region.length ||
      request.remote_address - start > region.length - bytes)
    return nullptr;
  return reinterpret_cast<std::byte*>(request.remote_address);
}

bool local_part_is_valid(Network& network, const Pair& pair, const ibv_sge& part, bool written) {
  const auto found = network.regions.find(part.lkey);
  if (found == network.regions.end()) return false;
  const Region& region = *found->second;
  const auto start = reinterpret_cast<uint64_t>(region.addr);
  return region.pd == pair.qp_base.pd &&
         (!written || (region.access & IBV_ACCESS_LOCAL_WRITE) != 0) && part.addr >= start &&
         part.length <= region.length && part.addr - start <= region.length - part.length;
}

bool local_parts_are_valid(Network& network, const Pair& pair, const Request& request) {
  for (uint32_t at = 0; at < request.sges; ++at)
    if (!local_part_is_valid(network, pair, request.sge[at], request.opcode == IBV_WR_RDMA_READ))
      return false;
  return true;
}

/// A receive entry is used up, and the target learns of it. The caller has seen that there is one.
void announce(Network& network, Pair& target, const Request& request, uint64_t bytes,
              uint32_t from_pair) {
  auto& receive = *static_cast<ReceiveQueue*>(target.qp_base.srq);
  Entry entry;
  entry.wc.wr_id = receive.ring[receive.head % receive.ring.size()];
  ++receive.head;
  entry.wc.status = IBV_WC_SUCCESS;
  entry.wc.opcode = IBV_WC_RECV_RDMA_WITH_IMM;
  entry.wc.byte_len = static_cast<uint32_t>(bytes);
  entry.wc.imm_data = request.immediate;
  entry.wc.wc_flags = IBV_WC_WITH_IMM;
  entry.wc.qp_num = target.qp_base.qp_num;
  // Of a DCT's completions only the immediate tells who it was.
  entry.wc.src_qp = target.kind == PairKind::dct ? 0 : from_pair;
  push(network, *static_cast<CompletionQueue*>(target.qp_base.recv_cq), entry);
  if (receive.limit > 0 && receive.tail - receive.head < receive.limit) {
    receive.limit = 0;
    ibv_async_event event{};
    event.element.srq = &receive;
    event.event_type = IBV_EVENT_SRQ_LIMIT_REACHED;
    raise(context_of(receive.context), event);
  }
}

bool has_receive_entry(const Pair& target) {
  if (target.qp_base.srq == nullptr) return false;
  const auto& receive = *static_cast<const ReceiveQueue*>(target.qp_base.srq);
  return receive.head != receive.tail;
}

Response refuse(Network& network, Pair& target) {
  ibv_async_event event{};
  event.element.qp = &target.qp_base;
  event.event_type = IBV_EVENT_QP_ACCESS_ERR;
  raise(context_of(target.qp_base.context), event);
  // A connected responder goes to ERR; a DCT serves its other initiators.
  fail_pair(network, target);
  return {Verdict::refused, IBV_WC_REM_ACCESS_ERR, 0};
}

}  // namespace

Response respond(Network& network, Pair& from, Request& request, std::byte* inline_data) {
  if (!local_parts_are_valid(network, from, request))
    return {Verdict::refused, IBV_WC_LOC_PROT_ERR, 0};
  Pair* target = find_target(network, from, request);
  if (target == nullptr) return {Verdict::lost, IBV_WC_RETRY_EXC_ERR, 0};
  const uint64_t bytes = request.bytes();
  const bool reads = request.opcode == IBV_WR_RDMA_READ;
  std::byte* remote = nullptr;
  if (bytes > 0) {
    remote = remote_bytes(network, *target, request, bytes,
                          reads ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE);
    if (remote == nullptr) return refuse(network, *target);
  }
  const bool announced = request.opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
  if (announced && !has_receive_entry(*target))
    return {Verdict::not_ready, IBV_WC_RNR_RETRY_EXC_ERR, target->attributes.min_rnr_timer};
  if (request.inline_bytes > 0) std::memcpy(remote, inline_data, request.inline_bytes);
  for (uint32_t at = 0; at < request.sges; ++at) {
    auto* local = reinterpret_cast<std::byte*>(request.sge[at].addr);
    std::memmove(reads ? local : remote, reads ? remote : local, request.sge[at].length);
    remote += request.sge[at].length;
  }
  if (announced) announce(network, *target, request, bytes, from.qp_base.qp_num);
  return {};
}

void land_late(Network& network, const LateWrite& late) {
  Pair* target = network.find_pair(late.target);
  if (target == nullptr || target->qp_base.state == IBV_QPS_ERR || late.kind == PairKind::rc)
    return;  // the other end of a connection is given up together with it, in time
  if (target->access_key != late.request.dc_key || context_of(target->qp_base.context).cut) return;
  std::byte* remote =
      remote_bytes(network, *target, late.request, late.bytes.size(), IBV_ACCESS_REMOTE_WRITE);
  if (remote == nullptr) return;
  const bool announced = late.request.opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
  if (announced && !has_receive_entry(*target)) return;
  std::memcpy(remote, late.bytes.data(), late.bytes.size());
  ++network.counters.late_writes;
  if (announced) announce(network, *target, late.request, late.bytes.size(), late.from_pair);
}

}  // namespace emulated_mlx5
