// SPDX-License-Identifier: Apache-2.0
// A hostile rank of a job beside two real ones: the input says what requests it sends to the first,
// what it answers to the calls of the first, and when it writes into client memory that was named
// to it. Its batches are well-formed: copyrpc lets them through, RpcNetwork and engine must not
// believe them. It may get any answer, and fill the memory. The client of the other rank must read
// what it wrote, operations of the first rank's client must end with a status that exists, client
// memory must be closed to the hostile rank once its operation has ended, and stores, engines and
// nodes must stay consistent.
#include <array>
#include <vector>

#include "daemon/remote_wire.hpp"
#include "tests/fuzz/remote_ranks.hpp"
#include "tests/unit/copyrpc/raw_peer.hpp"

namespace {

using namespace copykv;
using copyrpc::MessageKind;
using copyrpc::RemoteMemory;
using copyrpc::test::RawMessage;
using copyrpc::test::RawPeer;
using fuzz::FuzzRank;
using fuzz::Input;
using fuzz::key_owned_by;
using fuzz::require;

constexpr uint32_t kRanks = 3;
constexpr uint32_t kTarget = 0;
constexpr uint32_t kHostile = 1;
constexpr uint32_t kHonest = 2;
constexpr uint32_t kBulkBytes = 64 * 1024;  ///< of the hostile rank, open to all
constexpr uint32_t kHonestKeys = 4;
constexpr uint32_t kTurnsMax = 6'000;
constexpr uint64_t kTurnNs = 1'000;

StoreMemory& memory_of(uint32_t rank) {
  static std::array<std::unique_ptr<StoreMemory>, kRanks> memories;
  if (memories[rank] == nullptr) {
    auto made =
        StoreMemory::create({.budget_bytes = kStoreBudgetBytesMin, .huge_pages = HugePages::off});
    require(static_cast<bool>(made), made.error.c_str());
    memories[rank] = std::move(*made);
  }
  return *memories[rank];
}

class World {
 public:
  World()
      : network_({}, clock_),
        target_(network_.attach(), clock_, kTarget, kRanks, memory_of(kTarget)),
        raw_(network_, node_of(kHostile, 0), 5, kRanks * kRailsMax),
        honest_(network_.attach(), clock_, kHonest, kRanks, memory_of(kHonest)),
        bulk_(kBulkBytes) {
    bulk_memory_ = *raw_.fabric().register_memory(bulk_.data(), kBulkBytes,
                                                  copyrpc::Access::remote_read_write);
    target_.network().set_peer(raw_.card());
    target_.network().set_peer(honest_.node().card());
    honest_.network().set_peer(target_.node().card());
    raw_.greet(target_.node().card());
    until(
        [&] {
          return raw_.up() && target_.node().peers_up() == 2 && honest_.node().peers_up() == 1;
        },
        "all come up");
  }
  ~World() { raw_.fabric().deregister(bulk_memory_); }

  void step(Input& input);
  void finish();

 private:
  template <class Done>
  void until(Done done, const char* what) {
    for (uint32_t turn = 0; turn < kTurnsMax; ++turn) {
      if (done()) return;
      turns(1, turn < kTurnsMax / 2 ? kTurnNs : 1'000'000);
    }
    require(false, what);
  }
  void turns(uint32_t count, uint64_t each_ns = kTurnNs);
  void take_ends();
  Result honest_end(Status submitted);
  void write_and_check(uint32_t number, uint32_t bytes);
  void check(uint32_t number);

  void send(MessageKind kind, uint64_t id, uint32_t room, std::string payload);
  void send_request(Input& input);
  void send_answer(Input& input);
  void ask_hostile(Input& input);
  void write_into_client(Input& input);
  void note_calls();
  [[nodiscard]] std::string any_key(Input& input);

