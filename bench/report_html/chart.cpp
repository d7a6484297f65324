// SPDX-License-Identifier: Apache-2.0
#include "bench/report_html/chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/report_html/svg.hpp"

namespace copykv::bench::html {
namespace {

// About six round numbers between low and high; powers of ten (and 2, 5 of few) on a log axis.
std::vector<double> ticks_of(double low, double high, bool logarithmic) {
  std::vector<double> ticks;
  if (logarithmic) {
    const double decades = std::log10(high / low);
    for (int power = static_cast<int>(std::floor(std::log10(low))); power < 20; ++power) {
      for (const double digit : {1.0, 2.0, 5.0}) {
        if (digit > 1 && decades > 2.5) continue;
        const double at = digit * std::pow(10.0, power);
        if (at >= low * 0.999 && at <= high * 1.001) ticks.push_back(at);
      }
      if (std::pow(10.0, power) > high) break;
    }
    const size_t every = ticks.size() > 9 ? 2 : 1;
    std::vector<double> fewer;
    for (size_t i = 0; i < ticks.size(); i += every) fewer.push_back(ticks[i]);
    return fewer;
  }
  const double raw = (high - low) / 6;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = power;
  for (const double digit : {2.0, 5.0, 10.0}) {
    if (step < raw) step = digit * power;
  }
  for (double i = std::ceil(low / step); i * step <= high * 1.0001; ++i) ticks.push_back(i * step);
  return ticks;
}

void widen(double value, bool logarithmic, double& low, double& high) {
  if (!std::isfinite(value) || (logarithmic && value <= 0)) return;
  low = std::min(low, value);
  high = std::max(high, value);
}

std::string path_of(const std::vector<std::pair<double, double>>& pixels) {
  std::string path;
  for (const auto& [x, y] : pixels) {
    if (!std::isfinite(x) || !std::isfinite(y)) continue;
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x, y);
  }
  return path;
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:  // control characters are not allowed in HTML, not even escaped
        out += static_cast<unsigned char>(c) < ' ' && c != '\n' && c != '\t' ? '?' : c;
    }
  }
  return out;
}

std::string short_text(double value, Unit unit) {
  if (!std::isfinite(value)) return "-";
  const auto scaled = [&](std::initializer_list<std::pair<double, const char*>> scales) {
    for (const auto& [scale, name] : scales) {
      if (std::abs(value) >= scale * 0.9995) return fmt::format("{:.3g}{}", value / scale, name);
    }
    return fmt::format("{:.3g}", value);
  };
  switch (unit) {
    case Unit::rate:
      return scaled({{1e9, " G"}, {1e6, " M"}, {1e3, " k"}});
    case Unit::nanoseconds:
      return scaled({{1e9, " s"}, {1e6, " ms"}, {1e3, " us"}, {1e-3, " ns"}});
    case Unit::share:
      return fmt::format("{:.3g} %", 100 * value);
    case Unit::number:
      break;
  }
  return fmt::format("{:.4g}", value);
}

Chart& Chart::line(std::string name, std::vector<At> points, bool dashed) {
  if (points.size() > 1) {
    layers_.push_back({dashed ? Kind::dashed : Kind::line, std::move(name), std::move(points), {}});
  }
  return *this;
}

Chart& Chart::marks(std::string name, std::vector<At> points) {
  if (!points.empty()) layers_.push_back({Kind::marks, std::move(name), std::move(points), {}});
  return *this;
}

Chart& Chart::band(std::string name, std::vector<At> points) {
  if (points.size() > 1) layers_.push_back({Kind::band, std::move(name), std::move(points), {}});
  return *this;
}

Chart& Chart::bars(std::string name, std::vector<BarAt> bars) {
  if (!bars.empty()) layers_.push_back({Kind::bars, std::move(name), {}, std::move(bars)});
  return *this;
}

Chart& Chart::diagonal() {
  diagonal_ = true;
  return *this;
}

