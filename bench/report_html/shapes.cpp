// SPDX-License-Identifier: Apache-2.0
// Drawings with names on one axis.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/report_html/chart.hpp"
#include "bench/report_html/svg.hpp"

namespace copykv::bench::html {
namespace {

constexpr double kNames = 170;
constexpr double kRow = 22;
constexpr double kValues = 90;

std::string begin(std::string_view title, double height) {
  return fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n<text x=\"{}\" y=\"18\" "
      "class=\"title\">{}</text>\n",
      kWidth, height, escape(title), 8, escape(title));
}

}  // namespace

std::string waterfall(std::string_view title, const std::vector<Part>& parts, Unit unit) {
  double low = 0;
  double high = 0;
  double sum = 0;
  for (const Part& part : parts) {
    sum += part.value;
    low = std::min(low, sum);
    high = std::max(high, sum);
  }
  const double range = std::max(high - low, 1e-12);
  const double width = kWidth - kNames - kValues;
  const auto at = [&](double value) { return kNames + width * (value - low) / range; };
  std::string out = begin(title, kTop + kRow * static_cast<double>(parts.size() + 1) + 10);
  double before = 0;
  double y = kTop;
  const auto bar = [&](std::string_view name, double from, double to, const char* colour) {
    out += fmt::format(
        "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text><rect class=\"mark\" "
        "x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\"/><text x=\"{:.1f}\" "
        "y=\"{:.1f}\">{}</text>\n",
        kNames - 8, y + 14, escape(name), at(std::min(from, to)), y + 2,
        std::max(1.0, at(std::max(from, to)) - at(std::min(from, to))), kRow - 5, colour,
        at(std::max(from, to)) + 6, y + 14, short_text(to - from, unit));
    y += kRow;
  };
  for (const Part& part : parts) {
    bar(part.name, before, before + part.value, part.value < 0 ? kColours[2] : kColours[0]);
    before += part.value;
  }
  bar("sum", 0, sum, kColours[6]);
  return out + "</svg>\n";
}

std::string heat_map(std::string_view title, const std::vector<std::string>& columns,
                     const std::vector<HeatRow>& rows, Unit unit) {
  double most = 0;
  for (const HeatRow& row : rows) {
    for (const double value : row.values) most = std::max(most, value);
  }
  const double cell =
      (kWidth - kNames - 10) / static_cast<double>(std::max<size_t>(1, columns.size()));
  std::string out = begin(title, kTop + kRow * static_cast<double>(rows.size() + 1) + 10);
  for (size_t i = 0; i < columns.size(); ++i) {
    out +=
        fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                    kNames + cell * (static_cast<double>(i) + 0.5), kTop + 14, escape(columns[i]));
  }
  double y = kTop + kRow;
  for (const HeatRow& row : rows) {
    out += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", kNames - 8,
                       y + 15, escape(row.name));
    for (size_t i = 0; i < row.values.size(); ++i) {
      const double share = most > 0 ? std::max(0.0, row.values[i]) / most : 0;
      out += fmt::format(
          "<rect class=\"mark\" x=\"{0:.1f}\" y=\"{1:.1f}\" width=\"{2:.1f}\" height=\"{3}\" "
          "fill=\"{4}\" fill-opacity=\"{5:.2f}\"/><text x=\"{6:.1f}\" y=\"{7:.1f}\" "
          "text-anchor=\"middle\" fill=\"{8}\">{9}</text>\n",
          kNames + cell * static_cast<double>(i), y, cell - 2, kRow - 2, kColours[0],
          0.06 + 0.9 * share, kNames + cell * (static_cast<double>(i) + 0.5), y + 15,
          share > 0.55 ? "#fff" : "#222", short_text(row.values[i], unit));
    }
    y += kRow;
  }
  return out + "</svg>\n";
}

}  // namespace copykv::bench::html
