// SPDX-License-Identifier: Apache-2.0
// Compiled into the test build of the client library only (-DCOPYKV_FAULT_POINTS).
#include "base/fault_points.hpp"

#if defined(COPYKV_FAULT_POINTS)

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <string_view>

#include "base/assert.hpp"
#include "base/units.hpp"

namespace copykv {
namespace {

enum class Action : uint8_t { none, kill, stop, exit };

struct Order {
  std::string name{};
  uint64_t passage = 0;
  Action action = Action::none;
};

// A misspelt order would make a test pass without its fault: refuse it loudly.
Order read_order() {
  const char* text = std::getenv("COPYKV_FAULT");
  if (text == nullptr || *text == '\0') return {};
  const std::string_view all(text);
  const size_t second = all.rfind(':');
  const size_t first = second == std::string_view::npos || second == 0 ? std::string_view::npos
                                                                       : all.rfind(':', second - 1);
  COPYKV_ASSERT(first != std::string_view::npos, "COPYKV_FAULT='{}' is not name:N:action", all);
  const auto passage = parse_count(all.substr(first + 1, second - first - 1));
  const std::string_view action = all.substr(second + 1);
  Order order{std::string(all.substr(0, first)), passage ? *passage : 0, Action::none};
  if (action == "kill") order.action = Action::kill;
  if (action == "stop") order.action = Action::stop;
  if (action == "exit") order.action = Action::exit;
  COPYKV_ASSERT(order.passage > 0 && order.action != Action::none,
                "COPYKV_FAULT='{}': N counts from 1, the action is kill, stop or exit", all);
  return order;
}

const Order& order() {
  static const Order read = read_order();
  return read;
}

std::mutex list_mutex;
FaultPoint* list_head = nullptr;

void act(Action action) noexcept {
  switch (action) {
    case Action::kill:
      (void)kill(getpid(), SIGKILL);
      break;
    case Action::stop:
      (void)kill(getpid(), SIGSTOP);
      break;
    case Action::exit:
      _exit(9);
    case Action::none:
      break;
  }
}

}  // namespace

FaultPoint::FaultPoint(const char* name) noexcept : name_(name), armed_(order().name == name) {
  const std::lock_guard lock(list_mutex);
  next_ = list_head;
  list_head = this;
}

void FaultPoint::pass() noexcept {
  if (!armed_) return;
  const std::lock_guard lock(list_mutex);
  if (++passed_ == order().passage) act(order().action);
}

std::vector<std::string> list_fault_points() {
  std::vector<std::string> names;
  {
    const std::lock_guard lock(list_mutex);
    for (const FaultPoint* point = list_head; point != nullptr; point = point->next_) {
      names.emplace_back(point->name_);
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace copykv

#endif
