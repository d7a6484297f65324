// SPDX-License-Identifier: Apache-2.0
// What is told of the devices of a machine: limits, what is granted, what auto takes.
#include "tests/unit/copyrpc/dc_scene.hpp"

namespace copyrpc {
namespace {

TEST_CASE("ports: limits of the device, and what it grants when it is asked") {
  emulated_mlx5::Options device;
  device.devices = 2;
  device.qps_max = 1'000;
  device.qp_wr_max = 4'096;
  device.srq_wr_max = 8'191;
  device.cqe_max = 65'535;
  emulated_mlx5::configure(device);
  const size_t alive = emulated_mlx5::live_objects();  // of what ran before
  const auto ports = verbs_ports({});
  INFO(ports.error);
  REQUIRE(ports);
  REQUIRE(ports->size() == 2);
  for (const VerbsPort& port : *ports) {
    CAPTURE(port.device, port.reason, port.rc_reason, port.dc_reason);
    CHECK(port.reason.empty());
    CHECK(port.state == "active");
    CHECK(port.queue_pairs_max == 1'000);
    CHECK(port.queue_entries_max == 4'096);
    CHECK(port.receive_entries_max == 8'191);
    CHECK(port.completion_entries_max == 65'535);
    CHECK(port.rc_reason.empty());
    CHECK(port.rc_inline_bytes == 220);
    CHECK(port.dc_reason.empty());
    CHECK(port.dc_inline_bytes == 172);
  }
  CHECK(emulated_mlx5::live_objects() == alive);
  CHECK(auto_transport({}).name == "rc");
}

TEST_CASE("a device that grants less says how much, one that grants nothing says why") {
  emulated_mlx5::Options device;
  device.request_bytes_max = 192;
  emulated_mlx5::configure(device);
  auto ports = verbs_ports({});
  REQUIRE(ports);
  CHECK(ports->front().rc_inline_bytes < 220);
  CHECK(ports->front().rc_inline_bytes > 0);

  device.qps_max = 0;
  emulated_mlx5::configure(device);
  ports = verbs_ports({});
  REQUIRE(ports);
  CHECK_THAT(ports->front().rc_reason, Catch::Contains("ibv_create_qp_ex on "));
  CHECK_THAT(ports->front().dc_reason, Catch::Contains("mlx5dv_create_qp of a DC "));
}

TEST_CASE("no device: auto takes ofi-tcp and says why not something better") {
  emulated_mlx5::Options device;
  device.devices = 0;
  emulated_mlx5::configure(device);
  CHECK_THAT(verbs_ports({}).error, Catch::Contains("no RDMA device"));
  const AutoTransport choice = auto_transport({});
  CHECK(choice.name == "ofi-tcp");
  CHECK_THAT(choice.why, Catch::Contains("not rc: this machine has no RDMA device"));
}

}  // namespace
}  // namespace copyrpc
