// SPDX-License-Identifier: Apache-2.0
// One HTML file that needs nothing else: no network, no script, readable on paper.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace copykv::bench::html {

class Page {
 public:
  // All texts are escaped here; svg comes from chart.hpp, which escapes its own.
  void heading(std::string_view text);
  void subheading(std::string_view text);
  void paragraph(std::string_view text);
  void note(std::string_view text);
  void warning(std::string_view text);
  void table(std::string_view caption, const std::vector<std::string>& header,
             const std::vector<std::vector<std::string>>& rows);
  void figure(std::string_view svg, std::string_view caption);

  [[nodiscard]] std::string html(std::string_view title) const;

 private:
  std::string body_{};
  std::string contents_{};
  int headings_ = 0;
};

}  // namespace copykv::bench::html
