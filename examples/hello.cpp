// SPDX-License-Identifier: Apache-2.0
// The smallest client: attach, put, get.
//
//   copykvd &
//   hello
#include <cstdio>

#include <copykv/client.hpp>

int main() {
  // The daemon is found through COPYKV_RUNTIME_DIR and COPYKV_JOB, or their defaults.
  copykv::AttachResult attached = copykv::Client::attach({});
  if (!attached.client) {
    std::fprintf(stderr, "hello: %s\n", attached.error.c_str());
    return 1;
  }
  copykv::Client& kv = *attached.client;

  const copykv::Result put = kv.put("greeting", "hello");
  if (!put.ok()) {
    std::fprintf(stderr, "hello: put: %s\n", to_string(put.status).data());
    return 1;
  }

  // The value points into memory shared with the daemon, until the next call on this client.
  const copykv::Result got = kv.get("greeting");
  if (!got.ok() || got.value != "hello" || got.version != put.version) {
    std::fprintf(stderr, "hello: get: %s\n", to_string(got.status).data());
    return 1;
  }
  std::printf("greeting: %.*s\n", static_cast<int>(got.value.size()), got.value.data());
  return 0;
}