double Chart::Scale::operator()(double value) const {
  if (!logarithmic) return start + length * (value - low) / (high - low);
  return start + length * std::log(std::max(value, low / 10) / low) / std::log(high / low);
}

Chart::Scale Chart::scale_of(bool of_x) const {
  const Axis& axis = of_x ? x_ : y_;
  double low = INFINITY;
  double high = -INFINITY;
  const auto take = [&](double value) { widen(value, axis.logarithmic, low, high); };
  for (const Layer& layer : layers_) {
    for (const At& at : layer.points) {
      if (of_x || layer.kind != Kind::band) take(of_x ? at.x : at.y);
      if (!of_x && at.low < at.high) take(at.low), take(at.high);
    }
    for (const BarAt& bar : layer.bars) {
      take(of_x ? bar.from : bar.y);
      if (of_x) take(bar.to);
    }
  }
  if (low > high) low = axis.logarithmic ? 1 : 0, high = low + 1;
  if (!axis.logarithmic && axis.from_zero) low = std::min(low, 0.0);
  if (low == high) high = low + std::max(1e-9, std::abs(low) * 0.1);
  if (axis.logarithmic) {
    low *= of_x ? 0.95 : 0.8;
    high *= of_x ? 1.05 : 1.3;
  } else {
    high += 0.04 * (high - low);
    if (!axis.from_zero) low -= 0.04 * (high - low);
  }
  if (of_x) return {low, high, axis.logarithmic, kLeft, kWidth - kLeft - kRight};
  return {low, high, axis.logarithmic, kHeight - kBottom, -(kHeight - kTop - kBottom)};
}

size_t Chart::colour_of(std::string_view name) const {
  std::vector<std::string_view> seen;
  for (const Layer& layer : layers_) {
    if (std::find(seen.begin(), seen.end(), layer.name) == seen.end()) seen.push_back(layer.name);
  }
  const auto found = std::find(seen.begin(), seen.end(), name);
  return static_cast<size_t>(found - seen.begin()) % kColours.size();
}

void Chart::draw(const Layer& layer, const Scale& x, const Scale& y, std::string& out) const {
  const char* const colour = kColours[colour_of(layer.name)];
  const double floor = y.start;
  if (layer.kind == Kind::bars) {
    for (const BarAt& bar : layer.bars) {
      const double top = y(bar.y);
      out += fmt::format(
          "<rect class=\"mark\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.1f}\" "
          "fill=\"{}\" fill-opacity=\"0.35\"/>\n",
          x(bar.from), top, std::max(0.6, x(bar.to) - x(bar.from)), std::max(0.0, floor - top),
          colour);
    }
    return;
  }
  std::vector<std::pair<double, double>> pixels;
  if (layer.kind == Kind::band) {
    for (const At& at : layer.points) pixels.emplace_back(x(at.x), y(at.high));
    for (auto at = layer.points.rbegin(); at != layer.points.rend(); ++at) {
      pixels.emplace_back(x(at->x), y(at->low));
    }
    out += fmt::format("<path class=\"mark\" d=\"{}Z\" fill=\"{}\" fill-opacity=\"0.15\"/>\n",
                       path_of(pixels), colour);
    return;
  }
  for (const At& at : layer.points) pixels.emplace_back(x(at.x), y(at.y));
  if (layer.kind != Kind::marks) {
    out += fmt::format(
        "<path class=\"mark\" d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\"{}/>\n",
        path_of(pixels), colour, layer.kind == Kind::dashed ? " stroke-dasharray=\"6 4\"" : "");
    return;
  }
  for (size_t i = 0; i < pixels.size(); ++i) {
    const auto [px, py] = pixels[i];
    if (!std::isfinite(px) || !std::isfinite(py)) continue;
    const At& at = layer.points[i];
    if (at.low < at.high) {
      out += fmt::format(
          "<path class=\"mark\" d=\"M{0:.1f} {1:.1f}V{2:.1f}M{3:.1f} {1:.1f}h8M{3:.1f} {2:.1f}h8\" "
          "stroke=\"{4}\" fill=\"none\"/>\n",
          px, y(at.low), y(at.high), px - 4, colour);
    }
    out +=
        fmt::format("<circle class=\"mark\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.6\" fill=\"{}\"/>\n",
                    px, py, colour);
  }
}

