// SPDX-License-Identifier: Apache-2.0
// The posts of an endpoint that the provider has not given back yet: a fixed table, whose entries
// serve as operation contexts.
//
// INVARIANTS
//   I1  free + in_flight + abandoned == capacity.
//   I2  an entry belongs to the provider from take until give_back: also an abandoned one, whose
//       end has been reported, is not used again before the provider has returned it.
#pragma once

#include <rdma/fabric.h>

#include <cstdint>
#include <vector>

#include "copyrpc/fabric/fabric.hpp"

namespace copyrpc::ofi {

struct Post {
  fi_context2 provider{};  ///< first: the provider's own, and the address that it returns
  uint64_t context = 0;
  PeerId peer = kNoPeer;
  uint32_t connection = 0;  ///< which connection to that peer
  uint32_t next_free = 0;
  enum class State : uint8_t { free, in_flight, abandoned } state = State::free;
};

class Posts {
 public:
  explicit Posts(uint32_t capacity) : table_(capacity) {
    for (uint32_t at = 0; at < capacity; ++at) table_[at].next_free = at + 1;
  }

  /// Null: all are in flight.
  [[nodiscard]] Post* take(PeerId peer, uint32_t connection, uint64_t context) noexcept {
    if (first_free_ == table_.size()) return nullptr;
    Post& post = table_[first_free_];
    first_free_ = post.next_free;
    post.context = context;
    post.peer = peer;
    post.connection = connection;
    post.state = Post::State::in_flight;
    return &post;
  }
  void give_back(Post& post) noexcept {
    post.state = Post::State::free;
    post.next_free = first_free_;
    first_free_ = static_cast<uint32_t>(&post - table_.data());
  }
  /// The entry that a completion names; null when it names none that the provider has.
  [[nodiscard]] Post* find(void* context) noexcept {
    const uint64_t offset =
        reinterpret_cast<uint64_t>(context) - reinterpret_cast<uint64_t>(table_.data());
    if (offset % sizeof(Post) != 0 || offset / sizeof(Post) >= table_.size()) return nullptr;
    Post& post = table_[offset / sizeof(Post)];
    return post.state == Post::State::free ? nullptr : &post;
  }
  [[nodiscard]] std::vector<Post>& all() noexcept { return table_; }

 private:
  std::vector<Post> table_;
  uint32_t first_free_ = 0;
};

}  // namespace copyrpc::ofi
