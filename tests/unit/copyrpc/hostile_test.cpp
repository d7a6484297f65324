// SPDX-License-Identifier: Apache-2.0
// What a peer may write: every field out of range fails that peer with a counter, and nothing else;
// answers that are late, repeated or for somebody else complete nothing.
#include <array>
#include <cstring>
#include <functional>

#include "tests/unit/copyrpc/raw_peer.hpp"
#include "tests/unit/copyrpc/scene.hpp"

using namespace copyrpc;
using copyrpc::test::RawMessage;
using copyrpc::test::RawPeer;

namespace {

/// A real node 0, a real node 2 that must not notice anything, and a raw node 1.
struct Field {
  Field() : network({}, clock), raw(network, 1, 5, 3) {
    for (const PeerId id : {0U, 2U}) {
      fabrics.push_back(network.attach());
      NodeOptions options;
      options.node = id;
      options.nodes = 3;
      options.ring_bytes = 16'384;
      options.message_bytes_max = 4096;
      options.call_timeout_ns = 50'000'000;
      nodes.push_back(std::move(*Node::create(options, *fabrics.back(), clock)));
    }
    node().set_peer(raw.card());
    node().set_peer(nodes[1]->card());
    nodes[1]->set_peer(node().card());
    raw.greet(node().card());
    step(20'000);
    REQUIRE(raw.up());
    REQUIRE(node().is_up(1));
    REQUIRE(node().is_up(2));
  }
  ~Field() { nodes.clear(); }

  Node& node() { return *nodes[0]; }
  void step(uint32_t times) {
    for (uint32_t time = 0; time < times; ++time) {
      for (auto& each : nodes) {
        (void)each->poll();
        std::array<Answer, 64> some;
        const uint32_t count = each->take_answers(some);
        if (each == nodes[0]) {
          for (uint32_t index = 0; index < count; ++index) {
            answers.push_back(some[index]);
            texts.emplace_back(reinterpret_cast<const char*>(some[index].payload),
                               some[index].payload_bytes);
          }
        }
        std::array<InboundCall, 16> calls;
        const uint32_t inbound = each->take_calls(calls);
        for (uint32_t index = 0; index < inbound; ++index) each->reply(calls[index], {});
        each->flush();
        each->tick(clock.now_ns());
        REQUIRE(each->is_valid());
      }
      (void)raw.poll();
      clock.advance_ns(1'000);
    }
  }
  void call_raw(uint64_t word, uint32_t room = 64) {
    REQUIRE(node().call(1, std::as_bytes(std::span("ping", 4)), room, {{word, 0}}) ==
            Node::Sent::accepted);
  }
  /// After whatever was sent: node 1 has failed for a violation; node 2 is served.
  void expect_violation() {
    step(50);
    CHECK(node().counters().violations == 1);
    CHECK_FALSE(node().is_up(1));
    expect_others_served();
  }
  void expect_others_served() {
    REQUIRE(node().is_up(2));
    const size_t before = answers.size();
    REQUIRE(node().call(2, std::as_bytes(std::span("hello", 5)), 16, {{77, 0}}) ==
            Node::Sent::accepted);
    step(50);
    REQUIRE(answers.size() > before);
    CHECK(answers.back().tag.words[0] == 77);
    CHECK(answers.back().end == CallEnd::answered);
  }

  copykv::ManualClock clock{1'000'000};
  SimNetwork network;
  RawPeer raw;
  std::vector<std::unique_ptr<Fabric>> fabrics;
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<Answer> answers;
  std::vector<std::string> texts;
};

RawMessage call_of(uint32_t bytes, uint16_t room = 1) {
  return {{bytes, MessageKind::call, 0, room, 42}, std::string(bytes, 'x')};
}

template <class T>
std::string changed(std::string bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof(value));
  return bytes;
}

}  // namespace

TEST_CASE("a raw peer that keeps to the rules is served") {
  Field field;
  field.raw.send(field.raw.batch_of({call_of(10), call_of(0), call_of(300)}));
  field.step(50);
  CHECK(field.node().counters().calls_served == 3);
  CHECK(field.node().counters().violations == 0);
  CHECK(field.raw.received().size() == 3);
}

TEST_CASE("each field of a batch header is checked") {
  struct Bad {
    const char* what;
    size_t at;
    uint64_t value;
    uint32_t width;
  };
  const Bad bad = GENERATE(
      Bad{"too short", offsetof(BatchHeader, batch_bytes), 32, 4},
      Bad{"no multiple of 16", offsetof(BatchHeader, batch_bytes), 72, 4},
      Bad{"longer than the ring", offsetof(BatchHeader, batch_bytes), 32'768, 4},
      Bad{"longer than its messages", offsetof(BatchHeader, batch_bytes), 128, 4},
      Bad{"no messages", offsetof(BatchHeader, message_count), 0, 2},
      Bad{"more messages", offsetof(BatchHeader, message_count), 3, 2},
      Bad{"fewer messages", offsetof(BatchHeader, message_count), 1, 2},
      Bad{"version", offsetof(BatchHeader, version), 9, 2},
      Bad{"session", offsetof(BatchHeader, session), 99, 8},
      Bad{"number", offsetof(BatchHeader, number), 1, 4},
      Bad{"released what was not sent", offsetof(BatchHeader, released), 1, 4},
      Bad{"fewer calls", offsetof(BatchHeader, call_count), 1, 2},
      Bad{"more calls than messages", offsetof(BatchHeader, call_count), 3, 2},
      Bad{"reserved", offsetof(BatchHeader, reserved), 1, 2},
      Bad{"reserved2", offsetof(BatchHeader, reserved2), 1, 4},
      Bad{"payload over the end", 32 + offsetof(MessageHeader, payload_bytes), 4000, 4},
      Bad{"payload beyond any", 32 + offsetof(MessageHeader, payload_bytes), 0xfffffff0, 4},
      Bad{"kind", 32 + offsetof(MessageHeader, kind), 3, 1},
      Bad{"message reserved", 32 + offsetof(MessageHeader, reserved), 1, 1},
      Bad{"room beyond any", 32 + offsetof(MessageHeader, answer_room), 0xffff, 2});
  INFO(bad.what);
  Field field;
  std::string batch = field.raw.batch_of({call_of(16), call_of(16)});
  std::memcpy(batch.data() + bad.at, &bad.value, bad.width);
  field.raw.send(batch);
  field.expect_violation();
}

TEST_CASE("a batch has the calls that it says, and every message of it is one that can be") {
  const auto late = [](MessageKind kind = MessageKind::answer, uint8_t reserved = 0) {
    return RawMessage{{0, kind, reserved, 0, ~uint64_t{0}}, {}};
  };
  struct Bad {
    const char* what;
    std::vector<RawMessage> messages;
    uint16_t calls;
  };
  const std::vector<Bad> all = {
      {"an answer for a call", {call_of(16), late()}, 2},
      {"one call too few", {call_of(16), late(), late()}, 2},
      {"one call too many", {call_of(16), call_of(16), late()}, 1},
      {"calls, but none said", {call_of(16)}, 0},
      {"an unknown kind beside a call", {call_of(16), late(MessageKind{3})}, 1},
      {"an unknown kind beside an answer", {late(), late(MessageKind{0})}, 0},
      {"reserved of an answer", {call_of(16), late(MessageKind::answer, 1)}, 1},
      {"reserved of a call", {late(MessageKind::call, 1), late()}, 1},
      {"an answer with room", {{{0, MessageKind::answer, 0, 1, 7}, {}}}, 0},
      {"room beyond any beside an answer", {call_of(16, 0xffff), late()}, 1},
  };
  for (const Bad& bad : all) {
    INFO(bad.what);
    Field field;
    std::string batch = field.raw.batch_of(bad.messages);
    field.raw.send(changed(std::move(batch), offsetof(BatchHeader, call_count), bad.calls));
    field.expect_violation();
  }
  Field field;
  field.raw.send(field.raw.batch_of({call_of(16), late(), call_of(0)}));
  field.step(50);
  CHECK(field.node().counters().calls_served == 2);
  CHECK(field.node().counters().late_answers == 1);
  CHECK(field.node().counters().violations == 0);
}

TEST_CASE("answers that are late, repeated or not ours complete nothing") {
  Field field;
  field.call_raw(1);
  field.step(20);
  const auto calls = field.raw.received();
  REQUIRE(calls.size() == 1);
  const auto answer = [&](uint64_t id, std::string text) {
    const auto bytes = static_cast<uint32_t>(text.size());
    return RawMessage{{bytes, MessageKind::answer, 0, 0, id}, std::move(text)};
  };
  const uint64_t id = calls[0].header.id;
  field.raw.send(field.raw.batch_of(
      {answer(id + 1, "another record"), answer(id + (uint64_t{1} << 32), "a later generation"),
       answer(id, "right"), answer(id, "again"), answer(~uint64_t{0}, "no record at all")}));
  field.step(20);
  REQUIRE(field.answers.size() == 1);
  CHECK(field.texts[0] == "right");
  CHECK(field.node().counters().late_answers == 4);
  CHECK(field.node().counters().violations == 0);
  CHECK(field.node().is_up(1));
  field.expect_others_served();
}

TEST_CASE("an answer larger than its room is a violation") {
  Field field;
  field.call_raw(1, 32);
  field.step(20);
  const uint64_t id = field.raw.received().at(0).header.id;
  field.raw.send(field.raw.batch_of({{{48, MessageKind::answer, 0, 0, id}, std::string(48, 'y')}}));
  field.expect_violation();
  // The call ends all the same.
  REQUIRE_FALSE(field.answers.empty());
  CHECK(field.answers[0].tag.words[0] == 1);
  CHECK(field.answers[0].end == CallEnd::lost);
}

TEST_CASE("an answer after its time-out completes nothing, and frees its room") {
  Field field;
  field.call_raw(1);
  field.step(20);
  const uint64_t id = field.raw.received().at(0).header.id;
  for (uint32_t beat = 0; beat < 40 && field.answers.empty(); ++beat) {
    field.step(5'000);
    // Signs of life: a beat in the credit cell.
    std::string word(8, '\0');
    const uint64_t credit = Credit{1, beat + 1}.pack();
    std::memcpy(word.data(), &credit, 8);
    field.raw.write(field.raw.theirs.ring_bytes, word);
  }
  REQUIRE(field.answers.size() == 1);
  CHECK(field.answers[0].end == CallEnd::timed_out);
  CHECK(field.node().calls_in_flight() == 1);
  field.raw.send(field.raw.batch_of({{{4, MessageKind::answer, 0, 0, id}, "late"}}));
  field.step(20);
  CHECK(field.answers.size() == 1);
  CHECK(field.node().calls_in_flight() == 0);
  CHECK(field.node().is_up(1));
}

TEST_CASE("immediates that belong to no session are counted and ignored") {
  Field field;
  const auto tag = static_cast<uint16_t>(field.raw.theirs.tag);
  for (const uint32_t immediate :
       {Immediate{Told::batch, 1, static_cast<uint16_t>(tag ^ 1), 0}.pack(),
        Immediate{Told::batch, 0, tag, 0}.pack(), Immediate{Told::batch, 77, tag, 0}.pack(),
        Immediate{static_cast<Told>(3), 1, tag, 0}.pack(), uint32_t{0}, ~uint32_t{0}}) {
    field.raw.tell(immediate);
  }
  field.step(20);
  CHECK(field.node().counters().stray == 6);
  CHECK(field.node().is_up(1));
  field.expect_others_served();
}

TEST_CASE("an arrival that is told again is not the next batch, of which the head may be there") {
  Field field;
  field.raw.send(field.raw.batch_of({{{4, MessageKind::call, 0, 4, 1}, "once"}}));
  field.step(20);
  CHECK(field.node().counters().batches_received == 1);
  const std::string next = field.raw.batch_of({{{4, MessageKind::call, 0, 4, 2}, "next"}});
  field.raw.write(field.raw.position(), next.substr(0, sizeof(BatchHeader)));
  field.raw.tell_batch(0);
  field.step(20);
  CHECK(field.node().counters().batches_received == 1);
  CHECK(field.node().counters().stray == 1);
  field.raw.send(next);
  field.step(20);
  CHECK(field.node().counters().batches_received == 2);
  CHECK(field.node().is_up(1));
  field.raw.tell_batch(5);
  field.step(20);
  CHECK(field.node().counters().violations == 1);
  field.expect_others_served();
}

TEST_CASE("a batch says as well as a hello that the peer has got our grant") {
  Field field;
  field.raw.confirms = false;
  field.raw.greet(field.node().card());
  for (uint32_t times = 0; times < 1'000 && !field.raw.up(); ++times) {
    Hello grant = field.raw.own_hello();
    grant.seen_session = 0;
    grant.checksum = checksum_of(grant);
    field.raw.send_hello(grant);
    field.clock.advance_ns(1'000'000);
    field.step(5);
  }
  REQUIRE(field.raw.up());
  REQUIRE_FALSE(field.node().is_up(1));
  field.raw.send(field.raw.batch_of({call_of(10)}));
  field.step(5);
  CHECK(field.node().is_up(1));
  CHECK(field.node().counters().calls_served == 1);
  field.raw.send(field.raw.batch_of({call_of(20)}));
  field.step(5);
  CHECK(field.node().counters().calls_served == 2);
  CHECK(field.node().counters().stray == 0);
}

TEST_CASE("a session that the other side has given up is not waited for") {
  Field field;
  const uint64_t given_up = field.raw.theirs.session;
  Hello hello = field.raw.own_hello();
  hello.over_session = static_cast<uint32_t>(given_up - 1);  // an older one: nothing new
  hello.checksum = checksum_of(hello);
  field.raw.send_hello(hello);
  field.step(5);
  CHECK(field.node().is_up(1));

  hello.over_session = static_cast<uint32_t>(given_up);
  hello.checksum = checksum_of(hello);
  field.raw.send_hello(hello);
  field.step(5);
  CHECK_FALSE(field.node().is_up(1));
  field.raw.greet(field.node().card());
  for (uint32_t times = 0; times < 1'000 && !field.node().is_up(1); ++times) {
    field.clock.advance_ns(1'000'000);
    field.step(5);
  }
  CHECK(field.node().is_up(1));
  CHECK(field.raw.theirs.session > given_up);
  field.expect_others_served();
}

TEST_CASE("each field of a hello is checked") {
  Field field;
  const uint64_t before = field.node().counters().stray;
  const Hello good = field.raw.own_hello();
  uint32_t sent = 0;
  const auto send = [&](const std::function<void(Hello&)>& change, bool sign = true) {
    Hello hello = good;
    change(hello);
    if (sign) hello.checksum = checksum_of(hello);
    field.raw.send_hello(hello);
    field.step(5);
    ++sent;
    CHECK(field.node().counters().stray == before + sent);
  };
  send([](Hello& hello) { ++hello.magic; });
  send([](Hello& hello) { ++hello.version; });
  send([](Hello& hello) { hello.session = 0; });
  send([](Hello& hello) { ++hello.incarnation; });
  send([](Hello& hello) { ++hello.for_incarnation; });
  send([](Hello& hello) { hello.ring_bytes = 5000; });
  send([](Hello& hello) { hello.ring_bytes = 0; });
  send([](Hello& hello) { hello.ring.bytes = 4096; });
  send([](Hello& hello) { hello.ring.address = ~uint64_t{0} - 8; });
  send([](Hello& hello) { hello.batches_max = 0; });
  send([](Hello& hello) { hello.sender = 2; });
  send([](Hello& hello) { hello.tag = 0x10000; });
  send([](Hello& hello) { ++hello.session; }, false);
  CHECK(field.node().is_up(1));
  field.expect_others_served();
}

TEST_CASE("more answers asked for than there is room is a violation") {
  Field field;
  // 17 calls with room for 4,080 bytes of answer each, into a ring of 16 KiB here and 64 KiB there.
  std::vector<RawMessage> calls(17, call_of(0, 255));
  field.raw.send(field.raw.batch_of(calls));
  std::array<InboundCall, 32> taken;
  field.clock.advance_ns(2'000);
  (void)field.node().poll();
  std::array<Answer, 4> answers;
  (void)field.node().take_answers(answers);
  const uint32_t count = field.node().take_calls(taken);
  REQUIRE(count == 17);
  const std::vector<std::byte> large(4080);
  for (uint32_t index = 0; index < count; ++index) field.node().reply(taken[index], large);
  field.expect_violation();
}
