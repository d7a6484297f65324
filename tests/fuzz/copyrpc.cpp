// SPDX-License-Identifier: Apache-2.0
// A hostile peer of a real copyrpc node, beside an honest one, over the simulated fabric: the input
// says what the hostile one writes into ring, credit page and mailbox, what it tells, and when the
// node takes turns. The node may fail the hostile peer as often as it likes. The algebra of each of
// its peers must hold, each of its calls must end exactly once with no more than it asked for, and
// the honest peer must be served with the right bytes all the time.
//
// Not in the game: an immediate in the honest peer's name. The sixteen bits of its tag are all that
// stands before it, and a fuzzer that sees comparisons guesses them.
#include <array>
#include <map>
#include <optional>
#include <vector>

#include "tests/fuzz/input.hpp"
#include "tests/unit/copyrpc/raw_peer.hpp"

namespace {

using namespace copyrpc;
using copykv::fuzz::Input;
using copykv::fuzz::require;
using test::RawMessage;
using test::RawPeer;

constexpr PeerId kTarget = 0;
constexpr PeerId kHostile = 1;
constexpr PeerId kHonest = 2;
constexpr uint32_t kMessageBytesMax = 1024;
constexpr uint32_t kRingBytes = 4096;  // small: batches run over its end all the time
constexpr uint32_t kTurnsMax = 4'000;
constexpr uint64_t kTurnNs = 500;
constexpr uint64_t kStepNsMax = 100'000'000;  // less than a peer's time-out
constexpr uint64_t kCallTimeoutNs = 300'000'000;

/// What an honest call carries; the answer must be the same.
struct Echo {
  uint64_t number;
  uint32_t bytes;
  uint32_t filler;
};

class Field {
 public:
  Field() : network_({}, clock_), raw_(network_, kHostile, 5, 3) {
    for (const PeerId id : {kTarget, kHonest}) {
      fabrics_.push_back(network_.attach());
      NodeOptions options;
      options.node = id;
      options.nodes = 3;
      options.ring_bytes = kRingBytes;
      options.message_bytes_max = kMessageBytesMax;
      options.calls_max = 256;
      options.call_timeout_ns = kCallTimeoutNs;
      nodes_.push_back(std::move(*Node::create(options, *fabrics_.back(), clock_)));
    }
    target().set_peer(raw_.card());
    target().set_peer(honest().card());
    honest().set_peer(target().card());
    raw_.greet(target().card());
    until([&] { return raw_.up() && target().is_up(kHostile) && target().is_up(kHonest); },
          "all come up");
  }
  ~Field() { nodes_.clear(); }

  void step(Input& input);
  /// Everything that was begun ends, and the honest peer is served to the last.
  void finish();

 private:
  Node& target() { return *nodes_[0]; }
  Node& honest() { return *nodes_[1]; }

  template <class Done>
  void until(Done done, const char* what) {
    for (uint32_t turn = 0; turn < kTurnsMax; ++turn) {
      if (done()) return;
      turns(1, turn < kTurnsMax / 2 ? kTurnNs : 1'000'000);
    }
    require(false, what);
  }
  void turns(uint32_t count, uint64_t each_ns = kTurnNs);
  void turn(Node& node);
  void take_answers(Node& node);
  void serve(Node& node);
  void reply(Node& node, const InboundCall& call, std::span<const std::byte> payload);
  [[nodiscard]] bool call(Node& from, PeerId to, uint32_t bytes, uint32_t room);
  void honest_round_trips();

  void send_messages(Input& input);
  void send_changed(Input& input);
  void send_hello(Input& input);
  void send_credit(Input& input);
  [[nodiscard]] std::string messages(Input& input);
  void note_calls_of_target();

