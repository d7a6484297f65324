// SPDX-License-Identifier: Apache-2.0
// GETs to Redis (RESP) or memcached (text protocol) over a unix socket, on one connection:
// `depth` requests leave in one send, and the next leave when all their answers have come.
//
//   peer_ping --protocol redis|memcached --socket PATH [--depth N] [--wait block|poll]
//             [--seconds S] [--warmup S] [--keys N] [--seed X]
//
// Keys and values have 8 bytes, as in benchkv's default load. The keys are stored first; every
// answer is compared with what was stored, byte by byte. Prints one line of JSON. The latency of a
// request runs from its send to the arrival of its batch's last answer.
// Exit: 0 done, 1 the connection failed, 2 usage, 3 an answer was wrong.
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/histogram.hpp"
#include "base/program.hpp"
#include "base/random.hpp"

namespace {

using namespace copykv;

constexpr timeval kAnswerWaitMax = {.tv_sec = 10, .tv_usec = 0};
constexpr uint32_t kPollAttemptsMax = 100'000'000;  // about as long
constexpr size_t kAnswerChunkBytes = 65'536;
constexpr uint32_t kDepthMax = 1024;
constexpr uint32_t kKeysMax = 1'000'000;

enum Exit { kDone = 0, kFailed = 1, kUsage = 2, kWrongAnswer = 3 };

struct Spec {
  std::string protocol{};
  std::string socket_path{};
  std::string wait = "block";
  uint32_t depth = 1;
  uint32_t keys = 1024;
  double seconds = 1;
  double warmup_seconds = 0.2;
  uint64_t seed = 0;
};

/// What leaves, and what must come back.
struct Exchange {
  std::string request{};
  std::string answer{};

  void clear() {
    request.clear();
    answer.clear();
  }
  void append(const Exchange& other) {
    request += other.request;
    answer += other.answer;
  }
};

std::string key_of(uint32_t index) {
  return fmt::format("k{:07}", index);
}
std::string value_of(uint32_t index) {
  return fmt::format("{:07}v", index);
}

Exchange set_exchange(const Spec& spec, uint32_t index) {
  const std::string key = key_of(index), value = value_of(index);
  if (spec.protocol == "memcached") {
    return {fmt::format("set {} 0 0 8\r\n{}\r\n", key, value), "STORED\r\n"};
  }
  return {fmt::format("*3\r\n$3\r\nSET\r\n$8\r\n{}\r\n$8\r\n{}\r\n", key, value), "+OK\r\n"};
}

Exchange get_exchange(const Spec& spec, uint32_t index) {
  const std::string key = key_of(index), value = value_of(index);
  if (spec.protocol == "memcached") {
    return {fmt::format("get {}\r\n", key),
            fmt::format("VALUE {} 0 8\r\n{}\r\nEND\r\n", key, value)};
  }
  return {fmt::format("*2\r\n$3\r\nGET\r\n$8\r\n{}\r\n", key), fmt::format("$8\r\n{}\r\n", value)};
}

Outcome<Fd> connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return Failure{fmt::format("{}: {} bytes, a socket's path has at most {}", path, path.size(),
                               sizeof(address.sun_path) - 1)};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return Failure{fmt::format("{}: {}; is the server running?", path, std::strerror(errno))};
  }
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerWaitMax, sizeof(kAnswerWaitMax));
  return fd;
}

class Connection {
 public:
  Connection(Fd fd, bool polls) : fd_(std::move(fd)), polls_(polls) {}

  /// Sends the request and compares the answer as it arrives, so that a short wrong one is seen at
  /// once.
  [[nodiscard]] Exit exchange(const Exchange& exchange) {
    if (!send_all(exchange.request)) return kFailed;
    std::string_view expected = exchange.answer;
    while (!expected.empty()) {
      const ssize_t got = receive(std::min(expected.size(), chunk_.size()));
      if (got <= 0) {
        error_ = got == 0 ? "the server hung up" : std::strerror(errno);
        return kFailed;
      }
      const std::string_view part(chunk_.data(), static_cast<size_t>(got));
      if (part != expected.substr(0, part.size())) {
        error_ = fmt::format("expected '{}', got '{}'", expected.substr(0, 64), part.substr(0, 64));
        return kWrongAnswer;
      }
      expected.remove_prefix(part.size());
    }
    return kDone;
  }
  [[nodiscard]] const std::string& error() const noexcept { return error_; }

