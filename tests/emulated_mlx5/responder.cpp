// SPDX-License-Identifier: Apache-2.0
// The target's half: who is it, may it, and then it is done in one piece.
#include <algorithm>
#include <cstring>

#include "tests/emulated_mlx5/network.hpp"

namespace emulated_mlx5 {
namespace {

bool reachable(const Pair& target, const ibv_ah_attr& address) {
  const Context& to = context_of(target.qp_base.context);
  if (to.cut) return false;
  if (target.qp_base.state != IBV_QPS_RTR && target.qp_base.state != IBV_QPS_RTS) return false;
  const ibv_gid gid = to.device->gid();
  if (address.is_global != 0 && std::memcmp(address.grh.dgid.raw, gid.raw, sizeof(gid.raw)) != 0)
    return false;
  return network().options.ethernet || address.dlid == to.device->lid;
}

Pair* find_target(Network& network, const Ask& ask) {
  const bool is_dc = ask.from_kind == PairKind::dci;
  Pair* target = network.find_pair(ask.target);
  if (target == nullptr || target->kind != (is_dc ? PairKind::dct : PairKind::rc)) return nullptr;
  if (!reachable(*target, ask.address)) return nullptr;
  // The two ends of a connection name each other.
  if (!is_dc && target->attributes.dest_qp_num != ask.from_pair) return nullptr;
  if (is_dc && target->access_key != ask.dc_key) return nullptr;
  return target;
}

/// The bytes that a peer may touch, or null.
std::byte* remote_bytes(Network& network, const Pair& target, const Ask& ask, int access) {
  const auto found = network.regions.find(ask.rkey);
  if (found == network.regions.end()) return nullptr;
  const Region& region = *found->second;
  if (region.pd != target.qp_base.pd || (region.access & access) == 0) return nullptr;
  if ((target.attributes.qp_access_flags & static_cast<unsigned>(access)) == 0) return nullptr;
  const auto start = reinterpret_cast<uint64_t>(region.addr);
  if (ask.remote_address < start || ask.bytes > region.length ||
      ask.remote_address - start > region.length - ask.bytes)
    return nullptr;
  return reinterpret_cast<std::byte*>(ask.remote_address);
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

bool local_parts_are_valid(Network& network, const Pair& pair, const Request& request) {
  for (uint32_t at = 0; at < request.sges; ++at)
    if (!local_part_is_valid(network, pair, request.sge[at], request.opcode == IBV_WR_RDMA_READ))
      return false;
  return true;
}

void announce(Network& network, Pair& target, const Ask& ask) {
  auto& receive = *static_cast<ReceiveQueue*>(target.qp_base.srq);
  Entry entry;
  entry.wc.wr_id = receive.ring[receive.head % receive.ring.size()];
  ++receive.head;
  entry.wc.status = IBV_WC_SUCCESS;
  entry.wc.opcode = IBV_WC_RECV_RDMA_WITH_IMM;
  entry.wc.byte_len = static_cast<uint32_t>(ask.bytes);
  entry.wc.imm_data = ask.immediate;
  entry.wc.wc_flags = IBV_WC_WITH_IMM;
  entry.wc.qp_num = target.qp_base.qp_num;
  // Of a DCT's completions only the immediate tells who it was.
  entry.wc.src_qp = target.kind == PairKind::dct ? 0 : ask.from_pair;
  push(network, *static_cast<CompletionQueue*>(target.qp_base.recv_cq), entry);
  if (receive.limit > 0 && receive.tail - receive.head < receive.limit) {
    receive.limit = 0;
    ibv_async_event event{};
    event.element.srq = &receive;
    event.event_type = IBV_EVENT_SRQ_LIMIT_REACHED;
    raise(context_of(receive.context), event);
  }
}

Ask ask_of(const Pair& from, const Request& request) {
  const bool is_dc = from.kind == PairKind::dci;
  return {.from_kind = from.kind,
          .from_pair = from.qp_base.qp_num,
          .target = is_dc ? request.dctn : from.attributes.dest_qp_num,
          .address = is_dc ? request.address : from.attributes.ah_attr,
          .dc_key = request.dc_key,
          .opcode = request.opcode,
          .rkey = request.rkey,
          .remote_address = request.remote_address,
          .bytes = request.bytes(),
          .immediate = request.immediate};
}

Reached reach(Network& network, const Ask& ask) {
  Reached reached{{}, find_target(network, ask), nullptr};
  if (reached.target == nullptr)
    return {{Verdict::lost, IBV_WC_RETRY_EXC_ERR, 0}, nullptr, nullptr};
  Pair& target = *reached.target;
  if (ask.bytes > 0) {
    const bool reads = ask.opcode == IBV_WR_RDMA_READ;
    reached.remote = remote_bytes(network, target, ask,
                                  reads ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE);
    if (reached.remote == nullptr) reached.response = refuse(network, target);
  }
  if (reached.response.verdict == Verdict::done && ask.opcode == IBV_WR_RDMA_WRITE_WITH_IMM &&
      !has_receive_entry(target))
    reached.response = {Verdict::not_ready, IBV_WC_RNR_RETRY_EXC_ERR,
                        target.attributes.min_rnr_timer};
  return reached;
}

Response respond(Network& network, Pair& from, const Request& request, std::byte* inline_data) {
  const Ask ask = ask_of(from, request);
  const auto [response, target, found] = reach(network, ask);
  if (response.verdict != Verdict::done) return response;
  std::byte* remote = found;
  const bool reads = request.opcode == IBV_WR_RDMA_READ;
  if (request.inline_bytes > 0) std::memcpy(remote, inline_data, request.inline_bytes);
  for (uint32_t at = 0; at < request.sges; ++at) {
    auto* local = reinterpret_cast<std::byte*>(request.sge[at].addr);
    std::memmove(reads ? local : remote, reads ? remote : local, request.sge[at].length);
    remote += request.sge[at].length;
  }
  if (ask.opcode == IBV_WR_RDMA_WRITE_WITH_IMM) announce(network, *target, ask);
  return {};
}

void land_late(Network& network, const LateWrite& late) {
  Pair* target = network.find_pair(late.ask.target);
  if (target == nullptr || target->qp_base.state == IBV_QPS_ERR ||
      late.ask.from_kind == PairKind::rc)
    return;  // the other end of a connection is given up together with it, in time
  if (target->access_key != late.ask.dc_key || context_of(target->qp_base.context).cut) return;
  std::byte* remote = remote_bytes(network, *target, late.ask, IBV_ACCESS_REMOTE_WRITE);
  if (remote == nullptr) return;
  const bool announced = late.ask.opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
  if (announced && !has_receive_entry(*target)) return;
  std::memcpy(remote, late.bytes.data(), late.bytes.size());
  ++network.counters.late_writes;
  if (announced) announce(network, *target, late.ask);
}

}  // namespace emulated_mlx5
