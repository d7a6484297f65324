// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target over files, and over random changes of them for a bounded time: what libFuzzer
// does not do in a build without it.
//
//   fuzz_NAME_replay CORPUS_DIR...     COPYKV_FUZZ_SECONDS: how long to change inputs (default 2)
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "tests/fuzz/input.hpp"

namespace {

using copykv::Random;

constexpr uint64_t kSecondsByDefault = 2;
constexpr uint64_t kSeed = 1;
constexpr size_t kBytesMax = 4096;

void run(const std::string& input) {
  // A copy of its own size: an overrun is seen by AddressSanitizer.
  const std::vector<uint8_t> bytes(input.begin(), input.end());
  (void)LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

void change(std::string& input, Random& random) {
  for (uint64_t changes = 1 + random.below(8); changes > 0; --changes) {
    const size_t at = random.below(input.size() + 1);
    switch (random.below(4)) {
      case 0:
        input.insert(at, 1, static_cast<char>(random.next()));
        break;
      case 1:
        input.resize(at);
        break;
      case 2:
        input += static_cast<char>(random.next());
        break;
      default:
        if (at < input.size()) input[at] = static_cast<char>(random.next());
    }
  }
  if (input.size() > kBytesMax) input.resize(kBytesMax);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> corpus;
  for (int index = 1; index < argc; ++index) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[index])) {
      std::ifstream file(entry.path(), std::ios::binary);
      corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
  }
  if (corpus.empty()) {
    fmt::print(stderr, "no inputs; give the directory of a corpus\n");
    return 1;
  }
  for (const std::string& input : corpus) run(input);

  const char* text = std::getenv("COPYKV_FUZZ_SECONDS");
  const uint64_t seconds = text == nullptr ? kSecondsByDefault : std::strtoull(text, nullptr, 10);
  const copykv::SystemClock clock;
  const uint64_t end_ns = clock.now_ns() + seconds * copykv::kNanosPerSecond;
  Random random(kSeed);
  uint64_t changed = 0;
  for (; clock.now_ns() < end_ns; ++changed) {
    std::string input = corpus[random.below(corpus.size())];
    change(input, random);
    run(input);
  }
  fmt::print("{} inputs and {} changed ones\n", corpus.size(), changed);
  return 0;
}
