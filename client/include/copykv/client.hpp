// SPDX-License-Identifier: Apache-2.0
// copykv client: a shared map at memory speed for the processes of one machine.
//
//   auto attached = copykv::Client::attach({});
//   if (!attached.client) { std::fputs(attached.error.c_str(), stderr); return 1; }
//   copykv::Client& kv = *attached.client;
//   kv.put("greeting", "hello");
//   auto result = kv.get("greeting");       // result.status, result.value
//
// THREAD SAFETY  A Client is used by one thread at a time. Attaching is cheap (under 2 ms): give
//   each thread its own. Clients of one process share nothing.
// KEYS    1..1,024 bytes, binary. VALUES  0..--max-value-bytes of the daemon (16 MiB by default).
// ORDER   Operations of one client on one key take effect in the order they were submitted; but a
//   get that finds a value larger than the room that each answer has (a slot's payload; 480 B when
//   the key lives on another rank) is asked again, and takes effect then.
// ERRORS  No function here throws on the data path; only std::bad_alloc from set-up calls is
//   possible. Each operation ends with a copykv::Status (copykv/status.hpp).
// MEANING OF ok  The write is in the daemon's memory and visible to every later read of any client.
//   It survives the death of any client. It does not survive the daemon.
// CAVEATS After fork() the child must not use the parent's Client (attach anew). A Client must not
//   outlive main(). The descriptors are close-on-exec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <copykv/status.hpp>
#include <copykv/wait.hpp>

namespace copykv {

/// Everything about one attachment. The environment (COPYKV_RUNTIME_DIR, COPYKV_JOB) fills in what
/// is left empty.
struct Options {
  std::string runtime_dir{};           ///< empty: $COPYKV_RUNTIME_DIR, else the per-user default
  std::string job{};                   ///< empty: $COPYKV_JOB, else "default"
  uint32_t rank = 0;                   ///< which rank of this machine to attach to
  uint32_t queue_depth = 16;           ///< slots per daemon, 1..64: operations in flight
  uint32_t slot_payload_bytes = 4096;  ///< 4,096..65,536, multiple of 4,096: larger needs bulk
  uint64_t bulk_bytes_max = uint64_t{64} << 20;  ///< most bulk memory this client may ask for
  Wait wait = Wait::adaptive;
  bool reattach = false;           ///< attach again by itself when the daemon has restarted
  uint32_t attach_timeout_ms = 0;  ///< how long attach waits for a daemon to appear; 0: not at all
};

/// The outcome of one operation. `value` points into memory shared with the daemon and stays valid
/// until the next call on the same Client; copy what must live longer.
struct Result {
  Status status = Status::disconnected;
  uint32_t flags = 0;        ///< get: user flags stored with the item
  uint64_t version = 0;      ///< of the item after the operation (get, put, add, touch, exists);
                             ///< condition_failed: the version that stands there; 0: no item
  std::string_view value{};  ///< get: the value
  uint64_t value_bytes = 0;  ///< get, exists: size of the value, also when it was not fetched
  int64_t number = 0;        ///< add: the sum

  [[nodiscard]] bool ok() const noexcept { return status == Status::ok; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    return std::as_bytes(std::span(value.data(), value.size()));
  }
};

/// What a put may be asked beyond storing.
struct PutOptions {
  enum class When : uint8_t { always = 0, if_absent = 1, if_present = 2, if_version = 3 };
  When when = When::always;
  uint64_t version = 0;  ///< if_version: the version that must stand there
  uint32_t flags = 0;    ///< user flags, returned by get
  uint32_t ttl_ms = 0;   ///< life from now in milliseconds, at most 2^32 - 1 (49 days); 0: for ever
};

/// One finished asynchronous operation. `result.value` stays valid until the next call on the same
/// Client: handle what a poll returned before anything else.
struct Completion {
  uint64_t tag = 0;  ///< what was given to submit
  Result result;
};

/// A request that is stamped on its way, as the records of its rank name it.
struct SampledRequest {
  uint32_t client = 0;  ///< number of this client at its rank
  uint32_t daemon = 0;  ///< daemon thread of the rank
  uint32_t slot = 0;
  uint32_t seq = 0;
};

/// A piece of the client's bulk area, filled in place and then put without a further copy on the
/// client's side. Returns its room when destroyed or submitted. Must not outlive its Client. After
/// a reattach its bytes can still be read and written, but a put of it ends as disconnected.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer() { reset(); }

