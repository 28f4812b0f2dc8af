// SPDX-License-Identifier: GPL-2.0
// Memory that O_DIRECT accepts.
#ifndef DDSNAP_REPL_ALIGNED_BYTES_H_
#define DDSNAP_REPL_ALIGNED_BYTES_H_

#include <cstddef>
#include <new>
#include <span>
#include <vector>

namespace ddsnap::repl {

// No logical block is larger on what Linux supports; in bytes.
inline constexpr size_t kDirectAlignment = 4096;

template <typename T>
struct DirectAllocator {
  using value_type = T;
  static constexpr std::align_val_t kAlign{kDirectAlignment};

  DirectAllocator() = default;
  template <typename U>
  explicit DirectAllocator(const DirectAllocator<U>&) {}
  [[nodiscard]] T* allocate(size_t n) {
    return static_cast<T*>(::operator new(n * sizeof(T), kAlign));
  }
  void deallocate(T* p, size_t) { ::operator delete(p, kAlign); }
  // What is read from a disk need not be zero first.
  template <typename U>
  void construct(U* at) noexcept {
    ::new (static_cast<void*>(at)) U;
  }
  bool operator==(const DirectAllocator&) const = default;
};

// Begins on a multiple of kDirectAlignment.  Has no content until it is given one.
using AlignedBytes = std::vector<std::byte, DirectAllocator<std::byte>>;

// The first `size` bytes of a buffer that grows when it is too small: few
// extents are as long as they may be.
[[nodiscard]] inline std::span<std::byte> Room(AlignedBytes& buffer, size_t size) {
  if (buffer.size() < size) buffer = AlignedBytes(size);
  return std::span(buffer).first(size);
}

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_ALIGNED_BYTES_H_
