// SPDX-License-Identifier: Apache-2.0
#include "shm/page_heap.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace copykv {

PageHeap::PageHeap(Region& region, uint32_t reserved_pages, uint32_t span_pages_max)
    : region_(region),
      reserved_(reserved_pages),
      span_pages_max_(span_pages_max),
      top_(reserved_pages),
      pages_(region.virtual_bytes / kArenaPageBytes),
      heads_(span_pages_max + 2, kNoPage),
      bitmap_(heads_.size() / 64 + 1),
      bitmap_words_(bitmap_.size() / 64 + 1) {}

uint32_t PageHeap::first_list_from(uint32_t list) const noexcept {
  const uint32_t word = list / 64;
  if (const uint64_t bits = bitmap_[word] >> (list % 64) << (list % 64); bits != 0) {
    return word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
  }
  // One summary word stands for 4,096 lists, that is, lengths up to 64 MiB.
  uint32_t from = word + 1;
  for (uint32_t summary = from / 64; summary < bitmap_words_.size();
       ++summary, from = summary * 64) {
    const uint64_t words = bitmap_words_[summary] >> (from % 64) << (from % 64);
    if (words == 0) continue;
    const uint32_t found = summary * 64 + static_cast<uint32_t>(__builtin_ctzll(words));
    return found * 64 + static_cast<uint32_t>(__builtin_ctzll(bitmap_[found]));
  }
  return kNoPage;
}

void PageHeap::mark(uint32_t first_page, uint32_t pages, bool free) noexcept {
  for (Page* end : {&pages_[first_page], &pages_[first_page + pages - 1]}) {
    end->span_pages = pages;
    end->free = free;
  }
}

void PageHeap::push(uint32_t first_page, uint32_t pages) noexcept {
  mark(first_page, pages, true);
  const uint32_t list = list_of(pages);
  Page& page = pages_[first_page];
  page.previous = kNoPage;
  page.next = heads_[list];
  if (page.next != kNoPage) pages_[page.next].previous = first_page;
  heads_[list] = first_page;
  bitmap_[list / 64] |= uint64_t{1} << (list % 64);
  bitmap_words_[list / 4096] |= uint64_t{1} << (list / 64 % 64);
}

void PageHeap::remove(uint32_t first_page) noexcept {
  const Page& page = pages_[first_page];
  const uint32_t list = list_of(page.span_pages);
  if (page.next != kNoPage) pages_[page.next].previous = page.previous;
  if (page.previous != kNoPage) {
    pages_[page.previous].next = page.next;
    return;
  }
  heads_[list] = page.next;
  if (page.next != kNoPage) return;
  bitmap_[list / 64] &= ~(uint64_t{1} << (list % 64));
  if (bitmap_[list / 64] == 0) bitmap_words_[list / 4096] &= ~(uint64_t{1} << (list / 64 % 64));
}

PageHeap::Span PageHeap::allocate(uint32_t pages) noexcept {
  COPYKV_ASSERT(pages >= 1 && pages <= span_pages_max_, "pages={} max={}", pages, span_pages_max_);
  const uint32_t list = first_list_from(pages);
  if (list == kNoPage) return take_from_top(pages);
  const uint32_t first = heads_[list];
  const uint32_t found = pages_[first].span_pages;
  remove(first);
  mark(first, pages, false);
  if (found > pages) push(first + pages, found - pages);
  in_use_ += pages;
  return {Room::ok, first};
}

/// Only ever raised: a large request must still be seen after smaller ones that had room.
void PageHeap::want(uint64_t pages) noexcept {
  const uint64_t bytes = pages * kArenaPageBytes;
  if (bytes > peek(region_.wanted_bytes)) poke(region_.wanted_bytes, bytes);  // [E]
}

PageHeap::Span PageHeap::take_from_top(uint32_t pages) noexcept {
  const uint64_t needed = uint64_t{top_} + pages;
  if (needed > populated_pages_) {
    // exhausted first: what it was published with is then seen in populated_bytes.
    const bool exhausted = observe(region_.exhausted) != 0;  // [F]
    populated_pages_ = static_cast<uint32_t>(observe(region_.populated_bytes) / kArenaPageBytes);
    if (needed > populated_pages_) {
      if (needed > pages_.size()) return {Room::no_space, kNoPage};
      want(needed);
      return {exhausted ? Room::no_space : Room::not_populated_yet, kNoPage};
    }
  }
  const uint32_t first = top_;
  top_ += pages;
  want(top_);
  mark(first, pages, false);
  in_use_ += pages;
  return {Room::ok, first};
}

void PageHeap::free(uint32_t first_page) noexcept {
  uint32_t first = first_page;
  uint32_t pages = pages_[first].span_pages;
  COPYKV_ASSERT(first >= reserved_ && first + pages <= top_ && !pages_[first].free,
                "page {} of {}, span of {}", first, top_, pages);
  in_use_ -= pages;
  if (first > reserved_ && pages_[first - 1].free) {
    const uint32_t before = pages_[first - 1].span_pages;
    first -= before;
    pages += before;
    remove(first);
  }
  if (const uint32_t after = first + pages; after < top_ && pages_[after].free) {
    pages += pages_[after].span_pages;
    remove(after);
  }
  if (first + pages == top_) {
    mark(first, pages, false);
    top_ = first;
  } else {
    push(first, pages);
  }
}

bool PageHeap::is_valid() const {
  uint64_t in_use = 0;
  uint64_t free = 0;
  uint64_t free_spans = 0;
  bool previous_free = false;
  for (uint32_t first = reserved_; first < top_;) {
    const Page& page = pages_[first];
    if (page.span_pages == 0 || first + page.span_pages > top_) return false;
    const Page& last = pages_[first + page.span_pages - 1];
    if (last.span_pages != page.span_pages || last.free != page.free) return false;
    if (page.free && previous_free) return false;
    (page.free ? free : in_use) += page.span_pages;
    free_spans += page.free ? 1 : 0;
    previous_free = page.free;
    first += page.span_pages;
  }
  if (previous_free || in_use != in_use_ || reserved_ + in_use + free != top_) return false;

  uint64_t listed_spans = 0;
  for (uint32_t list = 0; list < heads_.size(); ++list) {
    const bool bit = (bitmap_[list / 64] >> (list % 64) & 1) != 0;
    if (bit != (heads_[list] != kNoPage)) return false;
    uint32_t previous = kNoPage;
    for (uint32_t at = heads_[list]; at != kNoPage; at = pages_[at].next) {
      if (!pages_[at].free || list_of(pages_[at].span_pages) != list) return false;
      if (pages_[at].previous != previous || ++listed_spans > free_spans) return false;
      previous = at;
    }
  }
  for (uint32_t word = 0; word < bitmap_.size(); ++word) {
    if (((bitmap_words_[word / 64] >> (word % 64) & 1) != 0) != (bitmap_[word] != 0)) return false;
  }
  return listed_spans == free_spans;
}

}  // namespace copykv
