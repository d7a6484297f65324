// SPDX-License-Identifier: Apache-2.0
//   conformance --transport NAME [Catch's options]
//
// Exit 77, with the reason as the last line, when this machine has no such transport.
#define CATCH_CONFIG_RUNNER
#include <cstdio>
#include <cstring>

#include <catch2/catch.hpp>

#include "tests/conformance/peer_process.hpp"
#include "tests/conformance/transport.hpp"

namespace copyrpc::conformance {
namespace {

constexpr int kSkipped = 77;
std::string transport_name = "ofi-tcp";

}  // namespace

Transport transport_under_test() {
  return make_transport(transport_name);
}
const std::string& transport_under_test_name() {
  return transport_name;
}

}  // namespace copyrpc::conformance

int main(int argc, char** argv) {
  using namespace copyrpc::conformance;
  if (argc == 3 && std::strcmp(argv[1], kPeerFlag) == 0) return be_a_peer(argv[2]);
  Catch::Session session;
  session.cli(session.cli() |
              Catch::clara::Opt(transport_name, "name")["--transport"]("the fabric under test"));
  if (const int error = session.applyCommandLine(argc, argv); error != 0) return error;
  if (const Transport transport = transport_under_test(); !transport.absent.empty()) {
    std::printf("%s: %s\n", transport_name.c_str(), transport.absent.c_str());
    return kSkipped;
  }
  return session.run();
}