  /// Empty when the reservation failed.
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] explicit operator bool() const noexcept { return owner_ != nullptr; }
  /// Gives the room back without a put.
  void reset() noexcept;

 private:
  friend class Client;
  friend struct ClientImpl;
  struct ClientImpl* owner_ = nullptr;
  std::span<std::byte> bytes_{};
  uint64_t offset_ = 0;
  uint32_t incarnation_ = 0;
};

struct AttachResult;
struct Info;

class Client {
 public:
  /// Attaches to the daemon(s) of one rank of this machine. On failure `client` is empty, `error`
  /// is one line that names the check and the remedy, and `status` tells refusal (bad_request,
  /// unsupported) from absence (disconnected).
  [[nodiscard]] static AttachResult attach(const Options& options);

  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // ---- synchronous: each call waits for its answer, as long as the daemon lives. They may be
  // mixed with asynchronous operations in flight, whose completions are kept for the next poll.
  // Ends: ok, invalid_key, and what is named with each call; disconnected (no effect) or, for
  // writes, indeterminate when the daemon goes away. A key of another rank that fails or cannot be
  // reached ends as unreachable (no effect) or, for writes that may have happened, indeterminate.

  /// not_found.
  Result get(std::string_view key) noexcept;
  /// Copies the value to `into`; buffer_too_small (with value_bytes) when it does not fit.
  Result get(std::string_view key, std::span<std::byte> into) noexcept;
  /// condition_failed, no_space, value_too_large.
  Result put(std::string_view key, std::string_view value, const PutOptions& options = {}) noexcept;
  Result put(std::string_view key, std::span<const std::byte> value,
             const PutOptions& options = {}) noexcept;
  /// not_found when there was nothing to delete.
  Result del(std::string_view key) noexcept;
  /// not_found; else version and value_bytes.
  Result exists(std::string_view key) noexcept;
  /// Adds to the 64-bit signed decimal number stored under the key (absent: 0, never expires) and
  /// returns the sum in `number`. not_a_number: the value is no such number, or the sum overflows.
  Result add(std::string_view key, int64_t delta) noexcept;
  /// Replaces the expiry: `ttl_ms` from now; 0: never. not_found.
  Result touch(std::string_view key, uint32_t ttl_ms) noexcept;
  /// One round trip to a daemon thread without touching data: of the own rank, and beyond them of
  /// the other ranks, in the order of RankHeader::owners.
  Result ping(uint32_t daemon = 0) noexcept;

  // ---- zero-copy put: reserve, fill, put.

  /// Room for one value in memory that the daemon reads directly. An empty Buffer: the bulk limit
  /// (Options::bulk_bytes_max, or the daemon's) is reached, `bytes` is 0, or the daemon is gone.
  [[nodiscard]] Buffer reserve(size_t bytes) noexcept;
  Result put(std::string_view key, Buffer&& value, const PutOptions& options = {}) noexcept;

  // ---- asynchronous: up to queue_depth operations in flight per daemon. A submit never waits; it
  // returns ok (a completion with `tag` will follow), would_block (poll first), invalid_key,
  // value_too_large, or disconnected.

  Status submit_get(std::string_view key, uint64_t tag) noexcept;
  Status submit_put(std::string_view key, std::string_view value, uint64_t tag,
                    const PutOptions& options = {}) noexcept;
  Status submit_put(std::string_view key, Buffer&& value, uint64_t tag,
                    const PutOptions& options = {}) noexcept;
  Status submit_del(std::string_view key, uint64_t tag) noexcept;
  Status submit_exists(std::string_view key, uint64_t tag) noexcept;
  Status submit_add(std::string_view key, int64_t delta, uint64_t tag) noexcept;
  Status submit_touch(std::string_view key, uint32_t ttl_ms, uint64_t tag) noexcept;

  /// For measuring: the next get or put that is submitted, if it is of `key`, is stamped at the
  /// stations of its way to another rank, where the ranks were started with --record-stations (see
  /// docs/protocol.md, Stations); else this changes nothing. Empty: no slot is free, as
  /// would_block.
  [[nodiscard]] std::optional<SampledRequest> sample_next(std::string_view key) noexcept;

