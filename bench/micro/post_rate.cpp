// SPDX-License-Identifier: Apache-2.0
// How many writes with immediate a second a transport carries in one direction: by the number of
// messages that share one, by whether the request carries the bytes or the device fetches them, and
// by the number of device contexts. What is limited by requests stays where it is when a request
// carries more; what is limited by bytes falls; what is limited by a context doubles with two.
//
//   post_rate --transport rc                    two processes of this machine
//   post_rate --transport rc --listen           on one host, first
//   post_rate --transport rc --peer HOST        on the other; prints
//
// A request that must carry more than the device grants has no row of figures but the reason.
//
// FLOW   The receiver tells how many it has taken every kTellEvery; the sender is never more than a
//   window ahead: a receive queue is never empty.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/atomics.hpp"
#include "base/clock.hpp"
#include "base/program.hpp"
#include "bench/micro/duo.hpp"
#include "copyrpc/fabric/ofi/ofi_fabric.hpp"
#include "copyrpc/fabric/verbs/verbs_fabric.hpp"

namespace {

using namespace copykv;
using namespace copykv::bench;
using copyrpc::Fabric;

constexpr uint32_t kMessageBytes = 24;  // the least that a call of copyrpc is
constexpr uint64_t kBufferBytes = 8192;
constexpr uint64_t kCellOffset = 4096;  // where the receiver tells what it has taken
constexpr uint32_t kTellEvery = 64;
constexpr uint32_t kSignalEvery = 16;
constexpr uint32_t kWindowMax = 1024;
constexpr uint32_t kLast = ~uint32_t{0};
constexpr uint64_t kComeUpNs = 10 * kNanosPerSecond;
const SystemClock kClock;

struct Spec {
  std::string transport = "rc";
  Places places{};
  copyrpc::VerbsOptions verbs{};
  std::string address;
  double seconds = 1;
  std::string json_path;
};

struct Point {
  uint32_t messages;
  bool carried;  ///< in the request
  uint32_t contexts;
  [[nodiscard]] uint32_t bytes() const { return messages * kMessageBytes; }
};

/// libfabric decides itself what a request carries.
bool is_ofi(const Spec& spec) {
  return spec.transport.rfind("ofi-", 0) == 0;
}

Outcome<std::unique_ptr<Fabric>> open(const Spec& spec, const Point& point) {
  if (is_ofi(spec)) {
    copyrpc::OfiOptions options;
    options.provider = spec.transport.substr(4);
    options.node = spec.address.empty() ? "127.0.0.1" : spec.address;
    options.peers_max = 2;
    return copyrpc::make_ofi_fabric(options);
  }
  copyrpc::VerbsOptions options = spec.verbs;
  options.address = spec.address;
  options.peers_max = 2;
  if (!point.carried) options.inline_bytes = 0;
  if (spec.transport == "rc") return copyrpc::make_rc_fabric(options);
  if (spec.transport == "dc") return copyrpc::make_dc_fabric(options);
  return Failure{"no transport " + spec.transport + " here; rc, dc, ofi-tcp, ofi-shm"};
}

/// One endpoint, and its peer of the same number on the other side.
class End {
 public:
  /// Throws what names the reason.
  End(const Spec& spec, const Point& point, Duo& duo) : buffer_(kBufferBytes + kCellOffset) {
    auto fabric = open(spec, point);
    if (!fabric) throw std::runtime_error(fabric.error);
    fabric_ = std::move(*fabric);
    const auto at = reinterpret_cast<uintptr_t>(buffer_.data());
    base_ = buffer_.data() + (kCellOffset - at % kCellOffset) % kCellOffset;
    auto memory = fabric_->register_memory(base_, kBufferBytes, copyrpc::Access::remote_read_write);
    if (!memory) throw std::runtime_error(memory.error);
    memory_ = *memory;
    const std::string where(reinterpret_cast<const char*>(&memory_.remote), sizeof(theirs_));
    const std::string there = duo.exchange(where);
    if (there.size() != sizeof(theirs_)) throw std::runtime_error("the other side is gone");
    std::memcpy(&theirs_, there.data(), sizeof(theirs_));
    if (auto begun = fabric_->connect(0, duo.exchange(fabric_->address())); !begun) {
      throw std::runtime_error(begun.error);
    }
    const uint32_t entries = fabric_->limits().receive_entries;
    window_ = entries == 0 ? kWindowMax : std::min(entries / 2, kWindowMax);
  }
  ~End() {
    if (memory_.registered()) fabric_->deregister(memory_);
  }
  End(const End&) = delete;
  End& operator=(const End&) = delete;

