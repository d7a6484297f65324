// SPDX-License-Identifier: Apache-2.0
// What DC queue pairs of the emulated device do.
#include "tests/emulated_mlx5/host.hpp"

namespace emulated_mlx5 {
namespace {

struct Three {
  Time time;
  Host a;
  Host b;
  Host c;
  ibv_qp* dci;
  ibv_ah* to_b;
  ibv_ah* to_c;
  explicit Three(const Options& options = {}) : time(options) {
    b.open_dct();
    c.open_dct();
    b.post_receives(8);
    c.post_receives(8);
    dci = a.open_dci();
    to_b = a.address_of(b);
    to_c = a.address_of(c);
  }
  int write_b(const Host::Write& what) { return Host::write(dci, to_b, a, b, what); }
  int write_c(const Host::Write& what) { return Host::write(dci, to_c, a, c, what); }
};

TEST_CASE("a write arrives after its time, and then its completion") {
  Three three;
  three.a.bytes[0] = std::byte{0x5a};
  REQUIRE(three.write_b({.id = 7, .announced = true}) == 0);
  CHECK(three.b.poll().empty());
  CHECK(three.b.bytes[0] == std::byte{0});
  CHECK(three.time.run(three.a.cq) >= 1'200);
  CHECK(three.b.bytes[0] == std::byte{0x5a});
  const auto arrived = three.b.poll();
  REQUIRE(arrived.size() == 1);
  CHECK(arrived[0].opcode == IBV_WC_RECV_RDMA_WITH_IMM);
  CHECK(be32toh(arrived[0].imm_data) == 7);
  CHECK(arrived[0].src_qp == 0);  // nobody knows whose
  const auto done = three.a.poll();
  REQUIRE(done.size() == 1);
  CHECK(done[0].wr_id == 7);
  CHECK(done[0].status == IBV_WC_SUCCESS);
}

TEST_CASE("one completion stands for the unsignalled requests before it, and frees their places") {
  Three three;
  for (uint64_t id = 0; id < 15; ++id) REQUIRE(three.write_b({.id = id, .signalled = false}) == 0);
  REQUIRE(three.write_b({.id = 15}) == 0);
  CHECK(three.write_b({.id = 16}) == ENOMEM);
  (void)three.time.run(three.a.cq);
  CHECK(three.write_b({.id = 16}) == ENOMEM);  // free once it is polled
  CHECK(three.a.poll().size() == 1);
  CHECK(three.write_b({.id = 16}) == 0);
}

TEST_CASE("changing the target costs an attach, staying with it does not") {
  Three three;
  for (uint64_t id = 0; id < 4; ++id) REQUIRE(three.write_b({.id = id}) == 0);
  const uint64_t together_ns = three.time.run(three.a.cq);
  CHECK(counters().attaches == 1);
  for (uint64_t id = 0; id < 4; ++id)
    REQUIRE((id % 2 == 0 ? three.write_b({.id = id}) : three.write_c({.id = id})) == 0);
  CHECK(three.time.run(three.a.cq) > 2 * together_ns);
  CHECK(counters().attaches == 4);
}

TEST_CASE("a wrong key fails the request, flushes what is behind it, and leaves the target well") {
  Three three;
  REQUIRE(three.write_c({.id = 1, .signalled = false}) == 0);
  REQUIRE(three.write_b({.id = 2, .announced = true, .rkey = 99}) == 0);
  REQUIRE(three.write_c({.id = 3, .announced = true, .signalled = false}) == 0);
  (void)three.time.run(three.a.cq);
  const auto ended = three.a.poll();
  REQUIRE(ended.size() == 2);  // errors are told of unsignalled requests, too
  CHECK(ended[0].wr_id == 2);
  CHECK(ended[0].status == IBV_WC_REM_ACCESS_ERR);
  CHECK(ended[1].wr_id == 3);
  CHECK(ended[1].status == IBV_WC_WR_FLUSH_ERR);
  CHECK(three.dci->state == IBV_QPS_ERR);
  CHECK(three.b.dct->state == IBV_QPS_RTR);
  CHECK(three.b.poll().empty());
  CHECK(three.c.poll().empty());
  REQUIRE(three.write_c({.id = 4}) == 0);  // into the queue of the dead: flushed
  const auto flushed = three.a.poll();
  REQUIRE(flushed.size() == 1);
  CHECK(flushed[0].status == IBV_WC_WR_FLUSH_ERR);
}

TEST_CASE("bounds, access, deregistered memory and the access key") {
  const auto status_of = [](const Host::Write& what, bool deregistered = false) {
    Three three;
    if (deregistered) {
      ibv_dereg_mr(three.b.mr);
      three.b.mr = ibv_reg_mr(three.b.pd, three.b.bytes.data(), 8, int{IBV_ACCESS_LOCAL_WRITE});
    }
    REQUIRE(three.write_b(what) == 0);
    (void)three.time.run(three.a.cq);
    const auto ended = three.a.poll();
    REQUIRE(ended.size() == 1);
    return ended[0].status;
  };
  CHECK(status_of({.bytes = 64, .offset = 65'536 - 64}) == IBV_WC_SUCCESS);
  CHECK(status_of({.bytes = 64, .offset = 65'536 - 63}) == IBV_WC_REM_ACCESS_ERR);
  CHECK(status_of({.offset = ~uint64_t{7}}) == IBV_WC_REM_ACCESS_ERR);
  CHECK(status_of({}, true) == IBV_WC_REM_ACCESS_ERR);
  CHECK(status_of({.key = Host::kKey + 1}) == IBV_WC_RETRY_EXC_ERR);
  CHECK(status_of({.bytes = 65'537}) == IBV_WC_LOC_PROT_ERR);
}

TEST_CASE("no receive entry: retried so often, then an error with a name") {
  Three three;
  for (uint64_t id = 0; id < 8; ++id) REQUIRE(three.write_b({.id = id, .announced = true}) == 0);
  (void)three.time.run(three.a.cq);
  REQUIRE(three.a.poll().size() == 8);
  SECTION("entries come in time") {
    REQUIRE(three.write_b({.id = 8, .announced = true}) == 0);
    three.time.clock.advance_ns(10'000);
    (void)three.a.poll();
    three.b.post_receives(1);
    (void)three.time.run(three.a.cq);
    const auto ended = three.a.poll();
    REQUIRE(ended.size() == 1);
    CHECK(ended[0].status == IBV_WC_SUCCESS);
    CHECK(three.b.poll().size() == 9);
  }
  SECTION("they do not") {
    REQUIRE(three.write_b({.id = 8, .announced = true}) == 0);
    (void)three.time.run(three.a.cq);
    const auto ended = three.a.poll();
    REQUIRE(ended.size() == 1);
    CHECK(ended[0].status == IBV_WC_RNR_RETRY_EXC_ERR);
    CHECK(counters().rnr_naks == 3);
  }
}

TEST_CASE("a target that is gone, or cut off, ends in a time-out after all retries") {
  Three three;
  SECTION("gone") {
    three.b.close_dct();
  }
  SECTION("cut off") {
    cut(three.b.context, true);
  }
  REQUIRE(three.write_b({.id = 1}) == 0);
  const uint64_t took_ns = three.time.run(three.a.cq);
  CHECK(took_ns >= 3 * (4096 << 8));
  CHECK(took_ns < 4 * (4096 << 8));
  const auto ended = three.a.poll();
  REQUIRE(ended.size() == 1);
  CHECK(ended[0].status == IBV_WC_RETRY_EXC_ERR);
}

TEST_CASE("a link that heals in time loses nothing") {
  Three three;
  cut(three.b.context, true);
  REQUIRE(three.write_b({.id = 1, .announced = true}) == 0);
  three.time.clock.advance_ns(1'500'000);
  (void)three.a.poll();
  cut(three.b.context, false);
  (void)three.time.run(three.a.cq);
  CHECK(three.b.poll().size() == 1);
  CHECK(three.a.poll().at(0).status == IBV_WC_SUCCESS);
}

TEST_CASE("reset drops completions that were not polled, and is no fence for what has left") {
  Three three;
  REQUIRE(three.write_b({.id = 1}) == 0);
  (void)three.time.run(three.a.cq);
  three.a.bytes[0] = std::byte{0x77};
  REQUIRE(three.write_b({.id = 2, .announced = true}) == 0);
  three.time.clock.advance_ns(500);  // it is on the wire
  ibv_qp_attr to{};
  to.qp_state = IBV_QPS_RESET;
  REQUIRE(ibv_modify_qp(three.dci, &to, IBV_QP_STATE) == 0);
  three.a.bytes[0] = std::byte{0x11};  // ours again, and the write has the old byte
  CHECK(three.a.poll().empty());
  Host::bring_up(three.dci);
  (void)three.time.run(three.a.cq);
  CHECK(counters().late_writes == 1);
  CHECK(three.b.bytes[0] == std::byte{0x77});
  CHECK(three.b.poll().size() == 1);
  REQUIRE(three.write_b({.id = 3}) == 0);
  (void)three.time.run(three.a.cq);
  CHECK(three.a.poll().at(0).wr_id == 3);
}

TEST_CASE("a stream that fails leaves the others alone, until too many have failed") {
  Options options;
  options.streams_log_max = 3;
  options.streams_errored_log_max = 1;
  Three three(options);
  ibv_qp* dci = three.a.make_dci(16, 0, nullptr, {3, 1});
  REQUIRE(dci != nullptr);
  Host::bring_up(dci);
  const auto write = [&](uint64_t id, uint16_t stream, uint32_t rkey) {
    REQUIRE(Host::write(dci, three.to_b, three.a, three.b,
                        {.id = id, .rkey = rkey, .stream = stream}) == 0);
  };
  write(1, 1, 99);
  write(2, 1, 0);
  write(3, 2, 0);
  (void)three.time.run(three.a.cq);
  auto ended = three.a.poll();
  REQUIRE(ended.size() == 3);
  CHECK(ended[0].status == IBV_WC_REM_ACCESS_ERR);
  CHECK(ended[1].status == IBV_WC_WR_FLUSH_ERR);
  CHECK(ended[2].status == IBV_WC_SUCCESS);
  CHECK(dci->state == IBV_QPS_RTS);
  CHECK(mlx5dv_dci_stream_id_reset(dci, 1) == 0);
  write(4, 1, 99);
  write(5, 3, 99);
  (void)three.time.run(three.a.cq);
  CHECK(three.a.poll().size() == 2);
  CHECK(dci->state == IBV_QPS_ERR);
}

TEST_CASE("a completion queue that overruns is broken, and says so") {
  Time time;
  Host a(1);  // rounded up to a power of two
  Host b;
  b.open_dct();
  ibv_qp* dci = a.open_dci();
  ibv_ah* to_b = a.address_of(b);
  const int room = a.cq->cqe + 1;
  for (int at = 0; at <= room; ++at) REQUIRE(Host::write(dci, to_b, a, b, {}) == 0);
  (void)time.run(a.cq);
  CHECK(counters().cq_overruns == 1);
  ibv_async_event event{};
  REQUIRE(ibv_get_async_event(a.context, &event) == 0);
  CHECK(event.event_type == IBV_EVENT_CQ_ERR);
}

}  // namespace
}  // namespace emulated_mlx5
