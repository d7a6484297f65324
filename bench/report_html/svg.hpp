// SPDX-License-Identifier: Apache-2.0
// The measures and colours that all drawings share.
#pragma once

#include <array>

namespace copykv::bench::html {

inline constexpr double kWidth = 640;
inline constexpr double kHeight = 380;
inline constexpr double kLeft = 70;
inline constexpr double kRight = 18;
inline constexpr double kTop = 34;
inline constexpr double kBottom = 52;
inline constexpr double kLegendRow = 18;

// Okabe & Ito: told apart by people who see colours differently, and in grey by their lightness.
inline constexpr std::array kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                        "#8a6d00", "#56b4e9", "#444444", "#e69f00"};

}  // namespace copykv::bench::html