  /// Posts for so long; how many a second arrived. Empty error: all of them did.
  void send(uint32_t bytes, double seconds) {
    const copyrpc::LocalPart payload{&memory_, 0, bytes};
    const uint64_t wait_ns = kClock.now_ns() + kComeUpNs;
    while (sent_ == 0 && error.empty()) {
      (void)post(payload, 0);
      look();
      if (kClock.now_ns() > wait_ns) error = "the peer does not come up";
    }
    const uint64_t began_ns = kClock.now_ns();
    const uint64_t end_ns = began_ns + static_cast<uint64_t>(seconds * 1e9);
    const uint64_t before = sent_;
    while (error.empty() && kClock.now_ns() < end_ns) {
      while (sent_ - taken() < window_ && post(payload, 0)) {
      }
      look();
    }
    per_second = static_cast<double>(taken() - std::min(taken(), before)) * 1e9 /
                 static_cast<double>(kClock.now_ns() - began_ns);
    while (error.empty() && !post(payload, kLast)) look();
    const uint64_t stop_ns = kClock.now_ns() + kComeUpNs;
    while (error.empty() && taken() < sent_ && kClock.now_ns() < stop_ns) look();
  }

  void receive() {
    uint64_t taken = 0;
    uint64_t told = 0;
    const uint64_t stop_ns = kClock.now_ns() + 10 * kComeUpNs;
    for (bool last = false; error.empty() && (!last || told < taken);) {
      std::array<copyrpc::Completion, 64> found;
      const uint32_t count = fabric_->poll(found);
      for (uint32_t at = 0; at < count; ++at) {
        if (!is_fine(found[at])) break;
        if (found[at].kind != copyrpc::Completion::Kind::arrived) continue;
        ++taken;
        last = last || found[at].immediate == kLast;
      }
      if (taken - told >= kTellEvery || (last && told < taken)) tell(taken, told);
      if (count == 0 && kClock.now_ns() > stop_ns) error = "the sender has gone silent";
    }
    // What was told last must get out.
    const uint64_t end_ns = kClock.now_ns() + 50 * kNanosPerMilli;
    while (error.empty() && kClock.now_ns() < end_ns) look();
  }

  /// Once posts leave: what a request may carry.
  [[nodiscard]] uint32_t inline_bytes() const { return fabric_->limits().inline_bytes; }

  std::string error{};
  double per_second = 0;

 private:
  [[nodiscard]] uint64_t taken() const {
    return observe(*reinterpret_cast<const uint64_t*>(base_ + kCellOffset));
  }
  [[nodiscard]] bool post(const copyrpc::LocalPart& payload, uint32_t immediate) {
    const uint64_t context = sent_ % kSignalEvery == 0 ? sent_ + 1 : copyrpc::kUnsignalled;
    const Fabric::Posted posted = fabric_->write_immediate(0, payload, theirs_, immediate, context);
    if (posted == Fabric::Posted::down) error = "the connection is down";
    if (posted != Fabric::Posted::yes) return false;
    ++sent_;
    return true;
  }
  void tell(uint64_t taken, uint64_t& told) {
    poke(*reinterpret_cast<uint64_t*>(base_ + kCellOffset), taken);
    const copyrpc::RemoteMemory cell = theirs_.at(kCellOffset);
    if (fabric_->write(0, {&memory_, kCellOffset, sizeof(uint64_t)}, cell, ++tells_) ==
        Fabric::Posted::yes) {
      told = taken;
    }
    fabric_->submit();
  }
  void look() {
    fabric_->submit();
    std::array<copyrpc::Completion, 64> found;
    const uint32_t count = fabric_->poll(found);
    for (uint32_t at = 0; at < count && is_fine(found[at]); ++at) {
    }
  }
  [[nodiscard]] bool is_fine(const copyrpc::Completion& found) {
    using Kind = copyrpc::Completion::Kind;
    if (found.kind == Kind::arrived || found.kind == Kind::done) return true;
    error = fmt::format("a post failed: {}", std::strerror(found.error));
    return false;
  }

