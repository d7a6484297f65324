// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/shm/protocol_example.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "daemon/job_card.hpp"
#include "shm/handshake.hpp"
#include "shm/station_ring.hpp"
#include "sim/in_process.hpp"

namespace copykv::test {
namespace {

constexpr uint64_t kEpoch = 1'800'000'000'000'000'000;  // nanoseconds since 1970: January 2027
constexpr SegmentGeometry kGeometry{3, 2, 4, 4096, 1U << 20};

Bytes bytes_at(const void* from, size_t count) {
  Bytes bytes(count);
  std::memcpy(bytes.data(), from, count);
  return bytes;
}

template <class T>
Bytes bytes_of(const T& value) {
  return bytes_at(&value, sizeof(value));
}

/// As fresh shared memory is: also the padding, which initialisation need not clear.
template <class T>
std::unique_ptr<T> zeroed() {
  auto made = std::make_unique<T>();
  std::memset(static_cast<void*>(made.get()), 0, sizeof(T));
  return made;
}

/// A real client and a real engine over one segment of four slots.
struct Exchange {
  Exchange() {
    daemon.settle();  // takes the lane
  }
  void settle(Status submitted) {
    if (submitted != Status::ok) throw std::runtime_error("an example was not submitted");
    daemon.settle();
  }
  /// Shows a slot's lines under `name`-request and `name`-response.
  void show(std::map<std::string, Bytes>& examples, const std::string& name, uint32_t slot) const {
    examples[name + "-request"] = bytes_of(seat->slot(slot).request);
    examples[name + "-response"] = bytes_of(seat->slot(slot).response);
  }
  [[nodiscard]] const std::byte* page(uint32_t slot) const {
    return seat->base() + seat->geometry().slot_payload_offset(0, slot);
  }

