// SPDX-License-Identifier: Apache-2.0
// The sending half of a queue pair: requests leave in order, arrive in order, and end in order.
#include <algorithm>

#include "tests/emulated_mlx5/neighbours.hpp"

namespace emulated_mlx5 {
namespace {

/// InfiniBand specification, RNR NAK timer field: ns for each encoding.
uint64_t rnr_timer_ns(uint8_t encoding) {
  static constexpr uint32_t kTenMicros[32] = {65536, 1,    2,    3,     4,     6,     8,     12,
                                              16,    24,   32,   48,    64,    96,    128,   192,
                                              256,   384,  512,  768,   1024,  1536,  2048,  3072,
                                              4096,  6144, 8192, 12288, 16384, 24576, 32768, 49152};
  return uint64_t{kTenMicros[encoding & 31]} * 10'000;
}

/// ibv_modify_qp(3): 4.096 us * 2^timeout.
uint64_t ack_timeout_ns(uint8_t encoding) {
  return uint64_t{4096} << encoding;
}

uint32_t target_of(const Pair& pair, const Request& request) {
  return pair.kind == PairKind::dci ? request.dctn : pair.attributes.dest_qp_num;
}

/// When the request leaves, arrives and is acknowledged.
void plan(Network& network, Pair& pair, Request& request) {
  const uint64_t now_ns = network.now_ns();
  if (network.options.clock == nullptr) {
    request.start_ns = request.arrive_ns = now_ns;
    return;
  }
  const Options& model = network.options;
  uint64_t start_ns = std::max(now_ns, pair.busy_until_ns);
  uint32_t& attached = pair.attached[request.stream % pair.streams];
  if (pair.kind == PairKind::dci && attached != request.dctn) {
    // A DCI talks to one target at a time: what it has sent is acknowledged first.
    if (attached != 0 && pair.streams == 1)
      start_ns = std::max(start_ns, pair.last_arrive_ns + model.wire_ns);
    start_ns += model.attach_ns;
    attached = request.dctn;
    ++network.counters.attaches;
  }
  start_ns += model.request_ns;
  pair.busy_until_ns = start_ns + request.bytes() * model.ns_per_kib / 1024;
  const uint64_t jitter_ns = model.jitter_ns == 0 ? 0 : network.random.below(model.jitter_ns);
  request.start_ns = start_ns;
  request.arrive_ns = std::max(pair.busy_until_ns + model.wire_ns + jitter_ns, pair.last_arrive_ns);
  pair.last_arrive_ns = request.arrive_ns;
}

void expect_arrival(Network& network, Pair& pair, uint64_t not_before_ns) {
  if (pair.arriving || pair.halted || pair.arrived == pair.posted) return;
  pair.arriving = true;
  network.schedule(std::max(pair.at(pair.arrived).arrive_ns, not_before_ns), Event::Kind::arrival,
                   pair);
}

void end(Network& network, Pair& pair, Request& request, ibv_wc_status status) {
  const uint64_t back_ns = network.options.clock == nullptr ? 0 : network.options.wire_ns;
  request.status = status;
  request.end_ns = std::max(network.now_ns() + back_ns, pair.last_end_ns);
  pair.last_end_ns = request.end_ns;
  ++pair.arrived;
  network.schedule(request.end_ns, Event::Kind::completion, pair);
}

/// Only the stream, as long as the DCI may have one more in error (mlx5dv_dci_stream_id_reset(3)).
bool fail_stream(Pair& pair, uint16_t stream) {
  if (pair.streams == 1 || pair.streams_errored_max == 0) return false;
  if (!pair.stream_is_errored(stream)) pair.errored_streams.push_back(stream);
  return pair.errored_streams.size() < pair.streams_errored_max;
}

void fail(Network& network, Pair& pair, Request& request, ibv_wc_status status) {
  const bool whole = !fail_stream(pair, request.stream);
  end(network, pair, request, status);
  pair.halted = whole;
}

ibv_wc_opcode completion_opcode(ibv_wr_opcode opcode) {
  return opcode == IBV_WR_RDMA_READ ? IBV_WC_RDMA_READ : IBV_WC_RDMA_WRITE;
}

void tell(Network& network, Pair& pair, uint64_t position) {
  const Request& request = pair.at(position);
  // ibv_poll_cq(3): not only what asked for a completion has one if it fails.
  if (request.status == IBV_WC_SUCCESS && !pair.signal_all &&
      (request.flags & IBV_SEND_SIGNALED) == 0)
    return;
  Entry entry;
  entry.wc.wr_id = request.wr_id;
  entry.wc.status = request.status;
  entry.wc.opcode = completion_opcode(request.opcode);
  entry.wc.qp_num = pair.qp_base.qp_num;
  entry.wc.byte_len = static_cast<uint32_t>(request.bytes());
  entry.pair = &pair;
  entry.request_end = position + 1;
  push(network, *static_cast<CompletionQueue*>(pair.qp_base.send_cq), entry);
}

}  // namespace

bool Pair::stream_is_errored(uint16_t stream) const noexcept {
  return std::find(errored_streams.begin(), errored_streams.end(), stream) != errored_streams.end();
}

void ring_doorbell(Network& network, Pair& pair, uint64_t new_posted) {
  ++network.counters.doorbells;
  for (; pair.posted < new_posted; ++pair.posted) plan(network, pair, pair.at(pair.posted));
  // The state is the hardware's: requests to a queue pair in ERR are taken and flushed
  // (ibv_modify_qp(3); mlx5's wr_complete does not look at it).
  if (pair.qp_base.state == IBV_QPS_ERR)
    fail_pair(network, pair);
  else
    expect_arrival(network, pair, 0);
  network.pump();
}

void arrive(Network& network, Pair& pair) {
  pair.arriving = false;
  if (pair.halted || pair.arrived == pair.posted) return;
  Request& request = pair.at(pair.arrived);
  if (pair.stream_is_errored(request.stream)) {
    end(network, pair, request, IBV_WC_WR_FLUSH_ERR);
    return expect_arrival(network, pair, network.now_ns());
  }
  if (!local_parts_are_valid(network, pair, request))
    return settle(network, pair, {Verdict::refused, IBV_WC_LOC_PROT_ERR, 0});
  if (context_of(pair.qp_base.context).cut)
    return settle(network, pair, {Verdict::lost, IBV_WC_RETRY_EXC_ERR, 0});
  if (network.neighbours != nullptr && !network.neighbours->has(target_of(pair, request))) {
    pair.away_bytes = 0;
    return go_away(network, pair);
  }
  settle(network, pair, respond(network, pair, request, pair.inline_at(pair.arrived)));
}

void go_away(Network& network, Pair& pair) {
  const Request& request = pair.at(pair.arrived);
  pair.arriving = true;
  pair.away = true;
  pair.away_target = target_of(pair, request);
  pair.away_since_ns = network.now_ns();
  if (network.neighbours->send_part(network, pair, ask_of(pair, request))) return;
  pair.away = false;
  settle(network, pair, {Verdict::lost, IBV_WC_RETRY_EXC_ERR, 0});
}

void settle(Network& network, Pair& pair, const Response& response) {
  pair.arriving = false;
  Request& request = pair.at(pair.arrived);
  const uint64_t now_ns = network.now_ns();
  const ibv_qp_attr& limits = pair.attributes;
  switch (response.verdict) {
    case Verdict::done:
      ++network.counters.requests;
      end(network, pair, request, IBV_WC_SUCCESS);
      return expect_arrival(network, pair, now_ns);
    case Verdict::not_ready:
      ++network.counters.rnr_naks;
      // ibv_modify_qp(3): 7 retries for ever.
      if (limits.rnr_retry != 7 && request.rnr_attempts++ >= limits.rnr_retry) {
        fail(network, pair, request, IBV_WC_RNR_RETRY_EXC_ERR);
        return expect_arrival(network, pair, now_ns);
      }
      return expect_arrival(network, pair, now_ns + rnr_timer_ns(response.rnr_timer));
    case Verdict::lost:
      ++network.counters.timeouts;
      if (request.attempts++ > limits.retry_cnt) {
        fail(network, pair, request, IBV_WC_RETRY_EXC_ERR);
        return expect_arrival(network, pair, now_ns);
      }
      // timeout 0 waits for ever (ibv_modify_qp(3)): tried again all the same, and counted.
      return expect_arrival(network, pair, now_ns + ack_timeout_ns(limits.timeout));
    case Verdict::refused:
      ++network.counters.access_refused;
      fail(network, pair, request, response.status);
      return expect_arrival(network, pair, now_ns);
  }
}

void complete(Network& network, Pair& pair) {
  if (pair.completed == pair.arrived) return;
  const ibv_wc_status status = pair.at(pair.completed).status;
  tell(network, pair, pair.completed);
  ++pair.completed;
  if (status == IBV_WC_SUCCESS) return;
  if (status == IBV_WC_WR_FLUSH_ERR)
    ++network.counters.flushed;
  else
    ++network.counters.errors;
  if (pair.halted) fail_pair(network, pair);
}

void fail_pair(Network& network, Pair& pair) {
  if (pair.kind == PairKind::dct) return;
  pair.qp_base.state = IBV_QPS_ERR;
  pair.halted = true;
  ++pair.generation;  // what was on its way back is told below
  pair.arriving = pair.away = false;
  for (; pair.completed < pair.posted; ++pair.completed) {
    Request& request = pair.at(pair.completed);
    if (pair.completed >= pair.arrived) request.status = IBV_WC_WR_FLUSH_ERR;
    if (request.status == IBV_WC_WR_FLUSH_ERR) ++network.counters.flushed;
    tell(network, pair, pair.completed);
  }
  pair.arrived = pair.posted;
}

void let_go(Network& network, Pair& pair) {
  const uint64_t now_ns = network.now_ns();
  if (network.options.clock == nullptr || pair.halted) return;
  for (uint64_t at = pair.arrived; at < pair.posted; ++at) {
    const Request& request = pair.at(at);
    if (request.start_ns > now_ns) break;
    // What is for another target leaves when the first one has acknowledged all.
    if (target_of(pair, request) != target_of(pair, pair.at(pair.arrived))) break;
    if (request.opcode == IBV_WR_RDMA_READ || request.attempts > 0 || request.rnr_attempts > 0)
      continue;
    auto late = std::make_shared<LateWrite>();
    late->ask = ask_of(pair, request);
    if (request.is_inline) {
      const std::byte* from = pair.inline_at(at);
      late->bytes.assign(from, from + request.inline_bytes);
    } else {
      for (uint32_t part = 0; part < request.sges; ++part) {
        const auto* from = reinterpret_cast<const std::byte*>(request.sge[part].addr);
        late->bytes.insert(late->bytes.end(), from, from + request.sge[part].length);
      }
    }
    network.schedule_late(std::max(request.arrive_ns, now_ns), std::move(late));
  }
}

}  // namespace emulated_mlx5
