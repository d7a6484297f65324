// SPDX-License-Identifier: Apache-2.0
// The report of a study as one HTML file: the tables of the published analysis in its order, then
// what else the documents hold. A section without data says so in a line instead of being left out.
#pragma once

#include <string>

#include "bench/analysis/documents.hpp"
#include "bench/report_html/chart.hpp"
#include "bench/report_html/page.hpp"

namespace copykv::bench {

[[nodiscard]] std::string to_html(const analysis::Study& study, const std::string& title);

}  // namespace copykv::bench

namespace copykv::bench::html {

// The sections, in order.
void add_conditions(Page& page, const analysis::Study& study);
void add_scaling(Page& page, const analysis::Study& study);
void add_littles_law(Page& page, const analysis::Study& study);
void add_histogram(Page& page, const analysis::Study& study);
void add_cycles(Page& page, const analysis::Study& study);
void add_limits(Page& page, const analysis::Study& study);
void add_turns(Page& page, const analysis::Study& study);
void add_means(Page& page, const analysis::Study& study);
void add_gap(Page& page, const analysis::Study& study);
void add_variants(Page& page, const analysis::Study& study);
void add_balance(Page& page, const analysis::Study& study);
void add_objectives(Page& page, const analysis::Study& study);

/// "4.20 us (4.10 to 4.35)".
[[nodiscard]] std::string interval_text(const MedianInterval& interval, Unit unit);
/// Where the figures of a series come from: for the caption of each chart and table.
[[nodiscard]] std::string caption_of(const analysis::Series& series);

}  // namespace copykv::bench::html