  /// Takes finished operations, at most completions.size(); never waits. Returns how many. That the
  /// daemon is gone is noticed within 0.2 s, or 16 calls that return 0, whichever is later.
  size_t poll(std::span<Completion> completions) noexcept;
  /// As poll, but waits until at least one is finished, or `timeout_ms` have passed. Returns 0 at
  /// once when nothing is in flight.
  size_t wait(std::span<Completion> completions, uint64_t timeout_ms = UINT64_MAX) noexcept;
  /// Operations submitted and not yet taken by poll or wait.
  [[nodiscard]] size_t in_flight() const noexcept;

  // ---- batches: all keys at once, as deep as the queue allows; one status per key.

  /// Calls on_result(size_t index, const Result&) once per key, in any order; the value is valid
  /// inside the call only. `on_result` must not use this Client.
  template <class OnResult>
  void get_batch(std::span<const std::string_view> keys, OnResult&& on_result) {
    run_batch(
        BatchOp::get, keys, {}, {},
        [](void* context, size_t index, const Result& result) {
          (*static_cast<std::remove_reference_t<OnResult>*>(context))(index, result);
        },
        const_cast<void*>(static_cast<const void*>(&on_result)));
  }
  /// statuses.size() and values.size() must equal keys.size().
  void put_batch(std::span<const std::string_view> keys, std::span<const std::string_view> values,
                 std::span<Status> statuses, const PutOptions& options = {}) noexcept;
  void del_batch(std::span<const std::string_view> keys, std::span<Status> statuses) noexcept;
  void exists_batch(std::span<const std::string_view> keys, std::span<Status> statuses) noexcept;

  // ---- enumeration

  /// Calls on_key(std::string_view) for keys of all ranks of the job, the own rank's first. A key
  /// that stands during the whole enumeration is seen at least once (rarely twice, while the map
  /// grows). Stops at the first status that is not ok (unreachable: a rank is down) and returns it.
  /// `on_key` must not use this Client.
  template <class OnKey>
  Status for_each_key(OnKey&& on_key) {
    return run_keys(
        [](void* context, std::string_view key) {
          (*static_cast<std::remove_reference_t<OnKey>*>(context))(key);
        },
        const_cast<void*>(static_cast<const void*>(&on_key)));
  }

  // ---- the attachment

  [[nodiscard]] Info info() const;
  /// False once the daemon is gone (and nothing has been attached again).
  [[nodiscard]] bool connected() const noexcept;
  /// Attaches to the rank again after `disconnected`; operations in flight end as indeterminate or
  /// disconnected first. Empty string on success, else the error line.
  [[nodiscard]] std::string reattach();

  /// How the library hands results to the templates above.
  using BatchSink = void (*)(void* context, size_t index, const Result& result);

 private:
  friend class Buffer;
  friend struct ClientImpl;
  enum class BatchOp : uint8_t { get, put, del, exists };
  using KeySink = void (*)(void* context, std::string_view key);
  explicit Client(std::unique_ptr<struct ClientImpl> impl) noexcept;
  void run_batch(BatchOp op, std::span<const std::string_view> keys,
                 std::span<const std::string_view> values, const PutOptions& options,
                 BatchSink sink, void* context) noexcept;
  void run_statuses(BatchOp op, std::span<const std::string_view> keys,
                    std::span<const std::string_view> values, std::span<Status> statuses,
                    const PutOptions& options) noexcept;
  Status run_keys(KeySink sink, void* context);

  std::unique_ptr<struct ClientImpl> impl_;
};

struct AttachResult {
  std::optional<Client> client;
  Status status = Status::disconnected;
  std::string error;  ///< empty on success
};

/// What the daemon said about itself at attach.
struct Info {
  std::string job;
  std::string socket_path;
  uint32_t rank = 0;
  uint32_t rank_count = 0;
  uint32_t daemon_threads = 0;
  uint32_t daemon_pid = 0;
  uint32_t queue_depth = 0;
  uint32_t slot_payload_bytes = 0;
  uint64_t epoch = 0;  ///< differs between two starts of the daemon
  uint64_t value_bytes_max = 0;
  uint64_t segment_bytes = 0;
  uint64_t bulk_bytes_granted = 0;
  bool fence_free = false;  ///< membarrier(2) spares both sides the fence per operation
};

}  // namespace copykv