  /// A call of the target that the hostile rank has heard.
  struct Heard {
    uint64_t id;
    RemoteRequestHead head;
    RemoteMemory memory;
  };
  ManualClock clock_{1'000'000'000};
  copyrpc::SimNetwork network_;
  FuzzRank target_;
  RawPeer raw_;
  FuzzRank honest_;
  std::vector<std::byte> bulk_;
  copyrpc::Memory bulk_memory_{};
  std::vector<Heard> heard_;
  /// Client memory, of whatever call, and where it stands.
  struct Named {
    RemoteMemory memory;
    const char* there;
  };
  std::vector<Named> named_;
  std::array<std::string, kHonestKeys> values_{};
  uint32_t writes_ = 0;
  uint64_t requests_ = 0;
  uint64_t seen_bytes_ = 0;
  std::string value_;  ///< of the honest client's last end
  uint32_t steps_ = 0;
};

void World::turns(uint32_t count, uint64_t each_ns) {
  for (uint32_t index = 0; index < count; ++index) {
    target_.turn();
    honest_.turn();
    if (raw_.poll()) note_calls();
    take_ends();
    clock_.advance_ns(each_ns);
  }
}

/// Of what the target's own client has asked of the hostile rank.
void World::take_ends() {
  std::array<Completion, 8> done;
  const size_t count = target_.client().poll(done);
  for (size_t index = 0; index < count; ++index) {
    const Result& result = done[index].result;
    require(static_cast<uint8_t>(result.status) < kStatusCount, "a status that exists");
    require(result.value.size() <= fuzz::kValueBytesMax, "no value larger than any");
    for (const char byte : result.value) seen_bytes_ += static_cast<uint8_t>(byte);
  }
}

Result World::honest_end(Status submitted) {
  require(submitted == Status::ok, "an honest submit");
  std::array<Completion, 1> done;
  size_t count = 0;
  until([&] { return (count = honest_.client().poll(done)) == 1; },
        "an honest request is answered");
  value_.assign(done[0].result.value);
  return done[0].result;
}

/// Keys that no input hits, for the hostile rank may of course use those that it knows.
std::string honest_key(uint32_t number) {
  std::string key(48, '\0');
  uint64_t state = number;
  for (char& c : key) c = static_cast<char>(splitmix64(state));
  return key_owned_by(kTarget, kRanks, key);
}

void World::write_and_check(uint32_t number, uint32_t bytes) {
  std::string& value = values_[number];
  value.assign(bytes, static_cast<char>('A' + ++writes_ % 26));
  const Status put = honest_end(honest_.client().submit_put(honest_key(number), value, 1)).status;
  require(put == Status::ok || put == Status::no_space, "an honest put");
  if (put != Status::ok) {
    value.clear();  // what stood there stands
    (void)honest_end(honest_.client().submit_del(honest_key(number), 1));
    return;
  }
  check(number);
}

void World::check(uint32_t number) {
  if (values_[number].empty()) return;
  const Result got = honest_end(honest_.client().submit_get(honest_key(number), 2));
  require(got.ok() && value_ == values_[number], "an honest client reads what it wrote");
}

std::string World::any_key(Input& input) {
  const uint32_t shape = input.take<uint8_t>();
  const size_t bytes = shape < 240 ? 1 + shape % 24 : 1 + input.below(kKeyBytesMax + 16);
  return std::string(bytes, static_cast<char>('a' + shape % 7));
}

/// A well-formed batch of one message.
void World::send(MessageKind kind, uint64_t id, uint32_t room, std::string payload) {
  const auto bytes = static_cast<uint32_t>(payload.size());
  const auto units = static_cast<uint16_t>(kind == MessageKind::call ? (room + 15) / 16 : 0);
  raw_.send(raw_.batch_of({{{bytes, kind, 0, units, id}, std::move(payload)}}));
}

void World::send_request(Input& input) {
  const uint32_t shape = input.take<uint8_t>();
  RemoteRequestHead head{};
  head.op = static_cast<uint8_t>(input.take<uint8_t>() % 10);
  head.mode = static_cast<uint8_t>(shape % 8 == 7 ? input.take<uint8_t>() : shape % 8);
  head.argument = shape % 2 == 0 ? 0 : input.take<uint64_t>();
  head.user_flags = input.take<uint8_t>();
  head.ttl_ms = input.take<uint8_t>() % 4 == 0 ? input.take<uint16_t>() : 0;
  const std::string key = key_owned_by(kTarget, kRanks, any_key(input));
  const bool has_key =
      head.op != static_cast<uint8_t>(Op::keys) && head.op != static_cast<uint8_t>(Op::ping);
  head.key_bytes = static_cast<uint16_t>(has_key ? key.size() : 0);
  const bool named = (head.mode & kModeDescriptor) != 0;
  const uint32_t value_bytes = input.below(named ? kBulkBytes * 2 : kInlineValueBytes + 64);
  if (head.op == static_cast<uint8_t>(Op::put)) head.value_bytes = value_bytes;
  std::string payload(reinterpret_cast<const char*>(&head), sizeof(head));
  if (named) {
    RemoteMemory memory = bulk_memory_.remote.at(shape % 64);
    if (shape % 4 == 0) memory.bytes = input.take<uint32_t>();
    if (shape % 32 == 1) memory.key = input.take<uint64_t>();
    if (shape % 32 == 2) memory.address += input.take<uint32_t>();
    payload.append(reinterpret_cast<const char*>(&memory), sizeof(memory));
  }
  if (has_key) payload += key + std::string(round_up_8(head.key_bytes) - key.size(), '\0');
  if (head.op == static_cast<uint8_t>(Op::put) && !named) payload.append(value_bytes, 'h');
  for (uint32_t changes = shape >= 224 ? shape % 4 : 0; changes > 0; --changes) {
    payload[input.take<uint8_t>() % payload.size()] = static_cast<char>(input.take<uint8_t>());
  }
  const uint32_t room = shape % 16 == 3 ? input.take<uint8_t>() : 24 + input.below(4'200);
  send(MessageKind::call, ++requests_, room, std::move(payload));
}

void World::send_answer(Input& input) {
  if (heard_.empty()) return;
  const uint32_t shape = input.take<uint8_t>();
  const auto heard = heard_.begin() + static_cast<ptrdiff_t>(input.take<uint8_t>() % heard_.size());
  const Heard to = *heard;
  if (shape % 4 != 3) heard_.erase(heard);  // else it will be answered again
  RemoteAnswerHead head{};
  head.status = static_cast<uint8_t>(shape < 128 ? 0 : input.take<uint8_t>() % 24);
  head.in_room =
      static_cast<uint8_t>(shape % 8 < 6 ? to.memory.bytes > 0 && shape % 2 == 0 : shape);
  head.version = input.take<uint8_t>();
  const uint32_t inside = shape % 16 == 5 ? input.take<uint16_t>() : input.take<uint8_t>() % 64;
  head.value_bytes = head.in_room != 0 ? input.below(kBulkBytes) : inside;
  if (shape % 32 == 9) head.value_bytes = input.take<uint32_t>();
  std::string payload(reinterpret_cast<const char*>(&head), sizeof(head));
  if (to.head.op == static_cast<uint8_t>(Op::add)) {
    payload.append(8, static_cast<char>(shape));
  } else if (head.in_room == 0) {
    payload.append(inside, 'v');
  }
  for (uint32_t changes = shape >= 224 ? shape % 4 : 0; changes > 0; --changes) {
    payload[input.take<uint8_t>() % payload.size()] = static_cast<char>(input.take<uint8_t>());
  }
  send(MessageKind::answer, to.id, 0, std::move(payload));
}

/// The target's own client wants something of a key of the hostile rank.
void World::ask_hostile(Input& input) {
  const std::string key = key_owned_by(kHostile, kRanks, "key of the hostile rank");
  const uint32_t what = input.take<uint8_t>();
  Client& client = target_.client();
  Status ignored = Status::ok;
  switch (what % 6) {
    case 0:
    case 1:
      ignored = client.submit_get(key, 1);
      break;
    case 2:
      ignored = client.submit_put(key, std::string(input.below(3 * 4'096), 'c'), 2);
      break;
    case 3:
      ignored = client.submit_add(key, what, 3);
      break;
    case 4:
      ignored = client.submit_exists(key, 4);
      break;
    default:
      ignored = client.submit_touch(key, what, 5);
  }
  require(ignored == Status::ok || ignored == Status::would_block, "a submit");
}

/// The hostile rank writes where a call had named memory. When all calls have ended, nothing may
/// change there any more.
void World::write_into_client(Input& input) {
  if (named_.empty()) return;
  const auto& [memory, there] = named_[input.take<uint8_t>() % named_.size()];
  if (memory.bytes < 64) return;
  const bool ended = target_.client().in_flight() == 0;
  const std::string before(there, 64);
  const copyrpc::LocalPart from{&bulk_memory_, 0, 64};
  std::memset(bulk_.data(), 0xEE - static_cast<int>(before[0] == '\xEE'), 64);
  (void)raw_.fabric().write(raw_.node(), from, memory, copyrpc::kUnsignalled);
  turns(8);
  if (ended)
    require(std::string_view(there, 64) == before, "client memory is closed after the end");
}

void World::note_calls() {
  if (heard_.size() > 64) heard_.clear();
  for (auto batch = raw_.next_batch(); !batch.empty(); batch = raw_.next_batch()) {
    for (const RawMessage& message : batch) {
      if (message.header.kind != MessageKind::call) continue;
      const std::string& payload = message.payload;
      require(payload.size() >= sizeof(RemoteRequestHead), "a request of the target is whole");
      Heard heard{.id = message.header.id, .head = {}, .memory = {}};
      std::memcpy(&heard.head, payload.data(), sizeof(heard.head));
      if ((heard.head.mode & kModeDescriptor) != 0) {
        require(payload.size() >= sizeof(heard.head) + sizeof(RemoteMemory), "with its memory");
        std::memcpy(&heard.memory, payload.data() + sizeof(heard.head), sizeof(RemoteMemory));
        const std::byte* there = network_.memory_at(heard.memory);
        // Of a call that has ended by now nobody knows where its memory was.
        if (there != nullptr)
          named_.push_back({heard.memory, reinterpret_cast<const char*>(there)});
      }
      heard_.push_back(heard);
    }
  }
  if (named_.size() > 32) named_.erase(named_.begin(), named_.end() - 32);
}

void World::step(Input& input) {
  const uint32_t what = input.take<uint8_t>();
  switch (what % 12) {
    case 0:
    case 1:
    case 2:
      send_request(input);
      break;
    case 3:
    case 4:
      send_answer(input);
      break;
    case 5:
      send(what < 128 ? MessageKind::call : MessageKind::answer,
           what < 128 || heard_.empty() ? what : heard_[what % heard_.size()].id,
           input.take<uint8_t>() * 16U, input.text(input.take<uint8_t>()));
      break;
    case 6:
    case 7:
      ask_hostile(input);
      break;
    case 8:
      write_into_client(input);
      break;
    case 9:
      write_and_check(what % kHonestKeys, 1 + input.below(12'000));
      break;
    case 10:
      turns(1, uint64_t{input.take<uint8_t>()} * 400'000);
      break;
    default:
      if (what > 240) raw_.greet(target_.node().card());
  }
  if (!target_.node().is_up(node_of(kHostile, 0)) && what % 4 == 3) {
    raw_.greet(target_.node().card());
    turns(3, 60'000'000);
  }
  turns(1 + what / 12 % 8);
  if (++steps_ % 64 == 0) check(steps_ / 64 % kHonestKeys);
}

void World::finish() {
  // The hostile rank is silent: what waits for it ends by time.
  until([&] { return target_.client().in_flight() == 0; }, "every operation ends");
  write_and_check(0, 5'000);
  for (uint32_t number = 0; number < kHonestKeys; ++number) check(number);
  require(target_.store().is_valid() && honest_.store().is_valid(), "the stores at the end");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  Input input(data, bytes);
  World world;
  for (uint32_t step = 0; step < 300 && !input.empty(); ++step) world.step(input);
  world.finish();
  return 0;
}
