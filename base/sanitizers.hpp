// SPDX-License-Identifier: Apache-2.0
// Which sanitizer this build is for, by either compiler's word: each of these is 0 or 1.
#pragma once

#if defined(__has_feature)
#define COPYKV_HAS_FEATURE(name) __has_feature(name)
#else
#define COPYKV_HAS_FEATURE(name) 0
#endif

#if defined(__SANITIZE_THREAD__) || COPYKV_HAS_FEATURE(thread_sanitizer)
#define COPYKV_TSAN 1
#else
#define COPYKV_TSAN 0
#endif

#if defined(__SANITIZE_ADDRESS__) || COPYKV_HAS_FEATURE(address_sanitizer)
#define COPYKV_ASAN 1
#else
#define COPYKV_ASAN 0
#endif
