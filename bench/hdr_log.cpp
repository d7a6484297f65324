// SPDX-License-Identifier: Apache-2.0
#include "bench/hdr_log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <string_view>

namespace copykv::bench {
namespace {

constexpr uint32_t kCompressedCookie = 0x1c849314;
constexpr uint32_t kHistogramCookie = 0x1c849313;
constexpr uint32_t kSignificantDigits = 3;
constexpr size_t kStoredBlockMax = 65'535;

void put(std::string& out, uint64_t value, int bytes) {
  for (int byte = bytes - 1; byte >= 0; --byte) {
    out.push_back(static_cast<char>(value >> (8 * byte) & 0xff));
  }
}

// The ninth byte holds eight bits: nine bytes are 64.
void put_zigzag(std::string& out, int64_t value) {
  uint64_t bits = (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
  for (int byte = 0; byte < 8 && bits > 0x7f; ++byte) {
    out.push_back(static_cast<char>((bits & 0x7f) | 0x80));
    bits >>= 7;
  }
  out.push_back(static_cast<char>(bits));
}

std::string payload_of(const Histogram& histogram) {
  std::string payload;
  size_t next = 0;
  histogram.for_each_bucket([&](uint64_t upper_ns, uint64_t times) {
    const size_t index = Histogram::bucket_of(upper_ns);
    if (index > next) put_zigzag(payload, -static_cast<int64_t>(index - next));
    put_zigzag(payload, static_cast<int64_t>(times));
    next = index + 1;
  });
  return payload;
}

std::string encode_histogram(const Histogram& histogram) {
  const std::string payload = payload_of(histogram);
  std::string out;
  put(out, kHistogramCookie, 4);
  put(out, payload.size(), 4);
  put(out, 0, 4);  // counts are not shifted
  put(out, kSignificantDigits, 4);
  put(out, 1, 8);
  put(out, Histogram::kValueNsMax, 8);
  put(out, std::bit_cast<uint64_t>(1.0), 8);
  return out + payload;
}

uint32_t adler32(std::string_view bytes) {
  uint32_t a = 1;
  uint32_t b = 0;
  for (const char byte : bytes) {
    a = (a + static_cast<unsigned char>(byte)) % 65'521;
    b = (b + a) % 65'521;
  }
  return b << 16 | a;
}

// RFC 1950 around RFC 1951, section 3.2.4.
std::string zlib_stored(std::string_view bytes) {
  std::string out = "\x78\x01";
  for (size_t at = 0; at < bytes.size() || at == 0;) {
    const size_t length = std::min(kStoredBlockMax, bytes.size() - at);
    out.push_back(at + length == bytes.size() ? '\1' : '\0');
    const auto low_first = [&out](size_t value) {
      out.push_back(static_cast<char>(value & 0xff));
      out.push_back(static_cast<char>(value >> 8 & 0xff));
    };
    low_first(length);
    low_first(~length);
    out += bytes.substr(at, length);
    at += length;
    if (length == 0) break;
  }
  put(out, adler32(bytes), 4);
  return out;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t group = 0;
    const size_t taken = std::min<size_t>(3, bytes.size() - at);
    for (size_t i = 0; i < 3; ++i) {
      group = group << 8 | (i < taken ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    }
    for (size_t i = 0; i < 4; ++i) {
      out.push_back(i <= taken ? kDigits[group >> (18 - 6 * i) & 63] : '=');
    }
  }
  return out;
}

}  // namespace

std::string to_hdr_log(const std::vector<HdrInterval>& intervals) {
  std::string log =
      "#[Histogram log format version 1.3]\n"
      "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\","
      "\"Interval_Compressed_Histogram\"\n";
  for (const HdrInterval& interval : intervals) {
    const std::string stream = zlib_stored(encode_histogram(interval.histogram));
    std::string compressed;
    put(compressed, kCompressedCookie, 4);
    put(compressed, stream.size(), 4);
    log += fmt::format("{:.3f},{:.3f},{:.6f},{}\n", interval.start_s, interval.length_s,
                       static_cast<double>(interval.histogram.max_ns()) / 1e6,
                       base64(compressed + stream));
  }
  return log;
}

}  // namespace copykv::bench
