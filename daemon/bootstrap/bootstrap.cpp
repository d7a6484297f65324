// SPDX-License-Identifier: Apache-2.0
#include "daemon/bootstrap/bootstrap.hpp"

#include <fmt/format.h>

#include "base/runtime_paths.hpp"
#include "daemon/bootstrap/file_bootstrap.hpp"
#include "daemon/bootstrap/pmix_bootstrap.hpp"
#include "daemon/bootstrap/rendezvous_url.hpp"
#include "daemon/bootstrap/tcp_bootstrap.hpp"

namespace copykv {
namespace {

/// One rank: nobody to meet.
class Alone final : public Bootstrap {
 public:
  Outcome<std::vector<std::string>> exchange(const std::string& card) override {
    return std::vector<std::string>{card};
  }
  std::vector<Change> changes() override { return {}; }
};

Outcome<void> check(const BootstrapOptions& options) {
  if (auto job = check_job_name(options.job); !job) return job;
  if (options.ranks == 0 || options.ranks > kRanksMax || options.rank >= options.ranks) {
    return Failure{
        fmt::format("--rank {} with --ranks {}; there are 1 to {} ranks, numbered from 0",
                    options.rank, options.ranks, kRanksMax)};
  }
  return {};
}

}  // namespace

Outcome<std::unique_ptr<Bootstrap>> Bootstrap::make(const BootstrapOptions& options) {
  if (const auto checked = check(options); !checked) return Failure{checked.error};
  const auto url = bootstrap::parse_rendezvous(options.url);
  if (!url) return Failure{url.error};
  switch (url->scheme) {
    case bootstrap::Scheme::none:
      break;
    case bootstrap::Scheme::file:
      return bootstrap::FileBootstrap::make(options, url->dir);
    case bootstrap::Scheme::tcp:
      if (options.secret.empty()) {
        return Failure{
            fmt::format("--rendezvous {} needs a job secret, the same for all ranks: set "
                        "COPYKV_JOB_SECRET or --job-secret-file",
                        options.url)};
      }
      return options.rank == 0 ? bootstrap::TcpRendezvous::make(options, *url)
                               : bootstrap::TcpMember::make(options, *url);
    case bootstrap::Scheme::pmix:
      return bootstrap::make_pmix_bootstrap(options);
  }
  if (options.ranks == 1) return std::unique_ptr<Bootstrap>(new Alone);
  return Failure{
      fmt::format("--ranks {} without --rendezvous: say where they meet, by "
                  "tcp://host:port, file:///dir or pmix",
                  options.ranks)};
}

}  // namespace copykv
