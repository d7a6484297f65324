// SPDX-License-Identifier: Apache-2.0
// Hostile clients write garbage into every byte of their own segments while honest ones verify what
// they read: the daemon lives, counts bad requests, and gives nobody a wrong value.
//
//   COPYKV_STORM_GARBAGE_WORDS   words written in all (default 100,000,000)
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "shm/wake.hpp"
#include "tests/storm/daemon_process.hpp"
#include "tests/storm/raw_client.hpp"
#include "tests/storm/record.hpp"

namespace copykv::storm {
namespace {

constexpr uint64_t kWordsPerRound = 1'000;

struct Honest {
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> checked = 0;
  std::mutex lock;
  std::string violation;

  void violated(const std::string& what) {
    const std::lock_guard guard(lock);
    if (violation.empty()) violation = what;
  }
};

void verify(const DaemonProcess& daemon, Honest& honest, uint64_t writer) {
  Client client = attach_to(daemon);
  Random random(writer);
  std::string value;
  Record record;
  for (uint64_t sequence = 1; !honest.stop; ++sequence) {
    const uint64_t key = writer * 1000 + random.below(20);
    value.resize(kRecordBytesMin + random.below(random.below(16) == 0 ? 50'000 : 300));
    write_record(key, writer, sequence, value);
    const Result put = client.put(record_key(key), value);
    if (!put.ok()) return honest.violated(fmt::format("put: {}", to_string(put.status)));
    const Result got = client.get(record_key(key));
    if (!got.ok()) return honest.violated(fmt::format("get: {}", to_string(got.status)));
    const std::string wrong = read_record(key, got.value, record);
    if (!wrong.empty()) return honest.violated(wrong);
    if (record.sequence != sequence) {
      return honest.violated(fmt::format("read {} after writing {}", record.sequence, sequence));
    }
    ++honest.checked;
  }
}

/// What the hostile client believes of its lane, to get past the sequence check.
struct Lap {
  uint32_t slot = 0;
  uint32_t seq = 1;
  void next(const RawClient& hostile) {
    if (++slot == hostile.geometry().queue_depth) {
      slot = 0;
      ++seq;
    }
  }
};

/// A length that is often near a limit.
uint64_t odd_length(Random& random) {
  constexpr uint64_t kLimits[] = {0, 8, 32, 40, 1024, 4096, 65536, 1U << 20, 16U << 20, 1ULL << 32};
  const uint64_t near = kLimits[random.below(std::size(kLimits))] + random.below(5) - 2;
  return random.below(8) == 0 ? random.next() : near;
}

/// A head that is taken as the next request, around fields that are mostly wrong.
void plausible_request(const RawClient& hostile, Lap& lap, Random& random) {
  RequestLine& line = hostile.slot(lap.slot).request;
  poke(line.value_bytes, static_cast<uint32_t>(odd_length(random)));
  poke(line.user_flags, static_cast<uint32_t>(random.next()));
  poke(line.argument, random.next());
  poke(line.ttl_ms, static_cast<uint32_t>(random.below(3)));
  poke(line.owner, static_cast<uint32_t>(random.next()));
  poke(line.data[0], odd_length(random));
  poke(line.data[1], odd_length(random));
  const RequestHead head{lap.seq, static_cast<uint8_t>(random.below(10)),
                         static_cast<uint8_t>(random.below(18)),
                         static_cast<uint16_t>(odd_length(random))};
  publish(line.head, head.pack());
  lap.next(hostile);
}

/// One round of one kind. Every byte behind the header is hit over time: words at random places,
/// sweeps over all words, and requests that look right.
uint64_t spoil(const RawClient& hostile, Lap& lap, Random& random, uint64_t& sweep_at) {
  const std::span<uint64_t> words = hostile.words();
  switch (random.below(4)) {
    case 0:
      for (uint64_t word = 0; word < kWordsPerRound; ++word) {
        poke(words[random.below(words.size())], random.next());
      }
      return kWordsPerRound;
    case 1:
      for (uint64_t word = 0; word < kWordsPerRound; ++word) {
        poke(words[sweep_at++ % words.size()], random.next());
      }
      return kWordsPerRound;
    case 2: {  // only where requests stand, so that the lane is as broken as it can be
      auto* lane = reinterpret_cast<uint64_t*>(&hostile.slot(0));
      const uint64_t lane_words = hostile.geometry().queue_depth * sizeof(Slot) / 8;
      for (uint64_t word = 0; word < kWordsPerRound; ++word) {
        poke(lane[random.below(lane_words)], random.below(2) == 0 ? random.next() : lap.seq);
      }
      return kWordsPerRound;
    }
    default:
      for (uint64_t request = 0; request < kWordsPerRound / 8; ++request) {
        plausible_request(hostile, lap, random);
        if (random.below(16) == 0) ::usleep(20);
      }
      return kWordsPerRound;
  }
}

void attack(const DaemonProcess& daemon, uint64_t words_wanted, uint64_t seed) {
  Random random(seed);
  uint64_t sweep_at = 0;
  for (uint64_t words = 0; words < words_wanted;) {
    Hello hello = valid_hello();
    hello.queue_depth = static_cast<uint32_t>(1 + random.below(kQueueDepthMax));
    hello.slot_payload_bytes = static_cast<uint32_t>(1 + random.below(4)) * kSlotPayloadBytesMin;
    RawClient hostile(daemon.socket_path(), hello);
    if (random.below(2) == 0) (void)hostile.grow_bulk(random.below(1U << 20));
    Lap lap;
    // A fresh lane now and then: one whose sequence is spoilt takes nothing any more.
    for (uint32_t round = 0; round < 40 && words < words_wanted; ++round) {
      words += spoil(hostile, lap, random, sweep_at);
      hostile.wake();
    }
    if (random.below(4) == 0) {  // the memory itself goes away under the daemon
      (void)::fallocate(hostile.segment_fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                        static_cast<off_t>(hostile.geometry().bulk_offset()));
      words += spoil(hostile, lap, random, sweep_at);
    }
  }
}

}  // namespace

TEST_CASE("garbage in a client's own segment harms nobody else") {
  const uint64_t words = setting("COPYKV_STORM_GARBAGE_WORDS", 100'000'000);
  DaemonProcess daemon({"--memory", "256MiB"});
  daemon.start();
  const RawClient observer(daemon.socket_path());
  const DaemonBlock& block = daemon_block(observer.rank(), 0);
  const Resources before = daemon.resources();
  Honest honest;
  std::vector<std::thread> verifiers;
  for (uint64_t writer = 1; writer <= 2; ++writer) {
    verifiers.emplace_back([&, writer] { verify(daemon, honest, writer); });
  }
  std::vector<std::thread> attackers;
  for (uint64_t attacker = 0; attacker < 2; ++attacker) {
    attackers.emplace_back([&, attacker] { attack(daemon, words / 2, 100 + attacker); });
  }
  for (std::thread& thread : attackers) thread.join();
  honest.stop = true;
  for (std::thread& thread : verifiers) thread.join();
  CHECK(daemon.running());
  INFO(honest.violation);
  CHECK(honest.violation.empty());
  const auto refused = [&](Status status) {
    return peek(block.by_status[static_cast<uint8_t>(status)]);
  };
  CHECK(refused(Status::bad_request) > 0);
  CHECK(refused(Status::invalid_key) > 0);
  CHECK(refused(Status::unsupported) > 0);
  CHECK(peek(block.bad_sequences) > 0);
  CHECK(honest.checked > 100);
  for (uint32_t tries = 0; tries < 500 && !(daemon.resources() == before); ++tries) {
    ::usleep(10'000);
  }
  CHECK(daemon.resources() == before);
  fmt::print(
      "{} garbage words; the daemon took {} requests, refused {} as bad_request, {} sequences out "
      "of order; {} honest round trips, no wrong value\n",
      words, peek(block.requests), refused(Status::bad_request), peek(block.bad_sequences),
      honest.checked.load());
  CHECK(daemon.stop() == 0);
}

TEST_CASE("each malformed request has its own answer and the lane goes on") {
  DaemonProcess daemon;
  daemon.start();
  const RawClient raw(daemon.socket_path());
  uint32_t index = 0;
  uint32_t seq = 1;
  const auto ask = [&](RequestHead head, uint32_t value_bytes, uint64_t offset = 0,
                       uint64_t room = 0) {
    RequestLine& line = raw.slot(index).request;
    head.seq = seq;
    poke(line.value_bytes, value_bytes);
    poke(line.data[0], offset);
    poke(line.data[1], room);
    publish(line.head, head.pack());
    REQUIRE(raw.wait_answer(index, seq));
    const Status status = response_status(peek(raw.slot(index).response.head));
    if (++index == raw.geometry().queue_depth) {
      index = 0;
      ++seq;
    }
    return status;
  };
  const auto op = [](Op which) { return static_cast<uint8_t>(which); };
  constexpr uint8_t kPage = 1;
  constexpr uint8_t kBulk = 2;
  CHECK(ask({0, op(Op::get), 0, 0}, 0) == Status::invalid_key);
  CHECK(ask({0, op(Op::get), kPage, 1025}, 0) == Status::invalid_key);
  CHECK(ask({0, op(Op::get), kPage, 65535}, 0) == Status::invalid_key);
  CHECK(ask({0, op(Op::get), 0, 33}, 0) == Status::bad_request);
  CHECK(ask({0, op(Op::put), 0, 8}, 25) == Status::bad_request);
  CHECK(ask({0, op(Op::put), kPage, 8}, 4089) == Status::bad_request);
  CHECK(ask({0, op(Op::put), kPage, 8}, UINT32_MAX) == Status::value_too_large);
  CHECK(ask({0, op(Op::put), kBulk, 8}, 100, 0, 4096) == Status::bad_request);  // none granted
  CHECK(ask({0, op(Op::put), 3, 8}, 1) == Status::bad_request);                 // no such placement
  CHECK(ask({0, op(Op::get), 16, 8}, 0) == Status::bad_request);                // reserved bits
  CHECK(ask({0, op(Op::get), 4, 8}, 0) == Status::bad_request);   // a condition without a put
  CHECK(ask({0, op(Op::ping), 0, 8}, 0) == Status::bad_request);  // a key without a use
  CHECK(ask({0, 0, 0, 8}, 0) == Status::unsupported);
  CHECK(ask({0, 9, 0, 8}, 0) == Status::unsupported);
  CHECK(ask({0, 255, 255, 65535}, UINT32_MAX) == Status::unsupported);
  CHECK(ask({0, op(Op::put), 0, 8}, 8) == Status::ok);
  CHECK(ask({0, op(Op::ping), 0, 0}, 0) == Status::ok);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("rooms outside the granted bulk area are refused") {
  DaemonProcess daemon;
  daemon.start();
  RawClient raw(daemon.socket_path());
  const uint64_t granted = raw.grow_bulk(64 * 1024);
  REQUIRE(granted == 64 * 1024);
  uint32_t seq = 0;
  const auto put = [&](uint64_t offset, uint64_t room, uint32_t value_bytes) {
    const uint32_t index = seq % raw.geometry().queue_depth;
    const uint32_t lap = 1 + seq++ / raw.geometry().queue_depth;
    RequestLine& line = raw.slot(index).request;
    poke(line.value_bytes, value_bytes);
    poke(line.data[0], offset);
    poke(line.data[1], room);
    publish(line.head, RequestHead{lap, static_cast<uint8_t>(Op::put), 2, 8}.pack());
    REQUIRE(raw.wait_answer(index, lap));
    return response_status(peek(raw.slot(index).response.head));
  };
  CHECK(put(0, granted, 8192) == Status::ok);
  CHECK(put(granted - 8, 8, 8) == Status::ok);
  CHECK(put(granted - 8, 16, 8) == Status::bad_request);
  CHECK(put(granted + 8, 8, 8) == Status::bad_request);
  CHECK(put(4, 8, 8) == Status::bad_request);
  CHECK(put(0, 4, 4) == Status::bad_request);
  CHECK(put(0, 8, 16) == Status::bad_request);
  CHECK(put(UINT64_MAX - 7, 16, 8) == Status::bad_request);
  CHECK(put(8, UINT64_MAX - 7, 8) == Status::bad_request);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a sequence out of order is answered once and the lane still takes the right one") {
  DaemonProcess daemon;
  daemon.start();
  const RawClient raw(daemon.socket_path());
  RequestLine& line = raw.slot(0).request;
  const RequestHead ping{77, static_cast<uint8_t>(Op::ping), 0, 0};
  publish(line.head, ping.pack());
  REQUIRE(raw.wait_answer(0, 77));
  CHECK(response_status(peek(raw.slot(0).response.head)) == Status::bad_request);
  CHECK(peek(daemon_block(raw.rank(), 0).bad_sequences) == 1);
  publish(line.head, RequestHead{1, static_cast<uint8_t>(Op::ping), 0, 0}.pack());
  REQUIRE(raw.wait_answer(0, 1));
  CHECK(response_status(peek(raw.slot(0).response.head)) == Status::ok);
}

}  // namespace copykv::storm
