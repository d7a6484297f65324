// SPDX-License-Identifier: Apache-2.0
#include "sim/observed_network.hpp"

#include "daemon/job_card.hpp"

namespace copykv::sim {

void ObservedNetwork::tell_call(const Pending& request) noexcept {
  if (observer_ == nullptr) return;
  observer_->on_call(rank_, header_->owners[request.owner].rank, request.ticket());
}

Network::Sent ObservedNetwork::call(const Pending& request) noexcept {
  const Sent sent = network_.call(request);
  if (sent != Sent::accepted) return sent;
  ++work_.calls;
  tell_call(request);
  return sent;
}

uint32_t ObservedNetwork::call_plain(std::span<const Pending> requests, Sent& sent) noexcept {
  const uint32_t accepted = network_.call_plain(requests, sent);
  work_.calls += accepted;
  for (uint32_t index = 0; index < accepted; ++index) tell_call(requests[index]);
  return accepted;
}

uint32_t ObservedNetwork::take_answers(std::span<RemoteAnswer> answers) noexcept {
  const uint32_t count = network_.take_answers(answers);
  work_.answers += count;
  for (uint32_t index = 0; index < count && observer_ != nullptr; ++index) {
    observer_->on_answer(rank_, answers[index].ticket);
  }
  return count;
}

uint32_t ObservedNetwork::take_requests(std::span<RemoteRequest> requests) noexcept {
  taken_ = network_.take_requests(requests);
  work_.inbound += taken_;
  for (uint32_t index = 0; index < taken_ && observer_ != nullptr; ++index) {
    const uint32_t caller = network_.caller_of(requests[index]) / kRailsMax;
    observer_->on_inbound(rank_, requests[index].index, caller);
  }
  return taken_;
}

void ObservedNetwork::put_back(uint32_t index) noexcept {
  work_.inbound -= taken_ - index;
  for (uint32_t newest = taken_; newest > index && observer_ != nullptr; --newest) {
    observer_->on_put_back(rank_, newest - 1);
  }
  network_.put_back(index);
}

void ObservedNetwork::reply_plain(std::span<const RemoteRequest> requests) noexcept {
  for (const RemoteRequest& request : requests) {
    if (observer_ != nullptr) observer_->on_reply(rank_, request.index);
  }
  network_.reply_plain(requests);
}

void ObservedNetwork::reply(const RemoteRequest& request, const StoreAnswer& answer,
                            uint32_t value_bytes) noexcept {
  if (observer_ != nullptr) observer_->on_reply(rank_, request.index);
  network_.reply(request, answer, value_bytes);
}

bool ObservedNetwork::move(const RemoteRequest& request, uint32_t move, std::byte* memory,
                           uint32_t bytes) noexcept {
  if (!network_.move(request, move, memory, bytes)) return false;
  if (observer_ != nullptr) observer_->on_move(rank_, request.index, move);
  return true;
}

void ObservedNetwork::reply_moved(uint32_t move, const StoreAnswer& answer) noexcept {
  if (observer_ != nullptr) observer_->on_reply_moved(rank_, move);
  network_.reply_moved(move, answer);
}

}  // namespace copykv::sim
