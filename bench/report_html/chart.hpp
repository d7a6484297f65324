// SPDX-License-Identifier: Apache-2.0
// Charts as SVG text, without scripts: what is drawn is in the file, on paper as on a screen.
// Things of the same name share a colour; everything that comes from outside is escaped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace copykv::bench::html {

enum class Unit : uint8_t { number, rate, nanoseconds, share };

struct Axis {
  std::string label{};
  Unit unit = Unit::number;
  bool logarithmic = false;
  bool from_zero = true;  ///< linear axes
};

struct At {
  double x = 0;
  double y = 0;
  double low = 0;  ///< of y; an error bar where low < high
  double high = 0;
};

struct BarAt {
  double from = 0;
  double to = 0;
  double y = 0;
};

class Chart {
 public:
  Chart(std::string title, Axis x, Axis y)
      : title_(std::move(title)), x_(std::move(x)), y_(std::move(y)) {}

  Chart& line(std::string name, std::vector<At> points, bool dashed = false);
  Chart& marks(std::string name, std::vector<At> points);
  /// Between low and high.
  Chart& band(std::string name, std::vector<At> points);
  Chart& bars(std::string name, std::vector<BarAt> bars);
  /// y = x, over what is drawn.
  Chart& diagonal();

  [[nodiscard]] bool empty() const noexcept { return layers_.empty(); }
  [[nodiscard]] std::string svg() const;

 private:
  enum class Kind : uint8_t { band, bars, line, dashed, marks };
  struct Layer {
    Kind kind;
    std::string name;
    std::vector<At> points;
    std::vector<BarAt> bars;
  };
  struct Scale {
    double low = 0;
    double high = 1;
    bool logarithmic = false;
    double start = 0;  ///< pixels of low
    double length = 0;
    [[nodiscard]] double operator()(double value) const;
  };
  [[nodiscard]] Scale scale_of(bool of_x) const;
  [[nodiscard]] size_t colour_of(std::string_view name) const;
  void draw(const Layer& layer, const Scale& x, const Scale& y, std::string& out) const;
  void draw_axes(const Scale& x, const Scale& y, std::string& out) const;
  void draw_legend(std::string& out) const;

  std::string title_;
  Axis x_;
  Axis y_;
  bool diagonal_ = false;
  std::vector<Layer> layers_{};
};

struct Part {
  std::string name{};
  double value = 0;
};

/// Parts one after the other, each where the one before ended; the last bar is their sum.
[[nodiscard]] std::string waterfall(std::string_view title, const std::vector<Part>& parts,
                                    Unit unit);

struct HeatRow {
  std::string name{};
  std::vector<double> values{};
};
/// Darker is more, from zero to the largest value.
[[nodiscard]] std::string heat_map(std::string_view title, const std::vector<std::string>& columns,
                                   const std::vector<HeatRow>& rows, Unit unit);

[[nodiscard]] std::string escape(std::string_view text);
/// "1.5 us", "3 M", "40 %": short, for axes.
[[nodiscard]] std::string short_text(double value, Unit unit);

}  // namespace copykv::bench::html
