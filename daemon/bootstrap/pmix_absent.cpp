// SPDX-License-Identifier: Apache-2.0
#include "daemon/bootstrap/pmix_bootstrap.hpp"

namespace copykv::bootstrap {

Outcome<std::unique_ptr<Bootstrap>> make_pmix_bootstrap(const BootstrapOptions&) {
  return Failure{
      "--rendezvous pmix: this copykvd was built without PMIx; install libpmix-dev and build "
      "again, "
      "or use tcp://host:port"};
}

}  // namespace copykv::bootstrap