 private:
  [[nodiscard]] bool send_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) {
        error_ = std::strerror(errno);
        return false;
      }
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  /// As recv. Blocking, the socket's receive time-out bounds it; polling, the attempts do.
  [[nodiscard]] ssize_t receive(size_t bytes_max) {
    if (!polls_) return ::recv(fd_.get(), chunk_.data(), bytes_max, 0);
    for (uint32_t attempt = 0; attempt < kPollAttemptsMax; ++attempt) {
      const ssize_t got = ::recv(fd_.get(), chunk_.data(), bytes_max, MSG_DONTWAIT);
      if (got >= 0 || errno != EAGAIN) return got;
    }
    return -1;
  }

  Fd fd_;
  bool polls_;
  std::array<char, kAnswerChunkBytes> chunk_{};
  std::string error_{};
};

class Load {
 public:
  Load(const Spec& spec, Connection& connection)
      : spec_(spec), connection_(connection), random_(spec.seed) {
    for (uint32_t index = 0; index < spec.keys; ++index) gets_.push_back(get_exchange(spec, index));
  }

  [[nodiscard]] Exit store_keys() {
    for (uint32_t index = 0; index < spec_.keys; ++index) {
      const Exit exit = connection_.exchange(set_exchange(spec_, index));
      if (exit != kDone) return exit;
    }
    return kDone;
  }

  /// GETs for so long; the histogram and seconds() are those of the last call.
  [[nodiscard]] Exit run(double seconds) {
    histogram_.clear();
    const auto duration_ns = static_cast<uint64_t>(seconds * double{kNanosPerSecond});
    const uint64_t start_ns = clock_.now_ns();
    uint64_t now_ns = start_ns;
    while (now_ns - start_ns < duration_ns) {
      make_batch();
      const uint64_t sent_ns = clock_.now_ns();
      const Exit exit = connection_.exchange(batch_);
      if (exit != kDone) return exit;
      now_ns = clock_.now_ns();
      histogram_.record_n(now_ns - sent_ns, spec_.depth);
    }
    seconds_ = static_cast<double>(now_ns - start_ns) / double{kNanosPerSecond};
    return kDone;
  }

  [[nodiscard]] std::string json() const {
    const uint64_t count = histogram_.count();
    return fmt::format(
        R"({{"operations": {}, "seconds": {:.6f}, "ops_per_second": {:.1f}, "latency_ns": {}}})",
        count, seconds_, static_cast<double>(count) / seconds_, latency_json());
  }

 private:
  [[nodiscard]] std::string latency_json() const {
    const auto percentile_ns = [&](double percent) { return histogram_.percentile_ns(percent); };
    return fmt::format(
        R"({{"count": {}, "mean": {:.1f}, "p50": {}, "p90": {}, "p99": {}, "p999": {}, )"
        R"("max": {}}})",
        histogram_.count(), histogram_.mean_ns(), percentile_ns(50), percentile_ns(90),
        percentile_ns(99), percentile_ns(99.9), histogram_.max_ns());
  }

  void make_batch() {
    batch_.clear();
    for (uint32_t i = 0; i < spec_.depth; ++i) batch_.append(gets_[random_.below(spec_.keys)]);
  }

  const Spec& spec_;
  Connection& connection_;
  Random random_;
  const SystemClock clock_{};
  std::vector<Exchange> gets_{};
  Exchange batch_{};
  Histogram histogram_{};
  double seconds_ = 0;
};

Exit measure(const Spec& spec) {
  Outcome<Fd> connected = connect_to(spec.socket_path);
  if (!connected) {
    fmt::print(stderr, "peer_ping: {}\n", connected.error);
    return kFailed;
  }
  Connection connection(std::move(*connected), spec.wait == "poll");
  Load load(spec, connection);
  Exit exit = load.store_keys();
  if (exit == kDone) exit = load.run(spec.warmup_seconds);
  if (exit == kDone) exit = load.run(spec.seconds);
  if (exit != kDone) {
    fmt::print(stderr, "peer_ping: {}: {}\n", spec.protocol, connection.error());
    return exit;
  }
  fmt::print("{}\n", load.json());
  return kDone;
}

int program(int argc, char** argv) {
  Spec spec;
  CLI::App app("peer_ping: GETs to Redis or memcached over a unix socket");
  app.add_option("--protocol", spec.protocol)
      ->required()
      ->check(CLI::IsMember({"redis", "memcached"}));
  app.add_option("--socket", spec.socket_path)->required();
  app.add_option("--wait", spec.wait, "block in recv, or poll")
      ->check(CLI::IsMember({"block", "poll"}));
  app.add_option("--depth", spec.depth, "requests in one send")->check(CLI::Range(1U, kDepthMax));
  app.add_option("--keys", spec.keys)->check(CLI::Range(1U, kKeysMax));
  app.add_option("--seconds", spec.seconds)->check(CLI::Range(0.01, 3600.0));
  app.add_option("--warmup", spec.warmup_seconds, "seconds")->check(CLI::Range(0.0, 3600.0));
  app.add_option("--seed", spec.seed);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  return measure(spec);
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("peer_ping", program, argc, argv);
}
