// SPDX-License-Identifier: Apache-2.0
#include "base/settings.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <fstream>

#include <CLI/CLI.hpp>
#include <catch2/catch.hpp>

namespace copykv {
namespace {

enum class Mode { slow, fast };

// A program with one setting of each kind, run once with arguments; its output is kept.
struct Program {
  uint64_t memory_bytes = uint64_t{1} << 30;
  uint64_t duration_ns = 10 * kNanosPerSecond;
  uint32_t ranks = 1;
  uint64_t seed = 0;
  double read_ratio = 0.5;
  bool histograms = false;
  std::string job = "default";
  std::vector<std::string> goals{};
  Mode mode = Mode::slow;
  std::string out{};
  std::string err{};
  std::vector<Settings::Effective> effective{};

  std::optional<int> run(std::vector<const char*> arguments) {
    CLI::App app("a program of the test");
    Settings settings(app, "prog");
    settings.add_bytes("memory", memory_bytes, "limit", {.min = 4096, .max = uint64_t{1} << 40});
    settings.add_duration("duration", duration_ns, "length of a run");
    settings.add("ranks", ranks, "processes", {.min = 1, .max = 64});
    settings.add("seed", seed, "seed");
    settings.add("read-ratio", read_ratio, "share of reads", {.min = 0, .max = 1});
    settings.add("histograms", histograms, "write buckets");
    settings.add("job", job, "name", [](const std::string& name) -> Outcome<void> {
      if (name.find('/') == std::string::npos) return {};
      return Failure{"'" + name + "' has a slash"};
    });
    settings.add("slo", goals, "goal");
    settings.add_choice<Mode>("mode", mode, "how", {{"slow", Mode::slow}, {"fast", Mode::fast}});
    arguments.insert(arguments.begin(), "prog");
    FILE* out_file = tmpfile();
    FILE* err_file = tmpfile();
    const auto code = parse_command_line(app, static_cast<int>(arguments.size()), arguments.data(),
                                         {&settings}, out_file, err_file);
    out = take(out_file);
    err = take(err_file);
    effective = settings.effective();
    return code;
  }

  [[nodiscard]] const Settings::Effective& of(const std::string& key) const {
    for (const auto& one : effective) {
      if (one.key == key) return one;
    }
    FAIL("no setting " << key);
    return effective.front();
  }

 private:
  static std::string take(FILE* file) {
    std::string text;
    rewind(file);
    for (int c = fgetc(file); c != EOF; c = fgetc(file)) text += static_cast<char>(c);
    fclose(file);
    return text;
  }
};

class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }

 private:
  const char* name_;
};

class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text) {
    char name[] = "/tmp/copykv-settings-XXXXXX";
    const int fd = mkstemp(name);
    REQUIRE(fd >= 0);
    close(fd);
    path = name;
    std::ofstream(path) << text;
  }
  ~ConfigFile() { unlink(path.c_str()); }
  std::string path{};
};

TEST_CASE("without arguments every setting keeps its default") {
  Program program;
  CHECK_FALSE(program.run({}));
  CHECK(program.memory_bytes == uint64_t{1} << 30);
  CHECK(program.ranks == 1);
  for (const auto& one : program.effective) CHECK(one.source == "default");
}

TEST_CASE("each kind is read from the command line") {
  Program program;
  CHECK_FALSE(program.run({"--memory", "64MiB", "--duration=250ms", "--ranks", "4", "--seed",
                           "18446744073709551615", "--read-ratio", "0.95", "--histograms", "--job",
                           "j", "--slo", "a<1", "--slo", "b<2", "--mode", "fast"}));
  CHECK(program.memory_bytes == uint64_t{64} << 20);
  CHECK(program.duration_ns == 250 * kNanosPerMilli);
  CHECK(program.ranks == 4);
  CHECK(program.seed == UINT64_MAX);
  CHECK(program.read_ratio == 0.95);
  CHECK(program.histograms);
  CHECK(program.job == "j");
  CHECK(program.goals == std::vector<std::string>{"a<1", "b<2"});
  CHECK(program.mode == Mode::fast);
  for (const auto& one : program.effective) CHECK(one.source == "flag");
}

TEST_CASE("a flag beats the environment, which beats the file, which beats the default") {
  const ConfigFile file(
      "memory = '32MiB'\nranks = 2\nread_ratio = 0.25\nhistograms = true\nslo = ['x', 'y']\n"
      "duration = 3\n");
  const Variable ranks("COPYKV_RANKS", "3");
  const Variable goals("COPYKV_SLO", "u,v");
  const Variable memory("COPYKV_MEMORY", "16MiB");
  const Variable job("COPYKV_JOB", "");
  Program program;
  CHECK_FALSE(program.run({"--config", file.path.c_str(), "--memory", "8MiB", "--no-histograms"}));
  CHECK(program.memory_bytes == uint64_t{8} << 20);
  CHECK(program.of("memory").source == "flag");
  CHECK(program.ranks == 3);
  CHECK(program.of("ranks").source == "environment COPYKV_RANKS");
  CHECK(program.goals == std::vector<std::string>{"u", "v"});
  CHECK(program.read_ratio == 0.25);
  CHECK(program.of("read_ratio").source == "file " + file.path);
  CHECK(program.duration_ns == 3 * kNanosPerSecond);
  CHECK_FALSE(program.histograms);
  CHECK(program.job == "default");
  CHECK(program.of("job").source == "default");
}

