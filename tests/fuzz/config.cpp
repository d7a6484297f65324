// SPDX-License-Identifier: Apache-2.0
// What people write: quantities, option values, environment, configuration files. Nothing may crash
// or throw out; what is printed as the effective configuration must read back as the same.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/fd.hpp"
#include "base/settings.hpp"
#include "base/units.hpp"
#include "tests/fuzz/input.hpp"

namespace {

using namespace copykv;
using fuzz::require;

struct Options {
  std::string name = "default";
  uint64_t memory_bytes = 1 << 20;
  uint64_t pause_ns = kNanosPerSecond;
  uint32_t count = 3;
  double ratio = 0.5;
  bool flag = false;
  std::vector<std::string> list{};
  int choice = 0;
};

void quantities(const std::string& text) {
  if (const auto bytes = parse_bytes(text)) {
    require(*parse_bytes(spell_bytes(*bytes)) == *bytes, "a spelt size reads back");
  }
  if (const auto duration = parse_duration_ns(text)) {
    require(*parse_duration_ns(spell_duration(*duration)) == *duration,
            "a spelt duration reads back");
  }
  (void)parse_count(text, 1000);
  (void)parse_number(text);
}

/// Runs a program's start with this file as --config and this argument. Returns what it printed as
/// its configuration, empty when it refused.
std::string configure(const std::string& file_text, const std::string& argument) {
  const Fd file(::memfd_create("config", MFD_CLOEXEC));
  (void)!::write(file.get(), file_text.data(), file_text.size());
  CLI::App app("fuzz");
  Settings settings(app, "fuzz");
  Options options;
  settings.add("name", options.name, "");
  settings.add_bytes("memory", options.memory_bytes, "", {1, 1ULL << 40});
  settings.add_duration("pause", options.pause_ns, "");
  settings.add("count", options.count, "", {0, 1000});
  settings.add("ratio", options.ratio, "", {0, 1});
  settings.add("flag", options.flag, "");
  settings.add("list", options.list, "");
  settings.add_choice("choice", options.choice, "", {{"zero", 0}, {"one", 1}});
  const std::string path = fmt::format("/proc/self/fd/{}", file.get());
  std::vector<const char*> arguments = {"fuzz", "--config", path.c_str()};
  if (!argument.empty()) arguments.push_back(argument.c_str());
  static FILE* const nowhere = std::fopen("/dev/null", "w");
  const auto code = parse_command_line(app, static_cast<int>(arguments.size()), arguments.data(),
                                       {&settings}, nowhere, nowhere);
  return code ? std::string() : settings.print_config();
}

/// `key = value  # source`: the values alone.
std::string without_sources(const std::string& printed) {
  std::string values;
  size_t at = 0;
  while (at < printed.size()) {
    const size_t end = printed.find('\n', at);
    const std::string line = printed.substr(at, end - at);
    values += line.substr(0, line.rfind("  # ")) + "\n";
    at = end == std::string::npos ? printed.size() : end + 1;
  }
  return values;
}

/// TOML is UTF-8: a name that is not (from the command line) cannot be written in it.
bool is_utf8(const std::string& text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.c_str());
  while (*at != 0) {
    const int extra = *at < 0x80   ? 0
                      : *at < 0xc2 ? -1
                      : *at < 0xe0 ? 1
                      : *at < 0xf0 ? 2
                      : *at < 0xf5 ? 3
                                   : -1;
    if (extra < 0) return false;
    const unsigned char first = *at++;
    for (int left = extra; left > 0; --left, ++at) {
      if ((*at & 0xc0) != 0x80) return false;
      if (left == extra) {  // overlong, surrogate or beyond the last code point
        const bool low = (first == 0xe0 && *at < 0xa0) || (first == 0xf0 && *at < 0x90);
        const bool high = (first == 0xed && *at >= 0xa0) || (first == 0xf4 && *at >= 0x90);
        if (low || high) return false;
      }
    }
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  fuzz::Input input(data, bytes);
  const uint32_t which = input.take<uint8_t>();
  if (which % 4 == 0) {
    quantities(input.text(64));
    return 0;
  }
  // An argument with a NUL ends there, as in any program.
  const std::string argument = which % 4 == 1 ? input.text(which / 4).c_str() : std::string();
  const std::string printed = configure(input.text(4096), argument);
  if (printed.empty() || !is_utf8(printed)) return 0;
  const std::string again = configure(printed, {});
  require(without_sources(again) == without_sources(printed), "a printed configuration reads back");
  return 0;
}
