// SPDX-License-Identifier: Apache-2.0
// A hostile client beside an honest one, with the real engine: the input says what the hostile one
// writes into its segment and when the daemon takes turns. It may get any answer. The honest client
// must read exactly what it wrote, the engine's lists must stay consistent, and the daemon must not
// touch memory outside the segments (guard pages, AddressSanitizer).
#include <array>
#include <optional>
#include <string>

#include "base/random.hpp"
#include "sim/in_process.hpp"
#include "tests/fuzz/input.hpp"

namespace {

using namespace copykv;
using fuzz::Input;
using fuzz::require;

constexpr uint32_t kHonestKeys = 8;

// A client that polls: in the thread of the daemon nobody may wait.
class Honest {
 public:
  Honest(sim::InProcessDaemon& daemon, sim::Seat& seat)
      : daemon_(daemon), client_(daemon.client(seat)) {}

  void write_and_check(uint32_t number, uint32_t value_bytes) {
    const std::string key = key_of(number);
    std::string& value = values_[number];
    value.assign(value_bytes, static_cast<char>('A' + ++writes_ % 26));
    const Result put = wait(client_.submit_put(key, value, 1));
    require(put.status == Status::ok || put.status == Status::no_space, "an honest put");
    if (put.status != Status::ok) {
      value.clear();
      return;
    }
    check(number);
  }
  void check(uint32_t number) {
    if (values_[number].empty()) return;
    const Result got = wait(client_.submit_get(key_of(number), 2));
    require(got.ok() && got.value == values_[number], "an honest client reads what it wrote");
  }
  /// COPYKV_FUZZ_CANARY: damages a stored value behind everybody's back, which a check must notice.
  void damage_one_value(Store& store) {
    write_and_check(0, 100);
    alignas(8) char key[64];
    std::memcpy(key, key_of(0).data(), sizeof(key));
    const ItemKey wanted{key, sizeof(key), hash_key({key, sizeof(key)})};
    const StoreAnswer found = store.get(wanted, store.probe(wanted.hash));
    auto* byte = const_cast<std::byte*>(found.value) + 50;
    *byte ^= std::byte{1};
  }

 private:
  /// Long enough that no input hits it: the hostile client may of course use any key it knows.
  static std::string key_of(uint32_t number) {
    std::string key(64, '\0');
    uint64_t state = number;
    for (char& c : key) c = static_cast<char>(splitmix64(state));
    return key;
  }
  Result wait(Status submitted) {
    require(submitted == Status::ok, "an honest submit");
    std::array<Completion, 1> done;
    for (uint32_t turn = 0; turn < 100'000; ++turn) {
      (void)daemon_.turn();
      if (client_.poll(done) == 1) return done[0].result;
    }
    require(false, "an honest request is answered");
    return {};
  }

  sim::InProcessDaemon& daemon_;
  Client client_;
  std::array<std::string, kHonestKeys> values_{};
  uint32_t writes_ = 0;
};

class Hostile {
 public:
  Hostile(sim::InProcessDaemon& daemon, std::unique_ptr<sim::Seat> seat)
      : daemon_(daemon), seat_(std::move(seat)) {}

  /// A request that looks right: the next sequence, lengths and places as the input has them.
  void plausible(Input& input) {
    const uint32_t index = slot_;
    slot_ = (slot_ + 1) % seat_->geometry().queue_depth;
    if (slot_ == 0) ++next_lap_;
    RequestLine& line = seat_->slot(index).request;
    poke(line.value_bytes, input.take<uint32_t>() >> (input.take<uint8_t>() % 32));
    poke(line.user_flags, input.take<uint32_t>());
    poke(line.argument, input.take<uint64_t>());
    poke(line.ttl_ms, input.take<uint32_t>());
    poke(line.data[0], uint64_t{input.take<uint32_t>()} >> (input.take<uint8_t>() % 32));
    poke(line.data[1], uint64_t{input.take<uint32_t>()} >> (input.take<uint8_t>() % 32));
    const RequestHead head{
        lap_, static_cast<uint8_t>(input.take<uint8_t>() % 10),
        static_cast<uint8_t>(input.take<uint8_t>() % 20),
        static_cast<uint16_t>(input.take<uint16_t>() >> (input.take<uint8_t>() % 16))};
    publish(line.head, head.pack());
    lap_ = next_lap_;
  }
  /// Any word at any place behind the header, or into a request line.
  void scribble(Input& input) {
    const std::span<uint64_t> words = seat_->words_after_header();
    const auto word = input.take<uint64_t>();
    poke(words[input.below(static_cast<uint32_t>(words.size()))], word);
  }
  void scribble_line(Input& input) {
    auto* words = reinterpret_cast<uint64_t*>(
        &seat_->slot(input.take<uint8_t>() % seat_->geometry().queue_depth));
    const uint32_t index = input.take<uint8_t>() % (sizeof(Slot) / 8);
    poke(words[index], input.take<uint64_t>());
  }
  /// Dies, at whatever point its requests are; another one takes its place.
  void die() {
    daemon_.detach(*seat_);
    for (uint32_t turn = 0; turn < 1000 && !seat_->closed(); ++turn) (void)daemon_.turn();
    require(seat_->closed(), "a dead client's lane is freed");
    const SegmentGeometry geometry = seat_->geometry();
    seat_ = daemon_.attach(geometry);
    slot_ = 0;
    lap_ = next_lap_ = 1;
  }

 private:
  sim::InProcessDaemon& daemon_;
  std::unique_ptr<sim::Seat> seat_;
  uint32_t slot_ = 0;
  uint32_t lap_ = 1;
  uint32_t next_lap_ = 1;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  Input input(data, bytes);
  static const auto memory =
      StoreMemory::create({.budget_bytes = kStoreBudgetBytesMin, .huge_pages = HugePages::off});
  sim::InProcessDaemon::clean(**memory.value);
  sim::InProcessDaemon daemon(
      {.lanes_max = 4, .value_bytes_max = 256 * 1024, .memory = memory.value->get()});
  const auto honest_seat = daemon.attach({0, 1, 4, kSlotPayloadBytesMin, 64 * kPageBytes});
  Honest honest(daemon, *honest_seat);
  const uint32_t shape = input.take<uint8_t>();
  Hostile hostile(daemon, daemon.attach({1, 1, 1 + shape % 8, kSlotPayloadBytesMin << (shape >> 6),
                                         (shape >> 3 & 7) * kPageBytes}));
  for (uint32_t step = 0; step < 500 && !input.empty(); ++step) {
    const uint32_t what = input.take<uint8_t>();
    if (what < 96) {
      hostile.plausible(input);
    } else if (what < 128) {
      hostile.scribble(input);
    } else if (what < 176) {
      hostile.scribble_line(input);
    } else if (what < 224) {
      for (uint32_t turn = 0; turn < what % 16; ++turn) (void)daemon.turn();
    } else if (what < 232) {
      hostile.die();
    } else {
      honest.write_and_check(what % kHonestKeys, 1 + input.below(20'000));
    }
    require(daemon.engine().is_valid(), "the engine's lists");
  }
  static const bool canary = std::getenv("COPYKV_FUZZ_CANARY") != nullptr;
  if (canary) honest.damage_one_value(daemon.store());
  daemon.settle();
  for (uint32_t number = 0; number < kHonestKeys; ++number) honest.check(number);
  require(daemon.engine().is_valid() && daemon.store().is_valid(), "engine and store at the end");
  return 0;
}