  std::vector<std::byte> buffer_;
  std::byte* base_ = nullptr;
  std::unique_ptr<Fabric> fabric_;
  copyrpc::Memory memory_{};
  copyrpc::RemoteMemory theirs_{};
  uint32_t window_ = 0;
  uint64_t sent_ = 0;
  uint64_t tells_ = 0;
};

struct Rate {
  double posts_per_second = 0;  ///< of all contexts together
  uint32_t inline_bytes = 0;    ///< as granted
};

Rate measure(const Spec& spec, const Point& point, Duo& duo) {
  std::vector<std::unique_ptr<End>> ends;
  for (uint32_t context = 0; context < point.contexts; ++context) {
    ends.push_back(std::make_unique<End>(spec, point, duo));
  }
  std::vector<std::thread> threads;
  threads.reserve(ends.size());
  for (auto& end : ends) {
    threads.emplace_back([&] {
      if (duo.is_child()) {
        end->receive();
      } else {
        end->send(point.bytes(), spec.seconds);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Rate rate;
  for (const auto& end : ends) {
    if (!end->error.empty()) throw std::runtime_error(end->error);
    rate.posts_per_second += end->per_second;
    rate.inline_bytes = end->inline_bytes();
  }
  if (!duo.meet()) throw std::runtime_error("the other side is gone");
  return rate;
}

/// Why the requests of a point could not carry their bytes; empty: they did, or need not.
std::string not_carried(const Point& point, uint32_t inline_bytes) {
  if (!point.carried || point.bytes() <= inline_bytes) return {};
  return fmt::format("{} B granted", inline_bytes);
}

nlohmann::json row_of(const Spec& spec, const Point& point, Duo& duo) {
  nlohmann::json row = {{"transport", spec.transport},
                        {"contexts", point.contexts},
                        {"messages", point.messages},
                        {"bytes", point.bytes()},
                        {"inline", point.carried}};
  Rate rate;
  std::string reason = "libfabric decides itself what a request carries";
  if (!point.carried || !is_ofi(spec)) {
    rate = measure(spec, point, duo);
    reason = not_carried(point, rate.inline_bytes);
  }
  std::string figures;
  if (reason.empty()) {
    const double each_ns = 1e9 * point.contexts / rate.posts_per_second;
    row["posts_per_second"] = rate.posts_per_second;
    row["ns_per_post_and_context"] = each_ns;
    figures = fmt::format("{:>10.0f} posts/s, {:>7.0f} ns each", rate.posts_per_second, each_ns);
  } else {
    row["skipped"] = reason;
    figures = "skipped: " + reason;
  }
  if (!duo.is_child()) {
    fmt::print("{}  {} context{}  {:>3} B  {:<10} {}\n", spec.transport, point.contexts,
               point.contexts > 1 ? "s" : " ", point.bytes(),
               point.carried ? "in request" : "fetched", figures);
    std::fflush(stdout);
  }
  return row;
}

void measure_all(const Spec& spec, Duo& duo) {
  nlohmann::json rows = nlohmann::json::array();
  for (const uint32_t contexts : {1U, 2U})
    for (const bool carried : {true, false})
      for (const uint32_t messages : {1U, 2U, 4U, 8U})
        rows.push_back(row_of(spec, {messages, carried, contexts}, duo));
  if (duo.is_child() || spec.json_path.empty()) return;
  std::ofstream file(spec.json_path);
  file << rows.dump(2) << '\n';
  if (!file.flush()) throw std::runtime_error("cannot write " + spec.json_path);
}

int run(int argc, char** argv) {
  Spec spec;
  CLI::App app{"writes with immediate a second, by what may limit them"};
  app.add_option("--transport", spec.transport, "rc, dc, ofi-tcp, ofi-shm");
  spec.places.add_to(app);
  app.add_option("--device", spec.verbs.device, "verbs device");
  app.add_option("--port", spec.verbs.port, "of the device");
  app.add_option("--gid-index", spec.verbs.gid_index, "of the port");
  app.add_option("--address", spec.address, "address of this host to bind to");
  app.add_option("--seconds", spec.seconds, "of each row")->check(CLI::Range(0.01, 60.0));
  app.add_option("--json", spec.json_path, "file to write the rows to");
  CLI11_PARSE(app, argc, argv);
  run_both(spec.places, [&](Duo& duo) { measure_all(spec, duo); });
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("post_rate", run, argc, argv);
}
