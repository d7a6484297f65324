// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/command.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <CLI/CLI.hpp>

#include "base/units.hpp"
#include "tools/copykv/utf8.hpp"

namespace copykv::tools {
namespace {

constexpr size_t kShownKeyBytesMax = 80;

[[noreturn]] void fail_out() {
  throw Failed(Exit::error,
               fmt::format("cannot write to stdout: {}; what was written is incomplete",
                           std::strerror(errno)));
}

}  // namespace

Command Commands::add(const char* name, const char* description, Run run) {
  CLI::App* command = app_.add_subcommand(name, description);
  command->fallthrough();  // --job and the like may stand behind the command, too
  command->callback([this, run = std::move(run)] { chosen_ = run; });
  return Command(*command);
}

void Command::argument(const char* name, std::string& target, const char* description) {
  app_->add_option(name, target, description)->required();
}
void Command::argument(const char* name, int64_t& target, const char* description) {
  app_->add_option(name, target, description)->required();
}
void Command::option(const char* name, std::string& target, const char* description) {
  app_->add_option(name, target, description);
}
void Command::option(const char* name, uint32_t& target, const char* description) {
  app_->add_option(name, target, description);
}
void Command::option(const char* name, uint64_t& target, const char* description) {
  app_->add_option(name, target, description);
}
void Command::option(const char* name, std::optional<uint64_t>& target, const char* description) {
  app_->add_option(name, target, description);
}
void Command::flag(const char* name, bool& target, const char* description) {
  app_->add_flag(name, target, description);
}

void Command::only_one_of(std::initializer_list<const char*> names) {
  for (const char* const one : names) {
    for (const char* const other : names) {
      if (one != other) app_->get_option(one)->excludes(app_->get_option(other));
    }
  }
}

uint32_t parse_ttl_ms(std::string_view text) {
  const auto ttl_ns = parse_duration_ns(text);
  if (!ttl_ns) throw Failed(Exit::usage, "time to live: " + ttl_ns.error);
  const uint64_t ttl_ms = *ttl_ns / kNanosPerMilli;
  if (*ttl_ns % kNanosPerMilli != 0 || ttl_ms > UINT32_MAX) {
    throw Failed(Exit::usage,
                 fmt::format("time to live '{}' is no whole number of milliseconds up to {} ms "
                             "(49 days); 0 means for ever",
                             text, UINT32_MAX));
  }
  return static_cast<uint32_t>(ttl_ms);
}

std::string show_key(std::string_view key) {
  std::string shown;
  while (!key.empty()) {
    const size_t bytes = utf8_sequence_bytes(key);
    const bool printable = bytes > 1 || (bytes == 1 && key[0] >= 0x20 && key[0] != 0x7f);
    const std::string_view piece = key.substr(0, bytes > 0 ? bytes : 1);
    if (shown.size() + piece.size() > kShownKeyBytesMax) return shown + "...";
    if (printable) {
      shown += piece;
    } else {
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(piece[0]));
    }
    key.remove_prefix(piece.size());
  }
  return shown;
}

void write_out(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) fail_out();
}

void flush_out() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) fail_out();
}

}  // namespace copykv::tools
