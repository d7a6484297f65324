// SPDX-License-Identifier: Apache-2.0
// COPYKV_PLANTED(name): whether the checked build shall break this rule (base/checked.hpp); false
// in the product, where the branch is not compiled.
#pragma once

#if defined(COPYKV_CHECKED)
#include "base/checked.hpp"
#define COPYKV_PLANTED(name)                                           \
  (::copykv::Checked::planted == ::copykv::PlantedBug::name) /* NOLINT \
                                                              */
#else
#define COPYKV_PLANTED(name) false
#endif
