// SPDX-License-Identifier: Apache-2.0
#include "shm/arena.hpp"

#include <algorithm>
#include <array>

#include "base/assert.hpp"

namespace copykv {

namespace {

constexpr uint32_t kStepClasses = 63;      // 16, 24, ..., 512
constexpr uint32_t kDoublingClasses = 48;  // 576, 640, ..., 1024, 1152, ..., 32768
constexpr uint32_t kClasses = kStepClasses + kDoublingClasses;

struct SizeClass {
  uint32_t bytes;
  uint16_t capacity;  ///< objects per slab
};

constexpr std::array<SizeClass, kClasses> make_classes() {
  std::array<SizeClass, kClasses> classes{};
  uint32_t index = 0;
  const auto add = [&](uint32_t bytes) {
    classes[index++] = {bytes, static_cast<uint16_t>(Arena::kSlabBytes / bytes)};
  };
  for (uint32_t bytes = 16; bytes <= 512; bytes += 8) add(bytes);
  for (uint32_t doubling = 512; doubling < Arena::kSmallBytesMax; doubling *= 2) {
    for (uint32_t step = 1; step <= 8; ++step) add(doubling + doubling / 8 * step);
  }
  return classes;
}

constexpr std::array<SizeClass, kClasses> kSizeClasses = make_classes();
static_assert(kSizeClasses[0].bytes == 16 && kSizeClasses[kStepClasses - 1].bytes == 512);
static_assert(kSizeClasses[kClasses - 1].bytes == Arena::kSmallBytesMax);
static_assert(kSizeClasses[0].capacity < UINT16_MAX, "UINT16_MAX says: no object");

constexpr uint8_t class_of(uint32_t bytes) {
  if (bytes <= 16) return 0;
  if (bytes <= 512) return static_cast<uint8_t>((bytes + 7) / 8 - 2);
  const uint32_t doubling = 31U - static_cast<uint32_t>(__builtin_clz(bytes - 1));
  const uint32_t step = ((bytes - 1) >> (doubling - 3)) - 8;  // 0..7 of the eight
  return static_cast<uint8_t>(kStepClasses + (doubling - 9) * 8 + step);
}

constexpr bool classes_are_tight() {
  for (uint32_t bytes = 1; bytes <= Arena::kSmallBytesMax; ++bytes) {
    const uint8_t index = class_of(bytes);
    if (kSizeClasses[index].bytes < bytes) return false;
    if (index > 0 && kSizeClasses[index - 1].bytes >= bytes) return false;
  }
  return true;
}
static_assert(classes_are_tight(), "class_of gives the smallest class that holds the bytes");

constexpr uint32_t pages_for(uint64_t bytes) {
  return static_cast<uint32_t>((bytes + kArenaPageBytes - 1) / kArenaPageBytes);
}

}  // namespace

Arena::Arena(Region& region, uint64_t allocation_bytes_max)
    : base_(region.base),
      heap_(region, kReservedPages, std::max(pages_for(allocation_bytes_max), kSlabPages)),
      pages_(heap_.page_count()),
      slabs_with_room_(kClasses, kNoPage) {}

uint64_t Arena::rounded_bytes(uint64_t bytes) noexcept {
  if (bytes <= kSmallBytesMax) return kSizeClasses[class_of(static_cast<uint32_t>(bytes))].bytes;
  return uint64_t{pages_for(bytes)} * kArenaPageBytes;
}

Allocation Arena::allocate(uint64_t bytes) noexcept {
  COPYKV_ASSERT(bytes > 0);
  if (bytes > kSmallBytesMax) return allocate_span(bytes);
  const uint8_t size_class = class_of(static_cast<uint32_t>(bytes));
  if (slabs_with_room_[size_class] == kNoPage) {
    const Room room = open_slab(size_class);
    if (room != Room::ok) return {room, 0};
  }
  const uint32_t head = slabs_with_room_[size_class];
  const SizeClass& shape = kSizeClasses[size_class];
  Page& slab = pages_[head];
  uint32_t object = slab.free_object;
  const Offset start = uint64_t{head} * kArenaPageBytes;
  if (object != kNoObject) {
    slab.free_object = *reinterpret_cast<uint16_t*>(at(start + uint64_t{object} * shape.bytes));
  } else {
    object = slab.carved++;
  }
  if (++slab.live == shape.capacity) unlist(head);
  used_bytes_ += shape.bytes;
  ++live_objects_;
  return {Room::ok, start + uint64_t{object} * shape.bytes};
}

void Arena::free(Offset offset) noexcept {
  const auto page = static_cast<uint32_t>(offset / kArenaPageBytes);
  COPYKV_ASSERT(page < pages_.size() && pages_[page].head != kNoPage, "offset={}", offset);
  const uint32_t head = pages_[page].head;
  Page& slab = pages_[head];
  --live_objects_;
  if (slab.size_class == kSpan) {
    COPYKV_ASSERT(offset == uint64_t{head} * kArenaPageBytes, "offset={}", offset);
    used_bytes_ -= uint64_t{heap_.span_pages(head)} * kArenaPageBytes;
    slab.head = kNoPage;
    heap_.free(head);
    return;
  }
  const SizeClass& shape = kSizeClasses[slab.size_class];
  const auto within = static_cast<uint32_t>(offset - uint64_t{head} * kArenaPageBytes);
  const uint32_t object = within / shape.bytes;
  COPYKV_ASSERT(object * shape.bytes == within && object < slab.carved && slab.live > 0,
                "offset={} class={} carved={} live={}", offset, shape.bytes, slab.carved,
                slab.live);
  used_bytes_ -= shape.bytes;
  if (--slab.live == 0) {
    close_slab(head);
    return;
  }
  *reinterpret_cast<uint16_t*>(at(offset)) = slab.free_object;
  slab.free_object = static_cast<uint16_t>(object);
  if (!slab.listed) list(head);
}

Allocation Arena::allocate_span(uint64_t bytes) noexcept {
  const PageHeap::Span span = heap_.allocate(pages_for(bytes));
  if (span.room != Room::ok) return {span.room, 0};
  // Only its first page can be the start of an object.
  Page& page = pages_[span.first_page];
  page = Page{};
  page.head = span.first_page;
  page.size_class = kSpan;
  used_bytes_ += uint64_t{heap_.span_pages(span.first_page)} * kArenaPageBytes;
  ++live_objects_;
  return {Room::ok, uint64_t{span.first_page} * kArenaPageBytes};
}

Room Arena::open_slab(uint8_t size_class) noexcept {
  const PageHeap::Span span = heap_.allocate(kSlabPages);
  if (span.room != Room::ok) return span.room;
  for (uint32_t page = span.first_page; page < span.first_page + kSlabPages; ++page) {
    pages_[page] = Page{};
    pages_[page].head = span.first_page;
    pages_[page].size_class = size_class;
  }
  list(span.first_page);
  return Room::ok;
}

void Arena::close_slab(uint32_t head) noexcept {
  if (pages_[head].listed) unlist(head);
  for (uint32_t page = head; page < head + kSlabPages; ++page) pages_[page].head = kNoPage;
  heap_.free(head);
}

void Arena::list(uint32_t head) noexcept {
  Page& slab = pages_[head];
  uint32_t& first = slabs_with_room_[slab.size_class];
  slab.listed = true;
  slab.previous = kNoPage;
  slab.next = first;
  if (first != kNoPage) pages_[first].previous = head;
  first = head;
}

void Arena::unlist(uint32_t head) noexcept {
  Page& slab = pages_[head];
  slab.listed = false;
  if (slab.next != kNoPage) pages_[slab.next].previous = slab.previous;
  if (slab.previous != kNoPage) {
    pages_[slab.previous].next = slab.next;
  } else {
    slabs_with_room_[slab.size_class] = slab.next;
  }
}

bool Arena::slab_is_valid(uint32_t head) const {
  const Page& slab = pages_[head];
  const SizeClass& shape = kSizeClasses[slab.size_class];
  if (slab.live == 0 || slab.live > slab.carved || slab.carved > shape.capacity) return false;
  if (slab.listed != (slab.live < shape.capacity)) return false;
  uint32_t free_listed = 0;
  for (uint32_t object = slab.free_object; object != kNoObject; ++free_listed) {
    if (object >= slab.carved || free_listed > slab.carved) return false;
    object = *reinterpret_cast<const uint16_t*>(
        at(uint64_t{head} * kArenaPageBytes + uint64_t{object} * shape.bytes));
  }
  return slab.live + free_listed == slab.carved;
}

bool Arena::is_valid() const {
  uint64_t used = 0;
  uint64_t live = 0;
  uint64_t held_pages = 0;
  uint64_t with_room = 0;
  for (uint32_t page = 0; page < pages_.size(); ++page) {
    const Page& slab = pages_[page];
    if (slab.head != page) continue;
    if (slab.size_class == kSpan) {
      used += uint64_t{heap_.span_pages(page)} * kArenaPageBytes;
      live += 1;
    } else {
      if (!slab_is_valid(page)) return false;
      used += uint64_t{slab.live} * kSizeClasses[slab.size_class].bytes;
      live += slab.live;
      with_room += slab.listed ? 1 : 0;
    }
    held_pages += heap_.span_pages(page);
  }
  for (uint32_t size_class = 0; size_class < kClasses; ++size_class) {
    for (uint32_t at = slabs_with_room_[size_class]; at != kNoPage; at = pages_[at].next) {
      if (pages_[at].size_class != size_class || !pages_[at].listed || with_room-- == 0)
        return false;
    }
  }
  return with_room == 0 && used == used_bytes_ && live == live_objects_ &&
         held_pages == heap_.pages_in_use() && heap_.is_valid();
}

}  // namespace copykv
