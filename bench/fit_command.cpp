// SPDX-License-Identifier: Apache-2.0
// `benchkv fit`: which simulated machine reproduces the published figures, and how much worse its
// rivals do.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "bench/command_line.hpp"
#include "bench/commands.hpp"
#include "bench/fit.hpp"
#include "bench/fork_map.hpp"
#include "bench/interrupt.hpp"

namespace copykv::bench {
namespace {

struct FitCommand {
  std::string evaluate{};
  double skew_permille = 60;  // as fitted
  std::vector<std::string> only{};
  FitOptions fit{};
  double duration_ms = 4;
  bool held_out = true;
  uint32_t jobs = usable_cores();
  std::string json_path{};
  std::string profile_path{};
  std::string profile_name = "published-dc";
};

struct Outcomes {
  const Rival* rival = nullptr;
  Fitted fitted{};
  std::vector<Observation> observations{};
  double two_nodes_per_s = 0;  ///< predicted
  double held_out_error = 0;   ///< mean of |simulated / published - 1| over the rows left out
};

Json to_json(const std::vector<Observation>& observations) {
  Json list = Json::array();
  for (const Observation& o : observations) {
    list.push_back({{"what", o.name},
                    {"clients", o.clients},
                    {"published", o.published},
                    {"simulated", o.simulated},
                    {"distance", o.distance()}});
  }
  return list;
}

void print(const std::vector<Observation>& observations) {
  fmt::print("  {:<8} {:<26}{:>10}{:>11}{:>10}\n", "clients", "", "published", "simulated", "off");
  for (const Observation& o : observations) {
    const bool relative = std::abs(o.scale - 0.1 * o.published) < 1e-9;
    const std::string off = relative
                                ? fmt::format("{:+.1f} %", 100 * (o.simulated / o.published - 1))
                                : fmt::format("{:+.3f}", o.simulated - o.published);
    fmt::print("  {:<8} {:<26}{:>10.3f}{:>11.3f}{:>10}{}\n", o.clients == 0 ? 16 : o.clients,
               o.name, o.published, o.simulated, off, std::abs(o.distance()) > 1 ? "  !" : "");
  }
  const auto missed = std::count_if(observations.begin(), observations.end(),
                                    [](const auto& o) { return std::abs(o.distance()) > 1; });
  fmt::print("  {} of {} within 10 % (peaks: 1 us, weight: 10 points); distance {:.2f}\n",
             observations.size() - static_cast<size_t>(missed), observations.size(),
             distance_of(observations));
}

std::vector<double> starts_of(const Rival& rival) {
  std::vector<double> at;
  for (const Turned& turned : rival.turned) at.push_back(turned.start);
  return at;
}

[[noreturn]] void stop(const std::string& line) {
  throw std::runtime_error(line);
}

/// The rivals, each fitted to everything; the best first.
Outcome<std::vector<Outcomes>> fit_all(const FitCommand& command,
                                       const std::vector<const Rival*>& chosen) {
  const Reference& reference = dc_two_ranks();
  const auto texts = fork_map(chosen.size(), command.jobs, [&](size_t number) {
    const Rival& rival = *chosen[number];
    // From the start, and once more from where that led: a simplex can collapse.
    auto coarse = fit(rival, reference, command.fit, 0, starts_of(rival), 0.15);
    if (!coarse) stop(coarse.error);
    auto fine = fit(rival, reference, command.fit, 0, coarse->at, 0.05);
    if (!fine) stop(fine.error);
    return Json({{"at", fine->at},
                 {"distance", fine->distance},
                 {"evaluations", coarse->evaluations + fine->evaluations}})
        .dump();
  });
  if (!texts) return Failure{texts.error};
  std::vector<Outcomes> results;
  for (size_t number = 0; number < chosen.size(); ++number) {
    const Json text = Json::parse((*texts)[number]);
    Outcomes& made = results.emplace_back();
    made.rival = chosen[number];
    made.fitted = {text.at("at").get<std::vector<double>>(), text.at("distance"),
                   text.at("evaluations")};
    const auto candidate = candidate_of(*made.rival, made.fitted.at);
    if (!candidate) return Failure{candidate.error};
    // Other seeds, and longer: what was fitted to must not be what is shown.
    auto seen =
        observe(*candidate, reference, 4 * command.fit.duration_ns, command.fit.seed + 77'777, 0);
    if (!seen) return Failure{seen.error};
    made.observations = std::move(*seen);
    const auto predicted =
        predict_two_nodes(*candidate, command.fit.duration_ns, command.fit.seed + 77'777);
    if (!predicted) return Failure{predicted.error};
    made.two_nodes_per_s = *predicted;
  }
  std::sort(results.begin(), results.end(), [](const Outcomes& a, const Outcomes& b) {
    return distance_of(a.observations) < distance_of(b.observations);
  });
  return results;
}

/// Of each rival, how far off it is at rows that it was not fitted to.
Outcome<void> hold_out(const FitCommand& command, std::vector<Outcomes>& results) {
  const Reference& reference = dc_two_ranks();
  const size_t rows = reference.rows.size();
  const auto texts = fork_map(results.size() * rows, command.jobs, [&](size_t number) {
    const Outcomes& of = results[number / rows];
    const uint32_t row = reference.rows[number % rows].clients;
    FitOptions shorter = command.fit;
    shorter.evaluations = command.fit.evaluations / 2;
    // Not from the fit to everything, which has seen the row.
    auto fitted = fit(*of.rival, reference, shorter, row, starts_of(*of.rival), 0.15);
    if (!fitted) stop(fitted.error);
    const auto candidate = candidate_of(*of.rival, fitted->at);
    if (!candidate) stop(candidate.error);
    auto seen = observe(*candidate, reference, command.fit.duration_ns, command.fit.seed + 1, 0);
    if (!seen) stop(seen.error);
    Json errors = Json::array();
    for (const Observation& o : *seen) {
      const bool relative = std::abs(o.scale - 0.1 * o.published) < 1e-9;
      if (o.clients == row && relative) errors.push_back(std::abs(o.simulated / o.published - 1));
    }
    return errors.dump();
  });
  if (!texts) return Failure{texts.error};
  for (size_t i = 0; i < results.size(); ++i) {
    double sum = 0;
    size_t count = 0;
    for (size_t row = 0; row < rows; ++row) {
      for (const double error : Json::parse((*texts)[i * rows + row])) {
        sum += error;
        ++count;
      }
    }
    results[i].held_out_error = count > 0 ? sum / static_cast<double>(count) : 0;
  }
  return {};
}

Json document_of(const FitCommand& command, const std::vector<Outcomes>& results) {
  Json list = Json::array();
  for (const Outcomes& of : results) {
    Json turned = Json::array();
    for (size_t i = 0; i < of.fitted.at.size(); ++i) {
      const Turned& number = of.rival->turned[i];
      turned.push_back(
          {{"names", number.names.empty() ? std::vector<std::string>{"one_rank_alone_permille"}
                                          : number.names},
           {"value", of.fitted.at[i]},
           {"low", number.bound.low},
           {"high", number.bound.high}});
    }
    list.push_back({{"rival", of.rival->name},
                    {"what", of.rival->what},
                    {"numbers", std::move(turned)},
                    {"distance", distance_of(of.observations)},
                    {"two_nodes_of_46_clients_per_s", of.two_nodes_per_s},
                    {"held_out_error", command.held_out ? Json(of.held_out_error) : Json(nullptr)},
                    {"evaluations", of.fitted.evaluations},
                    {"observations", to_json(of.observations)}});
  }
  return {{"schema", 1},
          {"kind", "fit"},
          {"simulated", true},
          {"reference", Json::parse(dc_two_ranks_text())},
          {"rivals", std::move(list)}};
}

void print(const FitCommand& command, const std::vector<Outcomes>& results) {
  for (const Outcomes& of : results) {
    fmt::print("{}: {}\n ", of.rival->name, of.rival->what);
    for (size_t i = 0; i < of.fitted.at.size(); ++i) {
      const Turned& turned = of.rival->turned[i];
      const bool at_bound =
          of.fitted.at[i] <= turned.bound.low || of.fitted.at[i] >= turned.bound.high;
      std::string names;
      for (const std::string& name : turned.names) names += (names.empty() ? "" : "=") + name;
      fmt::print(" {} {:.0f}{}", names.empty() ? "one rank alone, permille:" : names,
                 of.fitted.at[i], at_bound ? " (at its bound)" : "");
    }
    fmt::print("\n");
    print(of.observations);
    fmt::print("\n");
  }
  fmt::print("SIMULATED, against published figures; the best first\n");
  const double published = dc_two_ranks().nodes.front().loop();
  fmt::print("  {:<14}{:>10}{:>22}   two nodes of {} clients (published {:.2f} M/s)\n", "rival",
             "distance", "off at rows left out", kReferenceNodeClients, published / 1e6);
  for (const Outcomes& of : results) {
    fmt::print("  {:<14}{:>10.2f}{:>22}   {:.2f} M/s, {:+.0f} %\n", of.rival->name,
               distance_of(of.observations),
               command.held_out ? fmt::format("{:.1f} %", 100 * of.held_out_error) : "-",
               of.two_nodes_per_s / 1e6, 100 * (of.two_nodes_per_s / published - 1));
  }
}

int evaluate(const FitCommand& command) {
  const auto profile = sim::load_profile(command.evaluate);
  if (!profile) return fail(profile.error, kExitUsage);
  const auto seen = observe({*profile, command.skew_permille}, dc_two_ranks(),
                            command.fit.duration_ns, command.fit.seed, 0);
  if (!seen) return fail(seen.error);
  fmt::print("SIMULATED, profile {}; one rank alone for {:g} permille of the run\n", profile->name,
             command.skew_permille);
  print(*seen);
  if (command.json_path.empty()) return kExitOk;
  const Json document = {{"schema", 1},
                         {"kind", "fit"},
                         {"simulated", true},
                         {"profile", profile->name},
                         {"observations", to_json(*seen)}};
  const auto written = write_text(command.json_path, document.dump(2) + "\n");
  return written ? int{kExitOk} : fail(written.error);
}

int fit_rivals(const FitCommand& command) {
  std::vector<const Rival*> chosen;
  for (const Rival& rival : rivals()) {
    if (command.only.empty() ||
        std::find(command.only.begin(), command.only.end(), rival.name) != command.only.end()) {
      chosen.push_back(&rival);
    }
  }
  auto results = fit_all(command, chosen);
  if (!results) return fail(results.error);
  if (command.held_out) {
    if (const auto held = hold_out(command, *results); !held) return fail(held.error);
  }
  print(command, *results);
  if (!command.profile_path.empty()) {
    const Outcomes& best = results->front();
    auto candidate = candidate_of(*best.rival, best.fitted.at);
    if (!candidate) return fail(candidate.error);
    candidate->profile.name = command.profile_name;
    candidate->profile.what = fmt::format(
        "fitted by `benchkv fit` to published figures of two ranks over ConnectX-7 DC: "
        "{}; one rank alone for {:.0f} permille of a run",
        best.rival->what, candidate->skew_permille);
    const auto written = write_text(command.profile_path, sim::to_toml(candidate->profile));
    if (!written) return fail(written.error);
  }
  if (command.json_path.empty()) return kExitOk;
  const auto written = write_text(command.json_path, document_of(command, *results).dump(2) + "\n");
  return written ? int{kExitOk} : fail(written.error);
}

}  // namespace

int fit_command(int argc, const char* const* argv) {
  FitCommand command;
  CLI::App app(
      "benchkv fit: the simulated machine that reproduces the published figures of two "
      "ranks, and its rivals",
      "benchkv fit");
  std::vector<std::string> known;
  for (const Rival& rival : rivals()) known.push_back(rival.name);
  app.add_option(
      "--evaluate", command.evaluate,
      "no fit: compare this profile (a name or a .toml file) with the published figures");
  app.add_option("--skew", command.skew_permille,
                 "with --evaluate: one rank works alone for so many thousandths of a run")
      ->capture_default_str();
  app.add_option("--rival", command.only, "only these")->check(CLI::IsMember(known));
  app.add_option("--evaluations", command.fit.evaluations, "of each fit, at most, twice")
      ->check(CLI::Range(8, 100'000))
      ->capture_default_str();
  app.add_option("--duration-ms", command.duration_ms, "virtual, of each simulated run")
      ->check(CLI::Range(0.5, 1'000.0))
      ->capture_default_str();
  app.add_option("--seed", command.fit.seed)->capture_default_str();
  app.add_option("--jobs", command.jobs, "processes")->check(CLI::Range(1, 1024));
  app.add_flag("!--no-held-out", command.held_out, "leave out the fits without each row");
  app.add_option("--json", command.json_path, "write everything there; - is stdout");
  app.add_option("--profile-out", command.profile_path, "write the best profile there (TOML)");
  app.add_option("--profile-name", command.profile_name)->capture_default_str();
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  command.fit.duration_ns = static_cast<uint64_t>(command.duration_ms * kNanosPerMilli);
  watch_interrupts();
  return command.evaluate.empty() ? fit_rivals(command) : evaluate(command);
}

}  // namespace copykv::bench
