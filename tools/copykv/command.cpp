// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/command.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <type_traits>
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

Outcome<int64_t> parse_signed(std::string_view text) {
  int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code == std::errc{} && end == text.data() + text.size()) return value;
  return Failure{fmt::format("'{}' is no whole number from {} to {}", text, INT64_MIN, INT64_MAX)};
}

}  // namespace

Command Commands::add(const char* name, const char* description, Run run) {
  CLI::App* command = app_.add_subcommand(name, description);
  command->fallthrough();  // --job and the like may stand behind the command, too
  command->callback([this, run = std::move(run)] { chosen_ = run; });
  return Command(*command);
}

// Not CLI11's own conversion: it takes 010 for 8, and 2^63 for 2^63 - 1.
template <class Parse, class T>
CLI::Option* Command::number(const char* name, Parse parse, T& target, const char* description) {
  CLI::Option* option = app_->add_option_function<std::string>(
      name,
      [name, parse, &target](const std::string& text) {
        const auto parsed = parse(text);
        if (!parsed) throw CLI::ValidationError(name, parsed.error);
        if constexpr (std::is_same_v<T, uint32_t>) {
          target = static_cast<uint32_t>(*parsed);
        } else {
          target = *parsed;
        }
      },
      description);
  return option->type_name("NUMBER");
}

void Command::argument(const char* name, std::string& target, const char* description) {
  app_->add_option(name, target, description)->required();
}
void Command::argument(const char* name, int64_t& target, const char* description) {
  number(name, parse_signed, target, description)->required();
}
void Command::option(const char* name, std::string& target, const char* description) {
  app_->add_option(name, target, description);
}
void Command::option(const char* name, uint32_t& target, const char* description) {
  number(
      name, [](std::string_view text) { return parse_count(text, UINT32_MAX); }, target,
      description);
}
void Command::option(const char* name, uint64_t& target, const char* description) {
  number(
      name, [](std::string_view text) { return parse_count(text); }, target, description);
}
void Command::option(const char* name, std::optional<uint64_t>& target, const char* description) {
  number(
      name, [](std::string_view text) { return parse_count(text); }, target, description);
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
