// SPDX-License-Identifier: Apache-2.0
#include "bench/report_html/page.hpp"

#include <fmt/format.h>

#include "bench/report_html/chart.hpp"

namespace copykv::bench::html {
namespace {

constexpr size_t kLongCell = 34;  // wraps; shorter cells stand on one line

constexpr const char* kStyle = R"css(
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #222; background: #fff;
  max-width: 1060px; margin: 0 auto; padding: 24px; }
h1 { font-size: 1.7em; line-height: 1.2; margin: 0 0 .3em; }
h2 { font-size: 1.25em; margin: 2.2em 0 .5em; padding-top: .4em; border-top: 2px solid #0072b2; }
h3 { font-size: 1em; margin: 1.4em 0 .4em; }
p { max-width: 46em; margin: .5em 0; }
.note { color: #555; font-size: .9em; }
.warning { border-left: 4px solid #d55e00; padding: .2em .8em; background: #fdf3ec; }
nav { columns: 2; font-size: .95em; margin: 1em 0; }
nav a { display: block; color: #0072b2; text-decoration: none; }
table { border-collapse: collapse; margin: .8em 0 1.2em; font-size: .84em;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #555; padding-bottom: .3em; caption-side: top; }
td { white-space: nowrap; } td.long { white-space: normal; min-width: 12em; }
th, td { padding: .25em .6em; text-align: right; border-bottom: 1px solid #ddd;
  vertical-align: top; }
th { border-bottom: 1.5px solid #222; font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; }
.figures { display: flex; flex-wrap: wrap; gap: 16px; }
figure { margin: .6em 0; flex: 1 1 470px; max-width: 640px; break-inside: avoid; }
figcaption { font-size: .8em; color: #555; }
svg { width: 100%; height: auto; font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #333; }
svg .title { font-size: 14px; font-weight: 600; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } h2 { break-after: avoid; }
  table, tr { break-inside: avoid; } nav { display: none; } .wide { overflow: visible; } }
)css";

}  // namespace

void Page::heading(std::string_view text) {
  ++headings_;
  contents_ += fmt::format("<a href=\"#s{0}\">{0}. {1}</a>\n", headings_, escape(text));
  body_ += fmt::format("<h2 id=\"s{0}\">{0}. {1}</h2>\n", headings_, escape(text));
}

void Page::subheading(std::string_view text) {
  body_ += fmt::format("<h3>{}</h3>\n", escape(text));
}

void Page::paragraph(std::string_view text) {
  body_ += fmt::format("<p>{}</p>\n", escape(text));
}

void Page::note(std::string_view text) {
  body_ += fmt::format("<p class=\"note\">{}</p>\n", escape(text));
}

void Page::warning(std::string_view text) {
  body_ += fmt::format("<p class=\"warning\">{}</p>\n", escape(text));
}

void Page::table(std::string_view caption, const std::vector<std::string>& header,
                 const std::vector<std::vector<std::string>>& rows) {
  if (rows.empty()) return;
  body_ +=
      fmt::format("<div class=\"wide\"><table><caption>{}</caption>\n<thead><tr>", escape(caption));
  for (const std::string& cell : header) body_ += fmt::format("<th>{}</th>", escape(cell));
  body_ += "</tr></thead>\n<tbody>\n";
  for (const auto& row : rows) {
    body_ += "<tr>";
    for (const std::string& cell : row) {
      body_ += fmt::format("<td{}>{}</td>", cell.size() > kLongCell ? " class=\"long\"" : "",
                           escape(cell));
    }
    body_ += "</tr>\n";
  }
  body_ += "</tbody></table></div>\n";
}

void Page::figure(std::string_view svg, std::string_view caption) {
  // Figures that follow each other stand side by side where there is room.
  constexpr std::string_view kEnd = "</div><!-- figures -->\n";
  if (body_.ends_with(kEnd)) {
    body_.resize(body_.size() - kEnd.size());
  } else {
    body_ += "<div class=\"figures\">\n";
  }
  body_ +=
      fmt::format("<figure>{}<figcaption>{}</figcaption></figure>\n{}", svg, escape(caption), kEnd);
}

std::string Page::html(std::string_view title) const {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n<title>{0}</title>\n"
      "<style>{1}</style></head>\n<body>\n<h1>{0}</h1>\n<nav>\n{2}</nav>\n{3}</body></html>\n",
      escape(title), kStyle, contents_, body_);
}

}  // namespace copykv::bench::html
