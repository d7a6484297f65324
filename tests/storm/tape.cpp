// SPDX-License-Identifier: Apache-2.0
#include "tests/storm/tape.hpp"

#include <sys/mman.h>

#include <new>
#include <stdexcept>

#include "base/assert.hpp"
#include "base/atomics.hpp"
#include "base/clock.hpp"
#include "tests/storm/record.hpp"

namespace copykv::storm {
namespace {

using sim::Kind;

const SystemClock kClock;

}  // namespace

size_t Tape::begin(const sim::Operation& operation) {
  const size_t at = count_;
  COPYKV_ASSERT(at < room_, "a tape of {} operations is full", room_);
  operations_[at] = operation;
  publish(count_, at + 1);
  return at;
}

void Tape::end(size_t at, const sim::Ending& ending) noexcept {
  sim::Operation& operation = operations_[at];
  operation.status = ending.status;
  operation.version = ending.version;
  operation.observed = ending.observed;
  publish(operation.end_ns, ending.end_ns);
}

void Tape::died(uint32_t process, uint64_t now_ns) {
  (void)begin(sim::death_of(process, now_ns));
}

std::span<const sim::Operation> Tape::operations() const noexcept {
  return {operations_, observe(count_)};
}

Tapes::Tapes(uint32_t count, uint64_t operations_each)
    : count_(count), bytes_(count * (sizeof(Tape) + operations_each * sizeof(sim::Operation))) {
  // Without reservation: what is not written to costs nothing.
  void* memory = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory for tapes");
  tapes_ = static_cast<Tape*>(memory);
  auto* operations = reinterpret_cast<sim::Operation*>(tapes_ + count);
  for (uint32_t index = 0; index < count; ++index) {
    Tape* tape = new (tapes_ + index) Tape();
    tape->room_ = operations_each;
    tape->operations_ = operations + index * operations_each;
  }
}

Tapes::~Tapes() {
  ::munmap(tapes_, bytes_);
}

sim::History Tapes::history() const {
  sim::History history;
  size_t operations = 0;
  for (uint32_t index = 0; index < count_; ++index) operations += tapes_[index].operations().size();
  history.reserve(operations);
  for (uint32_t index = 0; index < count_; ++index) {
    for (const sim::Operation& operation : tapes_[index].operations()) history.append(operation);
  }
  return history;
}

sim::Operation put_of(uint64_t key, uint32_t process, uint64_t sequence, uint64_t now_ns) {
  sim::Operation put = asking(Kind::put, key, process, now_ns);
  put.argument = sim::value_id(process, sequence);
  return put;
}

sim::Operation asking(Kind kind, uint64_t key, uint32_t process, uint64_t now_ns) {
  return {.key = key, .begin_ns = now_ns, .process = process, .kind = kind};
}

sim::Ending ending_of(const sim::Operation& asked, const Result& result, uint64_t now_ns,
                      std::string& wrong) {
  sim::Ending ending{.status = result.status, .end_ns = now_ns};
  if (!result.ok()) return ending;
  if (asked.kind != Kind::del) ending.version = result.version;
  if (asked.kind == Kind::get) {
    Record record;
    wrong = read_record(asked.key, result.value, record);
    if (!wrong.empty()) wrong = record_key(asked.key) + ": " + wrong;
    ending.observed = sim::value_id(static_cast<uint32_t>(record.writer), record.sequence);
  }
  return ending;
}

Status TapedClient::ended(size_t at, const Result& result) {
  std::string wrong;
  tape_.end(at, ending_of(tape_[at], result, kClock.now_ns(), wrong));
  if (wrong_.empty()) wrong_ = wrong;
  return result.status;
}

Status TapedClient::put(uint64_t key, size_t value_bytes) {
  value_.resize(value_bytes);
  write_record(key, process_, ++sequence_, value_);
  const size_t at = tape_.begin(put_of(key, process_, sequence_, kClock.now_ns()));
  return ended(at, client_.put(record_key(key), value_));
}

Status TapedClient::get(uint64_t key) {
  const size_t at = tape_.begin(asking(Kind::get, key, process_, kClock.now_ns()));
  return ended(at, client_.get(record_key(key)));
}

Status TapedClient::del(uint64_t key) {
  const size_t at = tape_.begin(asking(Kind::del, key, process_, kClock.now_ns()));
  return ended(at, client_.del(record_key(key)));
}

Status TapedClient::exists(uint64_t key) {
  const size_t at = tape_.begin(asking(Kind::exists, key, process_, kClock.now_ns()));
  return ended(at, client_.exists(record_key(key)));
}

Status TapedClient::any(uint64_t key, size_t value_bytes, Random& random) {
  switch (random.below(12)) {
    case 0:
      return del(key);
    case 1:
      return exists(key);
    case 2:
    case 3:
    case 4:
    case 5:
      return put(key, value_bytes);
    default:
      return get(key);
  }
}

}  // namespace copykv::storm