void Chart::draw_axes(const Scale& x, const Scale& y, std::string& out) const {
  for (const double at : ticks_of(x.low, x.high, x.logarithmic)) {
    out += fmt::format(
        "<path d=\"M{0:.1f} {1}V{2}\" stroke=\"#ddd\"/><text x=\"{0:.1f}\" y=\"{3}\" "
        "text-anchor=\"middle\">{4}</text>\n",
        x(at), kTop, kHeight - kBottom, kHeight - kBottom + 16, short_text(at, x_.unit));
  }
  for (const double at : ticks_of(y.low, y.high, y.logarithmic)) {
    out += fmt::format(
        "<path d=\"M{0} {1:.1f}H{2}\" stroke=\"#ddd\"/><text x=\"{3}\" y=\"{4:.1f}\" "
        "text-anchor=\"end\">{5}</text>\n",
        kLeft, y(at), kWidth - kRight, kLeft - 6, y(at) + 4, short_text(at, y_.unit));
  }
  out += fmt::format("<path d=\"M{0} {1}V{2}H{3}\" stroke=\"#333\" fill=\"none\"/>\n", kLeft, kTop,
                     kHeight - kBottom, kWidth - kRight);
  out += fmt::format("<text x=\"{}\" y=\"18\" class=\"title\">{}</text>\n", kLeft, escape(title_));
  out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                     (kLeft + kWidth - kRight) / 2, kHeight - kBottom + 36, escape(x_.label));
  out += fmt::format(
      "<text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}"
      "</text>\n",
      (kTop + kHeight - kBottom) / 2, escape(y_.label));
}

void Chart::draw_legend(std::string& out) const {
  std::vector<std::string_view> named;
  for (const Layer& layer : layers_) {
    if (std::find(named.begin(), named.end(), layer.name) != named.end()) continue;
    const double at = kHeight + kLegendRow * static_cast<double>(named.size());
    named.push_back(layer.name);
    out += fmt::format(
        "<rect x=\"{}\" y=\"{}\" width=\"14\" height=\"8\" fill=\"{}\"/><text x=\"{}\" y=\"{}\">{}"
        "</text>\n",
        kLeft, at - 4, kColours[colour_of(layer.name)], kLeft + 22, at + 4, escape(layer.name));
  }
}

std::string Chart::svg() const {
  std::vector<std::string_view> names;
  for (const Layer& layer : layers_) {
    if (std::find(names.begin(), names.end(), layer.name) == names.end()) {
      names.push_back(layer.name);
    }
  }
  const double height = kHeight + kLegendRow * static_cast<double>(names.size());
  std::string out = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n",
                                kWidth, height, escape(title_));
  const Scale x = scale_of(true);
  const Scale y = scale_of(false);
  draw_axes(x, y, out);
  if (diagonal_) {
    const double low = std::max(x.low, y.low);
    const double high = std::min(x.high, y.high);
    out += fmt::format(
        "<path d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\" stroke=\"#888\" stroke-dasharray=\"3 3\"/>\n",
        x(low), y(low), x(high), y(high));
  }
  // What covers much lies below what covers little.
  for (const Kind kind : {Kind::band, Kind::bars, Kind::line, Kind::dashed, Kind::marks}) {
    for (const Layer& layer : layers_) {
      if (layer.kind == kind) draw(layer, x, y, out);
    }
  }
  draw_legend(out);
  return out + "</svg>\n";
}

}  // namespace copykv::bench::html