  struct Call {
    PeerId from;
    PeerId to;
    uint32_t room;
    Echo echo;
  };
  copykv::ManualClock clock_{1'000'000};
  SimNetwork network_;
  RawPeer raw_;
  std::vector<std::unique_ptr<Fabric>> fabrics_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<uint64_t, Call> calls_;  ///< that have not ended
  uint64_t next_number_ = 1;
  uint64_t honest_answers_ = 0;
  std::vector<uint64_t> heard_ids_;  ///< of calls to the hostile peer: what it may answer
  std::vector<InboundCall> later_;   ///< taken over, not answered yet
  uint8_t manners_ = 0;              ///< how the target serves: at once, later, put back
  uint64_t seen_bytes_ = 0;
  uint32_t posts_ = 0;
};

void Field::turns(uint32_t count, uint64_t each_ns) {
  for (uint32_t index = 0; index < count; ++index) {
    for (auto& node : nodes_) turn(*node);
    if (raw_.poll()) note_calls_of_target();
    clock_.advance_ns(each_ns);
  }
}

void Field::turn(Node& node) {
  (void)node.poll();
  take_answers(node);
  serve(node);
  require(node.is_valid(), "the algebra of a node's peers, before flush");
  node.flush();
  node.tick(clock_.now_ns());
  require(node.is_valid(), "the algebra of a node's peers");
}

void Field::take_answers(Node& node) {
  std::array<Answer, 16> answers;
  const uint32_t count = node.take_answers(answers);
  for (uint32_t index = 0; index < count; ++index) {
    const Answer& answer = answers[index];
    const auto found = calls_.find(answer.tag.words[0]);
    require(found != calls_.end(), "a call ends once, and was made");
    const Call call = found->second;
    calls_.erase(found);
    require(call.to == answer.peer && answer.tag.words[1] == ~answer.tag.words[0], "a call's tag");
    if (answer.end != CallEnd::answered) {
      require(call.to == kHostile || call.from == kHonest, "the honest peer answers");
      continue;
    }
    require(answer.payload_bytes <= round_up_16(call.room), "no more than was asked for");
    for (uint32_t at = 0; at < answer.payload_bytes; ++at) {
      seen_bytes_ += static_cast<uint64_t>(answer.payload[at]);
    }
    if (call.to == kHostile) continue;
    Echo echo{};
    require(answer.payload_bytes == sizeof(echo) + call.echo.bytes, "an honest answer's length");
    std::memcpy(&echo, answer.payload, sizeof(echo));
    require(std::memcmp(&echo, &call.echo, sizeof(echo)) == 0,
            "an honest peer reads what it wrote");
    for (uint32_t at = 0; at < echo.bytes; ++at) {
      require(answer.payload[sizeof(echo) + at] == static_cast<std::byte>(echo.number + at),
              "an honest peer reads what it wrote, to the last byte");
    }
    ++honest_answers_;
  }
}

void Field::serve(Node& node) {
  std::array<InboundCall, 8> calls;
  const uint32_t count = node.take_calls(calls);
  const bool is_target = &node == &target();
  for (uint32_t index = 0; index < count; ++index) {
    if (is_target && manners_ % 4 == 2 && (manners_ >> 2) % 8 == index) {
      manners_ = 0;  // once: else it would be for ever
      node.put_back(std::span(calls).subspan(index, count - index));
      return;
    }
    const InboundCall& call = calls[index];
    require(call.payload_bytes <= kMessageBytesMax, "a call's length");
    for (uint32_t at = 0; at < call.payload_bytes; ++at) {
      seen_bytes_ += static_cast<uint64_t>(call.payload[at]);
    }
    if (is_target && call.peer == kHostile && manners_ % 4 == 1 && later_.size() < 64) {
      later_.push_back(call);
      later_.back().payload = nullptr;
    } else {
      reply(node, call, {call.payload, call.payload_bytes});
    }
  }
}

/// Echoes what there is room for.
void Field::reply(Node& node, const InboundCall& call, std::span<const std::byte> payload) {
  const size_t bytes = std::min<size_t>(call.answer_bytes_max, payload.size());
  node.reply(call, payload.first(bytes));
}

bool Field::call(Node& from, PeerId to, uint32_t bytes, uint32_t room) {
  const uint64_t number = next_number_;
  const Echo echo{number, bytes, 0};
  std::array<std::byte, kMessageBytesMax> payload;
  std::memcpy(payload.data(), &echo, sizeof(echo));
  for (uint32_t at = 0; at < bytes; ++at) {
    payload[sizeof(echo) + at] = static_cast<std::byte>(number + at);
  }
  const std::span<const std::byte> head(payload.data(), sizeof(echo) + bytes);
  if (from.call(to, head, room, {{number, ~number}}) != Node::Sent::accepted) return false;
  ++next_number_;
  const PeerId caller = &from == &target() ? kTarget : kHonest;
  calls_[number] = {caller, to, room, echo};
  return true;
}

/// Both ways, while the hostile peer's work is still on its way.
void Field::honest_round_trips() {
  for (const PeerId to : {kHonest, kTarget}) {
    Node& from = to == kHonest ? target() : honest();
    const auto bytes = static_cast<uint32_t>(next_number_ % 200);
    const uint64_t before = honest_answers_;
    until([&] { return call(from, to, bytes, sizeof(Echo) + bytes); },
          "there is room for an honest call");
    until([&] { return honest_answers_ > before; }, "an honest call is answered");
  }
  require(target().is_up(kHonest), "the honest peer stays up");
}

void Field::note_calls_of_target() {
  if (heard_ids_.size() > 64) heard_ids_.clear();
  for (auto batch = raw_.next_batch(); !batch.empty(); batch = raw_.next_batch()) {
    for (const RawMessage& message : batch) heard_ids_.push_back(message.header.id);
  }
}

std::string Field::messages(Input& input) {
  std::vector<RawMessage> list;
  for (uint32_t count = 1 + input.take<uint8_t>() % 6; count > 0; --count) {
    const auto bytes = static_cast<uint32_t>(input.take<uint16_t>() % (kMessageBytesMax + 8));
    const auto what = input.take<uint8_t>();
    RawMessage message{{bytes, MessageKind::call, 0, 0, next_number_}, {}};
    message.payload.assign(bytes, static_cast<char>(what));
    if (what % 2 == 1) {
      message.header.kind = MessageKind::answer;
      message.header.id = input.take<uint16_t>();
      if (!heard_ids_.empty()) {
        const auto heard =
            heard_ids_.begin() + static_cast<ptrdiff_t>(message.header.id % heard_ids_.size());
        message.header.id = *heard;
        if (what % 8 != 7) heard_ids_.erase(heard);  // else it will be answered again
      }
    } else {
      message.header.answer_room = static_cast<uint16_t>(input.take<uint8_t>() % 65);
    }
    list.push_back(std::move(message));
  }
  return raw_.batch_of(list);
}

void Field::send_messages(Input& input) {
  raw_.send(messages(input));
}

/// A good batch with some bytes of its headers, or any others, changed.
void Field::send_changed(Input& input) {
  std::string batch = messages(input);
  for (uint32_t changes = 1 + input.take<uint8_t>() % 4; changes > 0; --changes) {
    const uint32_t at = input.take<uint8_t>();
    batch[at % batch.size()] = static_cast<char>(input.take<uint8_t>());
  }
  raw_.send(batch);
}

void Field::send_hello(Input& input) {
  Hello hello = raw_.own_hello();
  const auto changes = static_cast<uint32_t>(input.take<uint8_t>() % 4);
  for (uint32_t change = 0; change < changes; ++change) {
    const uint32_t at = input.take<uint8_t>() % sizeof(hello);
    reinterpret_cast<uint8_t*>(&hello)[at] = input.take<uint8_t>();
  }
  if (input.take<uint8_t>() % 4 > 0) hello.checksum = checksum_of(hello);
  raw_.send_hello(hello);
}

void Field::send_credit(Input& input) {
  const bool plausible = input.take<uint8_t>() % 2 == 0;
  const uint32_t released = plausible ? raw_.batches_read : input.take<uint32_t>();
  const uint64_t word = Credit{released, input.take<uint8_t>()}.pack();
  raw_.write(raw_.theirs.ring_bytes,
             std::string(reinterpret_cast<const char*>(&word), sizeof(word)));
}

void Field::step(Input& input) {
  const uint32_t what = input.take<uint8_t>();
  switch (what % 16) {
    case 0:
    case 1:
      send_messages(input);
      break;
    case 2:
    case 3:
      send_changed(input);
      break;
    case 4:
      raw_.send(input.text(input.take<uint8_t>()));
      break;
    case 5: {
      // Anywhere in the grant, over what stands there unserved.
      const uint32_t offset = input.below(kRingBytes + kCreditPageBytes - 256);
      raw_.write(offset, input.text(input.take<uint8_t>()));
      break;
    }
    case 6:
      send_credit(input);
      break;
    case 7: {
      const auto told = Immediate::unpack(input.take<uint32_t>());
      if (told.sender != kHonest) raw_.tell(told.pack());
      break;
    }
    case 8:
      raw_.tell_batch(raw_.batches_sent);
      break;
    case 9:
      send_hello(input);
      break;
    case 10: {
      const uint32_t room = input.take<uint16_t>() % kMessageBytesMax;
      (void)call(target(), kHostile, input.take<uint8_t>(), room);
      break;
    }
    case 11:
      (void)call(what < 128 ? target() : honest(), what < 128 ? kHonest : kTarget, what, what + 16);
      break;
    case 12:
      manners_ = input.take<uint8_t>();
      break;
    case 13:
      for (const InboundCall& call : later_) {
        static constexpr std::array<std::byte, kMessageBytesMax> kBytes{};
        reply(target(), call, kBytes);
      }
      later_.clear();
      break;
    case 14:
      turns(1, uint64_t{input.take<uint8_t>()} * (kStepNsMax / 256));
      break;
    default:
      if (what > 240) raw_.greet(target().card());
  }
  if (!target().is_up(kHostile) && what % 4 == 3) {  // another session, which must be as good
    raw_.greet(target().card());
    turns(3, kStepNsMax / 2);
  }
  turns(what / 16 + (++posts_ % 16 == 0 ? 16 : 0));
  if (posts_ % 32 == 0) honest_round_trips();
}

void Field::finish() {
  honest_round_trips();
  later_.clear();
  // The hostile peer says nothing any more: whatever waits for it ends by time.
  until([&] { return calls_.empty(); }, "every call ends");
  honest_round_trips();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  Input input(data, bytes);
  Field field;
  for (uint32_t step = 0; step < 400 && !input.empty(); ++step) field.step(input);
  field.finish();
  return 0;
}
