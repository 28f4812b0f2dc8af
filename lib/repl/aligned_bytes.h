// SPDX-License-Identifier: GPL-2.0
// Memory that O_DIRECT accepts.
#ifndef DDSNAP_REPL_ALIGNED_BYTES_H_
#define DDSNAP_REPL_ALIGNED_BYTES_H_

#include <cstddef>
#include <new>
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
  bool operator==(const DirectAllocator&) const = default;
};

// Begins on a multiple of kDirectAlignment.
using AlignedBytes = std::vector<std::byte, DirectAllocator<std::byte>>;

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_ALIGNED_BYTES_H_
