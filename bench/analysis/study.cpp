// SPDX-License-Identifier: Apache-2.0
// Many documents as one study: which points belong together, and what tells series apart.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "bench/analysis/documents.hpp"

namespace copykv::bench::analysis {
namespace {

using Json = nlohmann::ordered_json;

bool same_series(const Conditions& a, const Conditions& b) {
  return a.settings == b.settings && a.transport == b.transport && a.simulated == b.simulated &&
         a.published == b.published && a.cpu == b.cpu && a.commit == b.commit;
}

Outcome<Json> read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) return Failure{fmt::format("cannot read {}", path.string())};
  Json document = Json::parse(file, nullptr, false);
  if (document.is_discarded()) return Failure{fmt::format("{} is not JSON", path.string())};
  return document;
}

}  // namespace

void add_point(Point point, Study& study) {
  const auto same = [&](const Series& series) {
    return same_series(series.points.front().conditions, point.conditions);
  };
  const auto found = std::find_if(study.series.begin(), study.series.end(), same);
  if (found == study.series.end()) {
    study.series.push_back({{}, {std::move(point)}});
    return;
  }
  for (Point& other : found->points) {
    if (other.conditions.clients != point.conditions.clients) continue;
    std::move(point.runs.begin(), point.runs.end(), std::back_inserter(other.runs));
    std::move(point.slos.begin(), point.slos.end(), std::back_inserter(other.slos));
    return;
  }
  found->points.push_back(std::move(point));
}

std::vector<const Series*> swept(const Study& study) {
  std::vector<const Series*> chosen;
  for (const Series& series : study.series) {
    if (series.points.size() >= 3) chosen.push_back(&series);
  }
  if (!chosen.empty()) return chosen;
  for (const Series& series : study.series) chosen.push_back(&series);
  return chosen;
}

void join(Study other, Study& study) {
  for (Series& series : other.series) {
    for (Point& point : series.points) add_point(std::move(point), study);
  }
  std::move(other.skipped.begin(), other.skipped.end(), std::back_inserter(study.skipped));
}

void arrange(Study& study) {
  for (Series& series : study.series) {
    std::sort(series.points.begin(), series.points.end(), [](const Point& a, const Point& b) {
      return a.conditions.customers() < b.conditions.customers();
    });
  }
  // A series is named by the settings in which it differs from some other one.
  std::set<std::string> telling = {"ranks"};
  for (const Series& series : study.series) {
    for (const auto& [key, value] : series.points.front().conditions.settings) {
      for (const Series& other : study.series) {
        const Conditions& c = other.points.front().conditions;
        if (c.published || series.points.front().conditions.published) continue;
        const auto same = std::find(c.settings.begin(), c.settings.end(), std::pair(key, value));
        if (same == c.settings.end()) telling.insert(key);
      }
    }
  }
  for (Series& series : study.series) {
    const Conditions& c = series.points.front().conditions;
    const std::string transport = c.transport == "none" ? "no network" : c.transport;
    series.name = c.published ? "published" : transport + (c.simulated ? " (simulated)" : "");
    for (const auto& [key, value] : c.settings) {
      if (key == "transport" || value.empty() || !telling.contains(key)) continue;
      series.name += key == "ranks" ? fmt::format(", {} rank{}", value, value == "1" ? "" : "s")
                                    : fmt::format(", {} {}", key, value);
    }
  }
}

Outcome<Study> read_study(const std::string& path) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    for (const auto& entry : fs::recursive_directory_iterator(path, error)) {
      if (entry.is_regular_file(error) && entry.path().extension() == ".json") {
        files.push_back(entry.path());
      }
    }
    std::sort(files.begin(), files.end());
  } else {
    files.emplace_back(path);
  }
  Study study;
  for (const fs::path& file : files) {
    const Outcome<Json> document = path == "published" ? published_reference() : read_json(file);
    const std::string problem =
        document ? add_document(*document, study).error : std::string(document.error);
    if (problem.empty()) continue;
    if (files.size() == 1) return Failure{fmt::format("{}: {}", file.string(), problem)};
    study.skipped.push_back(fmt::format("{}: {}", file.filename().string(), problem));
  }
  if (study.series.empty()) return Failure{fmt::format("{} holds no result of benchkv", path)};
  arrange(study);
  return study;
}

}  // namespace copykv::bench::analysis
