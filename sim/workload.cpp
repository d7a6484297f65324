// SPDX-License-Identifier: Apache-2.0
#include "sim/workload.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "base/clock.hpp"

namespace copykv::sim {
namespace {

constexpr uint32_t kBulkBytes = 1U << 20;
constexpr uint64_t kRetryNs = 500'000;    // of an attach, or after a failure
constexpr uint64_t kLookNs = 10'000'000;  // at a daemon that has gone
constexpr uint32_t kPollsPerLook = 70;    // the library looks once in 64 empty polls
constexpr uint64_t kCalmNsMax = 300'000;  // of an operation when nothing is broken: below one sleep
constexpr uint64_t kIdBytes = 16;

/// A value that says its name, and whose every byte follows from it.
std::string make_value(uint64_t id, size_t bytes) {
  std::string value(std::max<size_t>(bytes, kIdBytes), '\0');
  std::memcpy(value.data(), &id, sizeof(id));
  fill_bytes(value.data() + sizeof(id), value.size() - sizeof(id), id);
  return value;
}

bool is_whole(std::string_view value, uint64_t& id) {
  if (value.size() < kIdBytes) return false;
  std::memcpy(&id, value.data(), sizeof(id));
  value.remove_prefix(sizeof(id));
  return filled_until(value, id) == value.size();
}

bool has_failed(Status status) {
  return status == Status::unreachable || status == Status::indeterminate ||
         status == Status::disconnected;
}

}  // namespace

Load::Load(Cluster& in, uint32_t key_count) : cluster(in) {
  for (uint32_t number = 0; number < key_count; ++number) {
    // Some are too long for a request line.
    Key& key = keys.emplace_back();
    key.name = number % 5 == 4 ? fmt::format("{:x>60}", number) : fmt::format("key-{}", number);
    key.owner = in.owner_of(key.name);
    key.counts = number % 4 == 3;
    key.large = number % 4 == 2;
  }
}

// ---- honest

LoadClient::LoadClient(Load& load, uint32_t rank, uint32_t queue_depth, uint64_t seed)
    : Process(rank), load_(load), random_(seed), depth_(queue_depth), slots_(queue_depth) {}

LoadClient::~LoadClient() = default;

void LoadClient::attach() {
  attachment_ = load_.cluster.attach(*this, depth_, kBulkBytes);
  if (attachment_ == nullptr) return;
  process_ = ++load_.next_process;
  sequence_ = 0;
  dead_ = false;
  load_.cluster.trace.note(load_.cluster.clock.now_ns(), "client {0} attaches at rank {1}",
                           process_, rank());
}

void LoadClient::leave(uint64_t now_ns, bool by_death) {
  if (by_death) {
    ++load_.client_deaths;
    load_.cluster.trace.note(now_ns, "client {0} dies with {1} operations in flight", process_,
                             in_flight_);
    load_.operations.push_back(death_of(process_, now_ns));
    for (Slot& slot : slots_) slot.busy = false;
    in_flight_ = 0;
    doomed_ = 0;
  }
  load_.cluster.detach(*this, std::move(attachment_));
  think_until_ns_ = now_ns + kRetryNs;
}

uint64_t LoadClient::step(uint64_t now_ns) {
  if (attachment_ == nullptr) {
    if (now_ns < think_until_ns_) return think_until_ns_;
    if (load_.phase == Load::Phase::over) return kNever;
    attach();
    if (attachment_ == nullptr) return now_ns + kRetryNs;
  }
  const bool is_alone = !load_.cluster.is_served(*this, *attachment_);
  processor.run([&] {
#if defined(COPYKV_CHECKED)
    static LoadClient* running = nullptr;
    running = this;
    Checked::on_step = [](const char*) { running->pass_step(); };
#endif
    poll(now_ns);
    for (uint32_t look = 0; is_alone && in_flight_ > 0 && look < kPollsPerLook; ++look) {
      poll(now_ns);
    }
    if (!is_alone) submit(now_ns);
#if defined(COPYKV_CHECKED)
    Checked::on_step = nullptr;
#endif
  });
  if (!kCheckedBuild && doomed_ > 0) dead_ = true;
  if (dead_) {
    leave(now_ns, true);
    return think_until_ns_;
  }
  if (is_alone) {
    if (in_flight_ > 0) return now_ns + kLookNs;
    leave(now_ns, false);
    return think_until_ns_;
  }
  if (in_flight_ == depth_ || !wants_more()) return kNever;
  return std::max(now_ns + load_.cluster.costs().client_ns, think_until_ns_);
}

/// The doomed process dies here: nothing that it stores from now on happens.
void LoadClient::pass_step() {
  if (doomed_ == 0 || --doomed_ > 0) return;
#if defined(COPYKV_CHECKED)
  processor.die();
#endif
  dead_ = true;
}

void LoadClient::poll(uint64_t now_ns) {
  std::array<Completion, 8> done;
  while (const size_t count = attachment_->client->poll(done)) {
    // What a process has seen after its death, nobody knows.
    for (size_t index = 0; index < count && !dead_; ++index) take(done[index], now_ns);
  }
}

void LoadClient::take(const Completion& completion, uint64_t now_ns) {
  Slot& slot = slots_[completion.tag % depth_];
  Operation& operation = load_.operations[slot.operation];
  const Result& result = completion.result;
  slot.busy = false;
  --in_flight_;
  ++load_.by_status[static_cast<size_t>(result.status)];
  operation.status = result.status;
  operation.end_ns = now_ns;
  if (result.ok() && operation.kind != Kind::del) {
    operation.version = last_version_ = result.version;
  }
  if (result.ok() && operation.kind == Kind::get) check_value(operation, result.value);
  if (result.ok() && operation.kind == Kind::add) {
    operation.observed = static_cast<uint64_t>(result.number);
  }
  if (operation.expires()) operation.expires_until_ns = now_ns + (slot.ttl_ms + 2) * kNanosPerMilli;
  load_.cluster.trace.note(now_ns, "client {0}: its operation on key {1} ends, status {2}",
                           process_, operation.key, static_cast<uint64_t>(result.status));
  load_.cluster.trace.note(now_ns, "client {0}: ... version {1}, value {2:#x}", process_,
                           operation.version, operation.observed);
  const uint64_t took_ns = now_ns - operation.begin_ns;
  if (load_.phase == Load::Phase::storm) {
    if (has_failed(result.status))
      think_until_ns_ = now_ns + kRetryNs + random_.below(4 * kRetryNs);
    return;
  }
  ++calm_done_;
  const bool refused = has_failed(result.status) || took_ns > kCalmNsMax;
  if (refused && operation.begin_ns >= load_.calm_from_ns) {
    load_.complain(
        fmt::format("nothing is broken any more, but a call of client {} for {} (rank {}) ended "
                    "after {} us: {}",
                    process_, load_.keys[operation.key].name, load_.keys[operation.key].owner,
                    took_ns / 1000, to_string(result.status)));
  }
}

void LoadClient::check_value(Operation& operation, std::string_view value) {
  if (load_.keys[operation.key].counts) {
    int64_t number = 0;
    const auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
    operation.number = true;
    operation.observed = static_cast<uint64_t>(number);
    if (parsed.ec == std::errc() && parsed.ptr == value.data() + value.size()) return;
  } else if (is_whole(value, operation.observed)) {
    return;
  }
  load_.complain(fmt::format("client {} read {} B from {} that nobody has written so", process_,
                             value.size(), load_.keys[operation.key].name));
}

bool LoadClient::wants_more() const {
  switch (load_.phase) {
    case Load::Phase::storm:
      return load_.operations_left > 0;
    case Load::Phase::calm:
      return calm_done_ + in_flight_ < calm_quota_;
    case Load::Phase::over:
      return false;
  }
  return false;
}

void LoadClient::submit(uint64_t now_ns) {
  while (in_flight_ < depth_ && now_ns >= think_until_ns_ && !dead_) {
    if (!wants_more()) return;
    const auto free =
        std::find_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return !slot.busy; });
    Operation operation{
        .key = random_.below(load_.keys.size()), .begin_ns = now_ns, .process = process_};
    const size_t place = load_.operations.size();
    load_.operations.push_back(operation);
    const auto tag = static_cast<uint64_t>(free - slots_.begin());
    free->ttl_ms = 0;
    const Status status = submit(operation, *free, tag);
    if (status != Status::ok) {
      load_.operations.pop_back();
      if (dead_) {  // it may have been published before
        load_.operations.push_back(operation);
      } else if (status != Status::would_block && status != Status::disconnected) {
        load_.complain(fmt::format("client {} could not ask: {}", process_, to_string(status)));
      }
      return;
    }
    load_.operations[place] = operation;
    load_.cluster.trace.note(now_ns, "client {0}: operation {2} on key {1} begins", process_,
                             operation.key, static_cast<uint64_t>(operation.kind));
    free->busy = true;
    free->operation = place;
    ++in_flight_;
    if (load_.phase == Load::Phase::storm) --load_.operations_left;
    // In the calm a daemon shall fall asleep now and then.
    const uint64_t think_ns = load_.phase == Load::Phase::calm ? 15'000 : load_.think_ns_max;
    if (think_ns > 0) think_until_ns_ = now_ns + random_.below(think_ns);
  }
}

