// SPDX-License-Identifier: Apache-2.0
// The public calls, each a Request and a way to take its answer.
#include <algorithm>
#include <cstring>

#include <copykv/client.hpp>

#include "base/clock.hpp"
#include "base/runtime_paths.hpp"
#include "client/impl.hpp"

namespace copykv {
namespace {

[[nodiscard]] std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Request put_request(std::string_view key, std::string_view value,
                    const PutOptions& options) noexcept {
  return {.op = Op::put,
          .condition = static_cast<Condition>(options.when),
          .key = key,
          .value = value,
          .value_bytes = value.size(),
          .user_flags = options.flags,
          .ttl_ms = options.ttl_ms,
          .argument = options.version};
}
static_assert(static_cast<uint8_t>(PutOptions::When::if_version) ==
              static_cast<uint8_t>(Condition::if_version));

// ---- attachment

ClientImpl::ClientImpl(Options options, Connection connection, const Clock& clock)
    : options_(std::move(options)), connection_(std::move(connection)), clock_(clock) {
  set_up_lanes();
}

void ClientImpl::set_up_lanes() {
  const SegmentGeometry& geometry = connection_.geometry();
  lanes_.assign(geometry.lane_count, {});
  for (uint32_t index = 0; index < geometry.lane_count; ++index) {
    LaneEnd& lane = lanes_[index];
    lane.slots = connection_.lane_slots(index);
    lane.payload = connection_.slot_payload(index, 0);
    lane.daemon = &connection_.daemon(index);
    lane.slot_payload_bytes = geometry.slot_payload_bytes;
    lane.index = index;
    lane.depth = geometry.queue_depth;
  }
  bulk_ = {};
  bulk_.grow_to(connection_.bulk_bytes_granted());
  expiring_.clear();
  ++incarnation_;
  broken_ = false;
}

std::string ClientImpl::reattach() {
  broken_ = true;
  while (stash_oldest(nullptr)) {
  }
  Status status = Status::ok;
  Outcome<Connection> connection = Connection::open(options_, status);
  if (!connection) return connection.error;
  if (buffers_ > 0) {
    old_segments_.push_back({incarnation_, buffers_, connection_.take_segment()});
    buffers_ = 0;
  }
  connection_ = std::move(*connection);
  set_up_lanes();
  return {};
}

Client ClientImpl::wrap(std::unique_ptr<ClientImpl> impl) {
  return Client(std::move(impl));
}

AttachResult Client::attach(const Options& options) {
  AttachResult result;
  Outcome<Connection> connection = Connection::open(options, result.status);
  if (!connection) {
    result.error = connection.error;
    return result;
  }
  result.client = ClientImpl::wrap(std::make_unique<ClientImpl>(options, std::move(*connection)));
  return result;
}

Client::Client(std::unique_ptr<ClientImpl> impl) noexcept : impl_(std::move(impl)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

bool Client::connected() const noexcept {
  return !impl_->broken_ && impl_->connection_.alive();
}
std::string Client::reattach() {
  return impl_->reattach();
}

Info Client::info() const {
  const Connection& connection = impl_->connection_;
  const RankHeader& rank = connection.rank();
  Info info;
  info.job = job_name(impl_->options_.job);
  info.socket_path = connection.socket_path();
  info.rank = rank.rank;
  info.rank_count = rank.rank_count;
  info.daemon_threads = rank.daemon_count;
  info.daemon_pid = rank.pid;
  info.queue_depth = connection.geometry().queue_depth;
  info.slot_payload_bytes = connection.geometry().slot_payload_bytes;
  info.epoch = rank.epoch;
  info.value_bytes_max = rank.value_bytes_max;
  info.segment_bytes = connection.geometry().segment_bytes();
  info.bulk_bytes_granted = connection.bulk_bytes_granted();
  info.fence_free = connection.fence_free();
  return info;
}

// ---- synchronous

Result Client::get(std::string_view key) noexcept {
  return impl_->get(key);
}

Result Client::get(std::string_view key, std::span<std::byte> into) noexcept {
  Result result = get(key);
  if (!result.ok()) return result;
  if (result.value.size() > into.size()) {
    result.status = Status::buffer_too_small;
    result.value = {};
    return result;
  }
  if (!result.value.empty()) std::memcpy(into.data(), result.value.data(), result.value.size());
  result.value = as_text(into.first(result.value.size()));
  return result;
}

Result Client::put(std::string_view key, std::string_view value,
                   const PutOptions& options) noexcept {
  return impl_->put(key, value, options);
}

Result Client::put(std::string_view key, std::span<const std::byte> value,
                   const PutOptions& options) noexcept {
  return put(key, as_text(value), options);
}

Result Client::del(std::string_view key) noexcept {
  return impl_->call({.op = Op::del, .key = key});
}

Result Client::exists(std::string_view key) noexcept {
  return impl_->call({.op = Op::exists, .key = key});
}

Result Client::add(std::string_view key, int64_t delta) noexcept {
  return impl_->call({.op = Op::add, .key = key, .argument = static_cast<uint64_t>(delta)});
}

Result Client::touch(std::string_view key, uint32_t ttl_ms) noexcept {
  return impl_->call({.op = Op::touch, .key = key, .ttl_ms = ttl_ms});
}

Result Client::ping(uint32_t daemon) noexcept {
  return impl_->call({.op = Op::ping, .daemon = daemon});
}

// ---- asynchronous

std::optional<SampledRequest> Client::sample_next(std::string_view key) noexcept {
  return impl_->sample_next(key);
}

Status Client::submit_get(std::string_view key, uint64_t tag) noexcept {
  SlotRef at;
  return impl_->start_get(key, tag, Sink::user, at);
}

Status Client::submit_put(std::string_view key, std::string_view value, uint64_t tag,
                          const PutOptions& options) noexcept {
  SlotRef at;
  return impl_->start_put(key, value, options, tag, Sink::user, at);
}

Status Client::submit_del(std::string_view key, uint64_t tag) noexcept {
  SlotRef at;
  return impl_->start({.op = Op::del, .key = key}, tag, Sink::user, at);
}

Status Client::submit_exists(std::string_view key, uint64_t tag) noexcept {
  SlotRef at;
  return impl_->start({.op = Op::exists, .key = key}, tag, Sink::user, at);
}

Status Client::submit_add(std::string_view key, int64_t delta, uint64_t tag) noexcept {
  SlotRef at;
  return impl_->start({.op = Op::add, .key = key, .argument = static_cast<uint64_t>(delta)}, tag,
                      Sink::user, at);
}

Status Client::submit_touch(std::string_view key, uint32_t ttl_ms, uint64_t tag) noexcept {
  SlotRef at;
  return impl_->start({.op = Op::touch, .key = key, .ttl_ms = ttl_ms}, tag, Sink::user, at);
}

size_t Client::poll(std::span<Completion> completions) noexcept {
  return impl_->poll(completions);
}

size_t Client::wait(std::span<Completion> completions, uint64_t timeout_ms) noexcept {
  const uint64_t timeout_ns =
      timeout_ms > UINT64_MAX / kNanosPerMilli ? UINT64_MAX : timeout_ms * kNanosPerMilli;
  return impl_->wait(completions, timeout_ns);
}

size_t Client::in_flight() const noexcept {
  return impl_->in_flight();
}

// ---- zero-copy put

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    reset();
    owner_ = std::exchange(other.owner_, nullptr);
    bytes_ = std::exchange(other.bytes_, {});
    offset_ = other.offset_;
    incarnation_ = other.incarnation_;
  }
  return *this;
}

void Buffer::reset() noexcept {
  if (owner_ != nullptr) {
    if (owner_->incarnation_ == incarnation_) {
      owner_->bulk_.release({offset_, whole_pages(bytes_.size())});
    }
    owner_->forget_buffer(incarnation_);
  }
  owner_ = nullptr;
  bytes_ = {};
}

void ClientImpl::forget_buffer(uint32_t incarnation) noexcept {
  if (incarnation == incarnation_) {
    --buffers_;
    return;
  }
  for (auto old = old_segments_.begin(); old != old_segments_.end(); ++old) {
    if (old->incarnation != incarnation) continue;
    if (--old->buffers == 0) old_segments_.erase(old);
    return;
  }
}

Buffer ClientImpl::reserve(size_t bytes) noexcept {
  Buffer buffer;
  if (!attached()) return buffer;
  if (views_out_) expire_views();
  const BulkRoom room = reserve_room(bytes);
  if (room.bytes == 0) return buffer;
  ++buffers_;
  buffer.owner_ = this;
  buffer.bytes_ = {connection_.bulk() + room.offset, bytes};
  buffer.offset_ = room.offset;
  buffer.incarnation_ = incarnation_;
  return buffer;
}

Buffer Client::reserve(size_t bytes) noexcept {
  return impl_->reserve(bytes);
}

Result Client::put(std::string_view key, Buffer&& value, const PutOptions& options) noexcept {
  SlotRef at;
  Result result;
  result.status = impl_->start_buffer(put_request(key, {}, options), value, 0, Sink::call, at);
  if (result.status != Status::ok) return result;
  impl_->wait_answer(at);
  return impl_->take(at);
}

Status Client::submit_put(std::string_view key, Buffer&& value, uint64_t tag,
                          const PutOptions& options) noexcept {
  SlotRef at;
  return impl_->start_buffer(put_request(key, {}, options), value, tag, Sink::user, at);
}

Status ClientImpl::start_buffer(Request request, Buffer& value, uint64_t tag, Sink sink,
                                SlotRef& at) noexcept {
  if (value.owner_ != this) return Status::bad_request;
  if (value.incarnation_ != incarnation_) return Status::disconnected;
  request.value_bytes = value.bytes_.size();
  request.room = {value.offset_, whole_pages(value.bytes_.size())};
  const Status status =
      sink == Sink::call ? start_waiting(request, at) : start(request, tag, sink, at);
  if (status == Status::ok) {  // the room belongs to the operation now, which returns it
    forget_buffer(incarnation_);
    value.owner_ = nullptr;
    value.bytes_ = {};
  }
  return status;
}

// ---- batches and enumeration

namespace {

struct Batch {
  Op op;
  std::span<const std::string_view> keys;
  std::span<const std::string_view> values;
  const PutOptions* options;
  Client::BatchSink sink;
  void* context;
};

}  // namespace

void Client::run_batch(BatchOp op, std::span<const std::string_view> keys,
                       std::span<const std::string_view> values, const PutOptions& options,
                       BatchSink sink, void* context) noexcept {
  constexpr Op kOps[] = {Op::get, Op::put, Op::del, Op::exists};
  Batch batch{kOps[static_cast<uint8_t>(op)], keys, values, &options, sink, context};
  impl_->run_batch(
      keys.size(),
      [](void* of, size_t index) {
        const auto& work = *static_cast<const Batch*>(of);
        if (work.op == Op::put) {
          return put_request(work.keys[index], work.values[index], *work.options);
        }
        return Request{.op = work.op, .key = work.keys[index]};
      },
      [](void* of, size_t index, const Result& result) {
        const auto& work = *static_cast<const Batch*>(of);
        work.sink(work.context, index, result);
      },
      &batch);
}

void Client::run_statuses(BatchOp op, std::span<const std::string_view> keys,
                          std::span<const std::string_view> values, std::span<Status> statuses,
                          const PutOptions& options) noexcept {
  run_batch(
      op, keys, values, options,
      [](void* context, size_t index, const Result& result) {
        (*static_cast<std::span<Status>*>(context))[index] = result.status;
      },
      &statuses);
}

void Client::put_batch(std::span<const std::string_view> keys,
                       std::span<const std::string_view> values, std::span<Status> statuses,
                       const PutOptions& options) noexcept {
  run_statuses(BatchOp::put, keys, values, statuses, options);
}

void Client::del_batch(std::span<const std::string_view> keys,
                       std::span<Status> statuses) noexcept {
  run_statuses(BatchOp::del, keys, {}, statuses, {});
}

void Client::exists_batch(std::span<const std::string_view> keys,
                          std::span<Status> statuses) noexcept {
  run_statuses(BatchOp::exists, keys, {}, statuses, {});
}

Status Client::run_keys(KeySink sink, void* context) {
  const auto daemons = std::max(static_cast<uint32_t>(impl_->lanes_.size()),
                                peek(impl_->connection_.rank().owner_count));
  for (uint32_t daemon = 0; daemon < daemons; ++daemon) {
    uint64_t cursor = 0;
    do {
      const Result page = impl_->call({.op = Op::keys, .argument = cursor, .daemon = daemon});
      if (!page.ok()) return page.status;
      // A page is a sequence of { u16 length, bytes }.
      const std::string keys(page.value);  // the sink may be slow; the view must not be relied on
      for (size_t at = 0; at + sizeof(uint16_t) <= keys.size();) {
        uint16_t key_bytes;
        std::memcpy(&key_bytes, keys.data() + at, sizeof(key_bytes));
        at += sizeof(key_bytes);
        sink(context, std::string_view(keys).substr(at, key_bytes));
        at += key_bytes;
      }
      cursor = page.version;
    } while (cursor != 0);
  }
  return Status::ok;
}

}  // namespace copykv