  ManualClock clock;
  sim::InProcessDaemon daemon{{.clock = &clock}};
  std::unique_ptr<sim::Seat> seat = daemon.attach({0, 1, 4, 4096, 64U << 10});
  Client client = daemon.client(*seat);
};

void show_operations(std::map<std::string, Bytes>& examples) {
  Exchange with;
  Client& client = with.client;
  with.settle(client.submit_put("greeting", "hello", 0, {.flags = 7, .ttl_ms = 60'000}));
  with.show(examples, "put", 0);
  with.settle(client.submit_get("greeting", 0));
  with.show(examples, "get", 1);
  with.settle(client.submit_put("config", "threads = 4, wait = park, 30 B", 0));
  examples["page-request"] = bytes_of(with.seat->slot(2).request);
  examples["page-payload"] = bytes_at(with.page(2), 40);
  with.settle(client.submit_add("visits", -2, 0));
  with.show(examples, "add", 3);

  Completion completions[4];
  (void)client.poll(completions);
  const Buffer before = client.reserve(4096);
  with.settle(client.submit_put("image", client.reserve(5000), 0));
  examples["bulk-request"] = bytes_of(with.seat->slot(0).request);
  with.settle(client.submit_get("nobody", 0));
  examples["not-found-response"] = bytes_of(with.seat->slot(1).response);
}

void show_keys(std::map<std::string, Bytes>& examples) {
  Exchange with;
  for (const char* key : {"greeting", "user:20"}) with.settle(with.client.submit_put(key, "", 0));
  // Where an enumeration gets after some empty pages.
  std::byte room[256];
  uint64_t cursor = 0;
  while (true) {
    const KeysPage page = with.daemon.store().keys(cursor, room);
    if (page.bytes > 0) break;
    cursor = page.next_cursor;
  }
  RequestLine& line = with.seat->slot(2).request;
  poke(line.argument, cursor);
  publish(line.head, RequestHead{1, static_cast<uint8_t>(Op::keys), 0, 0}.pack());
  with.daemon.settle();
  with.show(examples, "keys", 2);
  examples["keys-page"] = bytes_at(with.page(2), with.seat->slot(2).response.value_bytes);
}

void show_handshake(std::map<std::string, Bytes>& examples) {
  Hello hello{};
  hello.head = message_head(MessageType::hello, sizeof(hello));
  hello.fingerprint = layout_fingerprint();
  hello.queue_depth = kGeometry.queue_depth;
  hello.slot_payload_bytes = kGeometry.slot_payload_bytes;
  hello.bulk_bytes_max = kGeometry.bulk_bytes_max;
  hello.has_membarrier = 1;
  examples["hello"] = bytes_of(hello);

  Welcome welcome{};
  welcome.head = message_head(MessageType::welcome, sizeof(welcome));
  welcome.fingerprint = layout_fingerprint();
  welcome.daemon_count = kGeometry.lane_count;
  welcome.segment_bytes = kGeometry.segment_bytes();
  welcome.rank_page_bytes = rank_page_bytes(kGeometry.lane_count);
  welcome.fence_free = 1;
  examples["welcome"] = bytes_of(welcome);

  hello.head.abi_major = kAbiMajor + 1;
  std::string text;
  Welcome refusal{};
  refusal.head = message_head(MessageType::welcome, sizeof(refusal));
  refusal.fingerprint = layout_fingerprint();
  refusal.refusal = static_cast<uint32_t>(check_hello(&hello, sizeof(hello), text));
  set_text(refusal.text, text);
  examples["refusal"] = bytes_of(refusal);

  const BulkRequest request{message_head(MessageType::bulk_request, sizeof(request)), 1U << 20};
  examples["bulk-ask"] = bytes_of(request);
  BulkGrant grant{};
  grant.head = message_head(MessageType::bulk_grant, sizeof(grant));
  grant.bytes = 1U << 20;
  examples["bulk-grant"] = bytes_of(grant);
}

void show_rank_page(std::map<std::string, Bytes>& examples) {
  const auto header = zeroed<RankHeader>();
  header->magic = kRankPageMagic;
  header->abi_major = kAbiMajor;
  header->abi_minor = kAbiMinor;
  header->fingerprint = layout_fingerprint();
  header->epoch = kEpoch;
  header->rank = 1;
  header->rank_count = 2;
  header->daemon_count = 2;
  header->value_bytes_max = kValueBytesMaxDefault;
  header->memory_budget_bytes = uint64_t{1} << 30;
  header->started_unix_ms = kEpoch / kNanosPerMilli;
  header->pid = 4242;
  header->clients_attached = 1;
  header->attaches = 3;
  header->clients_gone = 2;
  header->routing_epoch = 1;
  const Routing routing = make_routing({2, 2}, header->rank);
  header->owner_count = static_cast<uint32_t>(routing.owners.size());
  std::copy(routing.owners.begin(), routing.owners.end(), header->owners);
  std::copy(routing.partition_owner.begin(), routing.partition_owner.end(),
            header->partition_owner);
  std::copy(routing.partition_rail.begin(), routing.partition_rail.end(), header->partition_rail);
  examples["rank-header"] = bytes_of(*header);

  const auto block = zeroed<DaemonBlock>();
  block->sleeping = 1;
  block->turns = 4608;
  block->busy_turns = 2;
  block->requests = 2;
  block->groups = 2;
  block->by_op[static_cast<uint8_t>(Op::get)] = 1;
  block->by_op[static_cast<uint8_t>(Op::put)] = 1;
  block->by_status[static_cast<uint8_t>(Status::ok)] = 2;
  examples["daemon-block"] = bytes_of(*block);
}

}  // namespace

std::map<std::string, Bytes> protocol_examples() {
  std::map<std::string, Bytes> examples;
  SegmentHeader header{};
  write_segment_header(header, kGeometry, kEpoch);
  examples["segment-header"] = bytes_of(header);
  const auto control = zeroed<ClientControl>();
  control->sleeping = 1;
  examples["client-control"] = bytes_of(*control);
  show_operations(examples);
  show_keys(examples);
  show_handshake(examples);
  show_rank_page(examples);
  return examples;
}

#define FIELD(type, name)                                                           \
  Cells {                                                                           \
    std::to_string(offsetof(type, name)), std::to_string(sizeof(type::name)), #name \
  }

std::map<std::string, std::vector<Cells>> protocol_fields() {
  using S = SegmentHeader;
  using R = RankHeader;
  using D = DaemonBlock;
  return {
      {"SegmentHeader",
       {FIELD(S, magic), FIELD(S, abi_major), FIELD(S, abi_minor), FIELD(S, header_bytes),
        FIELD(S, fingerprint), FIELD(S, segment_bytes), FIELD(S, epoch), FIELD(S, client_number),
        FIELD(S, lane_count), FIELD(S, queue_depth), FIELD(S, slot_payload_bytes),
        FIELD(S, control_offset), FIELD(S, lanes_offset), FIELD(S, payload_offset),
        FIELD(S, bulk_offset), FIELD(S, bulk_bytes_max), FIELD(S, ready), FIELD(S, reserved)}},
      {"ClientControl", {FIELD(ClientControl, sleeping)}},
      {"Slot", {FIELD(Slot, request), FIELD(Slot, gap0), FIELD(Slot, response), FIELD(Slot, gap1)}},
      {"RequestLine",
       {FIELD(RequestLine, head), FIELD(RequestLine, value_bytes), FIELD(RequestLine, user_flags),
        FIELD(RequestLine, argument), FIELD(RequestLine, ttl_ms), FIELD(RequestLine, owner),
        FIELD(RequestLine, data)}},
      {"ResponseLine",
       {FIELD(ResponseLine, head), FIELD(ResponseLine, value_bytes),
        FIELD(ResponseLine, user_flags), FIELD(ResponseLine, version), FIELD(ResponseLine, data)}},
      {"RankHeader",
       {FIELD(R, magic),
        FIELD(R, abi_major),
        FIELD(R, abi_minor),
        FIELD(R, rank),
        FIELD(R, fingerprint),
        FIELD(R, epoch),
        FIELD(R, rank_count),
        FIELD(R, daemon_count),
        FIELD(R, value_bytes_max),
        FIELD(R, memory_budget_bytes),
        FIELD(R, started_unix_ms),
        FIELD(R, pid),
        FIELD(R, clients_attached),
        FIELD(R, attaches),
        FIELD(R, attaches_refused),
        FIELD(R, clients_gone),
        FIELD(R, bulk_bytes_granted),
        FIELD(R, routing_epoch),
        FIELD(R, owner_count),
        FIELD(R, stations),
        FIELD(R, partition_owner),
        FIELD(R, partition_rail),
        FIELD(R, owners)}},
      {"StationRing",
       {FIELD(StationRing, written), FIELD(StationRing, missed), FIELD(StationRing, records)}},
      {"StationRecord",
       {FIELD(StationRecord, mark), FIELD(StationRecord, kind), FIELD(StationRecord, rank),
        FIELD(StationRecord, daemon), FIELD(StationRecord, reserved), FIELD(StationRecord, client),
        FIELD(StationRecord, slot), FIELD(StationRecord, seq), FIELD(StationRecord, reserved2),
        FIELD(StationRecord, at_ns)}},
      {"DaemonBlock",
       {FIELD(D, sleeping),
        FIELD(D, turns),
        FIELD(D, busy_turns),
        FIELD(D, requests),
        FIELD(D, groups),
        FIELD(D, by_op),
        FIELD(D, by_status),
        FIELD(D, bad_sequences),
        FIELD(D, deferred),
        FIELD(D, transfers),
        FIELD(D, transfer_bytes),
        FIELD(D, wakes_sent),
        FIELD(D, sleeps),
        FIELD(D, remote_calls),
        FIELD(D, lanes),
        FIELD(D, lanes_parked),
        FIELD(D, ground_queue_sum),
        FIELD(D, sampled_turns),
        FIELD(D, longest_turn_ns),
        FIELD(D, items),
        FIELD(D, item_bytes_used),
        FIELD(D, index_bytes),
        FIELD(D, populated_bytes),
        FIELD(D, budget_bytes),
        FIELD(D, expired),
        FIELD(D, chain_full),
        FIELD(D, remote_answers),
        FIELD(D, inbound_requests),
        FIELD(D, messages_sent),
        FIELD(D, batches_sent),
        FIELD(D, batches_received),
        FIELD(D, ring_full),
        FIELD(D, peers_up),
        FIELD(D, peers_failed),
        FIELD(D, peer_violations),
        FIELD(D, rtt_ns),
        FIELD(D, phases),
        FIELD(D, turn_ns)}},
      {"MessageHead",
       {FIELD(MessageHead, magic), FIELD(MessageHead, abi_major), FIELD(MessageHead, abi_minor),
        FIELD(MessageHead, type), FIELD(MessageHead, message_bytes), FIELD(MessageHead, reserved)}},
      {"Hello",
       {FIELD(Hello, head), FIELD(Hello, fingerprint), FIELD(Hello, queue_depth),
        FIELD(Hello, slot_payload_bytes), FIELD(Hello, bulk_bytes_max),
        FIELD(Hello, has_membarrier), FIELD(Hello, reserved)}},
      {"Welcome",
       {FIELD(Welcome, head), FIELD(Welcome, fingerprint), FIELD(Welcome, refusal),
        FIELD(Welcome, daemon_count), FIELD(Welcome, segment_bytes),
        FIELD(Welcome, rank_page_bytes), FIELD(Welcome, fence_free), FIELD(Welcome, reserved),
        FIELD(Welcome, text)}},
      {"BulkRequest", {FIELD(BulkRequest, head), FIELD(BulkRequest, bytes)}},
      {"BulkGrant", {FIELD(BulkGrant, head), FIELD(BulkGrant, bytes), FIELD(BulkGrant, text)}},
  };
}
#undef FIELD

std::map<std::string, std::vector<Cells>> protocol_values() {
  const std::pair<Refusal, const char*> refusals[] = {
      {Refusal::none, "none"},
      {Refusal::bad_message, "bad_message"},
      {Refusal::version, "version"},
      {Refusal::fingerprint, "fingerprint"},
      {Refusal::wrong_user, "wrong_user"},
      {Refusal::bad_options, "bad_options"},
      {Refusal::too_many, "too_many"},
      {Refusal::no_memory, "no_memory"},
      {Refusal::stopping, "stopping"},
  };
  std::map<std::string, std::vector<Cells>> values;
  for (const auto& [refusal, name] : refusals) {
    values["Refusal"].push_back({std::to_string(static_cast<uint32_t>(refusal)), name});
  }
  for (uint8_t status = 0; status < kStatusCount; ++status) {
    values["Status"].push_back(
        {std::to_string(status), std::string(to_string(static_cast<Status>(status)))});
  }
  return values;
}

}  // namespace copykv::test