TEST_CASE("the last of repeated flags counts, and the file may come from the environment") {
  const ConfigFile file("seed = 7\n");
  const Variable config("COPYKV_CONFIG", file.path.c_str());
  Program program;
  CHECK_FALSE(program.run({"--ranks", "2", "--ranks", "5"}));
  CHECK(program.ranks == 5);
  CHECK(program.seed == 7);
}

TEST_CASE("the printed configuration names sources and can be read back") {
  Program printed;
  CHECK(printed.run({"--print-config", "--memory", "1536KiB", "--slo", "get.p99<50us", "--duration",
                     "1500us", "--mode", "fast"}) == 0);
  CHECK(printed.out.find("memory = \"1536KiB\"  # flag\n") != std::string::npos);
  CHECK(printed.out.find("ranks = 1  # default\n") != std::string::npos);
  const ConfigFile file(printed.out);
  Program again;
  CHECK_FALSE(again.run({"--config", file.path.c_str()}));
  CHECK(again.memory_bytes == 1536 * 1024);
  CHECK(again.duration_ns == 1'500'000);
  CHECK(again.goals == std::vector<std::string>{"get.p99<50us"});
  CHECK(again.mode == Mode::fast);
}

TEST_CASE("effective values have JSON literals") {
  Program program;
  CHECK_FALSE(program.run({"--job", "a\"b", "--slo", "x\\y", "--duration", "2500ms"}));
  CHECK(program.of("memory").json == "1073741824");
  CHECK(program.of("duration").json == "2.5");
  CHECK(program.of("job").json == R"("a\"b")");
  CHECK(program.of("slo").json == R"(["x\\y"])");
  CHECK(program.of("histograms").json == "false");
  CHECK(program.of("mode").json == "\"slow\"");
  CHECK(json_quote("\n\x7f") == "\"\\u000a\\u007f\"");
}

TEST_CASE("a bad value ends with code 2 and one line that names setting, value and remedy") {
  const auto [flag, value, part] = GENERATE(table<const char*, const char*, const char*>({
      {"--memory", "1XB", "KiB"},
      {"--memory", "1KiB", "outside 4KiB to 1TiB"},
      {"--ranks", "65", "outside 1 to 64"},
      {"--ranks", "4294967297", "4294967295"},
      {"--ranks", "two", "whole number"},
      {"--read-ratio", "1.5", "outside 0 to 1"},
      {"--duration", "soon", "ns, us, ms"},
      {"--mode", "medium", "slow|fast"},
      {"--job", "a/b", "slash"},
  }));
  INFO(flag << " " << value);
  Program program;
  CHECK(program.run({flag, value}) == 2);
  CHECK(program.err.starts_with(std::string("prog: ") + flag + ": '" + value + "'"));
  CHECK(program.err.find(part) != std::string::npos);
  CHECK(program.err.find('\n') == program.err.size() - 1);
}

TEST_CASE("a bad value in the environment or the file names its place") {
  Program from_environment;
  const ConfigFile file("ranks = 'many'\n");
  CHECK(from_environment.run({"--config", file.path.c_str()}) == 2);
  CHECK(from_environment.err.find("(file " + file.path + "): 'many'") != std::string::npos);
  const Variable bad("COPYKV_HISTOGRAMS", "perhaps");
  Program from_file;
  CHECK(from_file.run({}) == 2);
  CHECK(from_file.err.find("(environment COPYKV_HISTOGRAMS): 'perhaps'") != std::string::npos);
}

TEST_CASE("a file with unknown, misplaced or broken content is refused") {
  const auto* text = GENERATE("ransk = 1\n", "[prog]\nranks = 1\n", "ranks = [1, 2]\n", "ranks =\n",
                              "config = 'x'\n", "seed = 1979-05-27\n");
  INFO(text);
  const ConfigFile file(text);
  Program program;
  CHECK(program.run({"--config", file.path.c_str()}) == 2);
  CHECK(program.err.find(file.path) != std::string::npos);
  CHECK(program.err.find('\n') == program.err.size() - 1);
  CHECK(Program().run({"--config", "/nonexistent/copykv.toml"}) == 2);
}

TEST_CASE("unknown flags, missing values and stray arguments end with code 2, help with 0") {
  CHECK(Program().run({"--bogus"}) == 2);
  CHECK(Program().run({"--ranks"}) == 2);
  CHECK(Program().run({"stray"}) == 2);
  Program program;
  CHECK(program.run({"--help"}) == 0);
  CHECK(program.out.find("--memory BYTES [1GiB]") != std::string::npos);
  CHECK(program.err.empty());
}

TEST_CASE("only the subcommand on the command line is resolved") {
  CLI::App app("two commands");
  app.require_subcommand(1);
  uint32_t run_depth = 1;
  uint32_t sweep_depth = 1;
  Settings run(*app.add_subcommand("run", ""), "prog run");
  Settings sweep(*app.add_subcommand("sweep", ""), "prog sweep");
  run.add("depth", run_depth, "");
  sweep.add("depth", sweep_depth, "");
  const Variable depth("COPYKV_DEPTH", "9");
  const char* arguments[] = {"prog", "run", "--depth", "3"};
  CHECK_FALSE(parse_command_line(app, 4, arguments, {&run, &sweep}));
  CHECK(run_depth == 3);
  CHECK(sweep_depth == 1);
}

}  // namespace
}  // namespace copykv
