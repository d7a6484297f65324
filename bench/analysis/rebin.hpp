// SPDX-License-Identifier: Apache-2.0
// Fewer bins than a histogram has buckets: for fits and drawings.
#pragma once

#include <vector>

#include "bench/analysis/mixture.hpp"

namespace copykv::bench::analysis {

/// `bins_max` bins of equal width on a logarithmic axis; each bucket counts where its middle is.
/// Bins that are fewer already, and leave no gaps, stay as they are.
[[nodiscard]] std::vector<Bin> coarser(const std::vector<Bin>& bins, size_t bins_max);

/// The same without the 0.5 % of either end, where a few stragglers would span most of the axis.
[[nodiscard]] std::vector<Bin> rebin(const std::vector<Bin>& bins, size_t bins_max);

}  // namespace copykv::bench::analysis