/// Chooses what to do with the key, and asks for it.
Status LoadClient::submit(Operation& operation, Slot& slot, uint64_t tag) {
  Client& client = *attachment_->client;
  const Load::Key& key = load_.keys[operation.key];
  const uint64_t what = random_.below(100);
  PutOptions options;
  if (what < 38) {
    operation.kind = Kind::get;
    return client.submit_get(key.name, tag);
  }
  if (what < 46) {
    operation.kind = Kind::del;
    return client.submit_del(key.name, tag);
  }
  if (what < 52) {
    operation.kind = Kind::exists;
    return client.submit_exists(key.name, tag);
  }
  if (what < 57) {
    operation.kind = Kind::touch;
    slot.ttl_ms = random_.below(2) == 0 ? 0 : 1 + random_.below(20);
    if (slot.ttl_ms > 0) operation.expires_from_ns = load_.earliest_end_ns(slot.ttl_ms);
    return client.submit_touch(key.name, static_cast<uint32_t>(slot.ttl_ms), tag);
  }
  if (key.counts && what < 85) {
    operation.kind = Kind::add;
    operation.argument = random_.below(1000);
    return client.submit_add(key.name, static_cast<int64_t>(operation.argument), tag);
  }
  operation.kind = Kind::put;
  operation.when = static_cast<When>(random_.below(8) < 5 ? 0 : 1 + random_.below(3));
  options.when = static_cast<PutOptions::When>(operation.when);
  if (operation.when == When::if_version) {
    options.version = operation.if_version = last_version_ + random_.below(2);
  }
  if (random_.below(10) == 0) {
    slot.ttl_ms = 1 + random_.below(20);
    options.ttl_ms = static_cast<uint32_t>(slot.ttl_ms);
    operation.expires_from_ns = load_.earliest_end_ns(slot.ttl_ms);
  }
  if (key.counts) {
    operation.number = true;
    operation.argument = random_.below(1'000'000);
    return client.submit_put(key.name, std::to_string(operation.argument), tag, options);
  }
  operation.argument = value_id(process_, ++sequence_);
  const uint64_t size = random_.below(100);
  uint64_t bytes = kIdBytes + random_.below(16);
  if (size >= 60) bytes = random_.below(480);  // less than the room that each answer has
  if (key.large && size >= 80) bytes = random_.below(4000);
  if (key.large && random_.below(load_.large_one_in) == 0) bytes = random_.below(40'000);
  return client.submit_put(key.name, make_value(operation.argument, bytes), tag, options);
}

// ---- hostile

HostileClient::~HostileClient() = default;

void HostileClient::end() {
  if (attachment_ != nullptr) load_.cluster.detach(*this, std::move(attachment_));
  over_ = true;
}

uint64_t HostileClient::step(uint64_t now_ns) {
  if (over_) return kNever;
  const bool is_alone = attachment_ != nullptr && !load_.cluster.is_served(*this, *attachment_);
  if (is_alone || now_ns >= until_ns_) {
    end();
    return kNever;
  }
  if (attachment_ == nullptr) {
    attachment_ = load_.cluster.attach(*this, 8, kBulkBytes);
    if (attachment_ == nullptr) return now_ns + kRetryNs;
    load_.cluster.trace.note(now_ns, "a hostile client attaches at rank {0}", rank());
    watching_ = random_.below(2) == 0;
    change_at_ns_ = kNever;
    changed_seq_ = 0;
    changed_slot_ = 0;
  }
  if (watching_) {
    change_after_publishing(now_ns);
    return now_ns + 200 + random_.below(400);
  }
  for (uint64_t words = random_.below(20); words > 0; --words) scribble();
  return now_ns + 100 + random_.below(5'000);
}

void HostileClient::scribble() {
  ++load_.garbage_words;
  Slot& slot = attachment_->seat->slot(static_cast<uint32_t>(random_.below(8)));
  if (random_.below(3) == 0) {  // a head that might be meant
    const RequestHead head{static_cast<uint32_t>(random_.below(4)) + head_seq(slot.request.head),
                           static_cast<uint8_t>(random_.below(12)),
                           static_cast<uint8_t>(random_.below(20)),
                           static_cast<uint16_t>(random_.below(1200))};
    slot.request.head = head.pack();
    return;
  }
  const std::span<uint64_t> words = attachment_->seat->words_after_header();
  const bool near = random_.below(4) > 0;
  words[random_.below(near ? 8 * kSlotStrideBytes / 8 + 24 : words.size())] = random_.next();
}

/// Rule I2 of shm/slot.hpp: a request is published for a key of another rank, and its number
/// changed while the answer is on its way. The answer must carry the number that was asked with.
void HostileClient::change_after_publishing(uint64_t now_ns) {
  Slot& slot = attachment_->seat->slot(changed_slot_);
  const uint32_t answered = head_seq(slot.response.head);
  if (change_at_ns_ == kNever) {
    const auto far = std::find_if(load_.keys.begin(), load_.keys.end(), [&](const Load::Key& key) {
      return key.owner != rank() && key.name.size() <= 32;
    });
    if (far == load_.keys.end()) return;
    changed_seq_ = answered + 1;
    std::memset(slot.request.data, 0, sizeof(slot.request.data));
    std::memcpy(slot.request.data, far->name.data(), far->name.size());
    slot.request.head = RequestHead{changed_seq_, static_cast<uint8_t>(Op::exists), 0,
                                    static_cast<uint16_t>(far->name.size())}
                            .pack();
    change_at_ns_ = now_ns;
    return;
  }
  if (answered == changed_seq_) {  // as it must be; the next slot
    slot.request.head = RequestHead{changed_seq_, 0, 0, 0}.pack();
    changed_slot_ = (changed_slot_ + 1) % 8;
    change_at_ns_ = kNever;
    return;
  }
  if (answered == changed_seq_ + kStrangeStep) {
    if (response_status(slot.response.head) == Status::bad_request) return end();  // not taken yet
    load_.complain(fmt::format(
        "an answer to request {} of a client of rank {} carries {}, which was written later",
        changed_seq_, rank(), answered));
    return;
  }
  ++load_.garbage_words;
  slot.request.head =
      RequestHead{changed_seq_ + kStrangeStep, static_cast<uint8_t>(Op::exists), 0, 4}.pack();
}

}  // namespace copykv::sim
