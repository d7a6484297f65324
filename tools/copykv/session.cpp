// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/session.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/units.hpp"
#include "tools/copykv/time_limit.hpp"

namespace copykv::tools {

std::string no_answer_line(std::string_view what, const Common& common) {
  return fmt::format(
      "{}: no answer within {}; `copykv stat` shows what the daemon does, --timeout waits longer",
      what, spell_duration(common.timeout_ns));
}

Client attach(const Common& common, uint32_t queue_depth) {
  const TimeLimit limit(common.timeout_ns, no_answer_line("attach", common));
  AttachResult attached = Client::attach({.runtime_dir = common.runtime_dir,
                                          .job = common.job,
                                          .rank = common.rank,
                                          .queue_depth = queue_depth});
  if (attached.client) return std::move(*attached.client);
  const bool absent = attached.status == Status::disconnected;
  throw Failed(absent ? Exit::no_daemon : Exit::error, attached.error);
}

Result finish(Client& client, Status submitted, const Common& common, std::string_view what) {
  if (submitted != Status::ok) return Result{.status = submitted};
  Completion done;
  if (client.wait({&done, 1}, common.timeout_ms()) == 1) return done.result;
  throw Failed(Exit::error, no_answer_line(what, common));
}

Failed failure_of(const Result& result, std::string_view key) {
  const std::string name = show_key(key);
  const auto failed = [](Exit exit, const std::string& line) { return Failed(exit, line); };
  switch (result.status) {
    case Status::not_found:
      return failed(Exit::no_key, fmt::format("no such key '{}'", name));
    case Status::condition_failed:
      return failed(Exit::no_key, result.version == 0
                                      ? fmt::format("condition not met: there is no key '{}'", name)
                                      : fmt::format("condition not met: '{}' stands at version {}",
                                                    name, result.version));
    case Status::no_space:
      return failed(Exit::error,
                    fmt::format("no space for '{}': delete keys, or start copykvd with a larger "
                                "--memory",
                                name));
    case Status::invalid_key:
      return failed(Exit::error, fmt::format("a key has 1 to 1,024 bytes, '{}' has {}", name,
                                             format_count(key.size())));
    case Status::value_too_large:
      return failed(Exit::error,
                    fmt::format("the value for '{}' is larger than the daemon takes; see `copykv "
                                "info`, or start copykvd with a larger --max-value-bytes",
                                name));
    case Status::not_a_number:
      return failed(Exit::error,
                    fmt::format("the value of '{}' is no 64-bit decimal number, or the sum "
                                "overflows; see `copykv get`",
                                name));
    case Status::buffer_too_small:
    case Status::would_block:
      return failed(Exit::error,
                    fmt::format("no memory to transfer the value of '{}' ({}); start copykvd with "
                                "a larger limit of bulk memory",
                                name, format_bytes(result.value_bytes)));
    case Status::disconnected:
      return failed(Exit::no_daemon,
                    "the daemon went away, nothing was changed; start it, then try again");
    case Status::indeterminate:
      return failed(Exit::no_daemon,
                    fmt::format("the daemon went away during the write: it may or may not have "
                                "happened; read '{}' before trying again",
                                name));
    case Status::unreachable:
      return failed(
          Exit::no_daemon,
          fmt::format("the rank that owns '{}' cannot be reached; check that it runs", name));
    default:
      return failed(Exit::error,
                    fmt::format("'{}': the daemon answered {}; use the copykv of its release", name,
                                to_string(result.status)));
  }
}

}  // namespace copykv::tools
