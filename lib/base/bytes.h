// SPDX-License-Identifier: GPL-2.0
// Little-endian integers for structs that go to disk: no alignment, no
// padding, conversion at each access.
#ifndef DDSNAP_BASE_BYTES_H_
#define DDSNAP_BASE_BYTES_H_

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ddsnap {

template <std::unsigned_integral T>
class LittleEndian {
 public:
  LittleEndian() = default;
  LittleEndian(T value) { *this = value; }  // NOLINT: an integer by another name
  LittleEndian& operator=(T value) {
    value = Swap(value);
    std::memcpy(bytes_, &value, sizeof(T));
    return *this;
  }
  operator T() const {  // NOLINT
    T value;
    std::memcpy(&value, bytes_, sizeof(T));
    return Swap(value);
  }

 private:
  static constexpr T Swap(T value) {
    if constexpr (std::endian::native == std::endian::little || sizeof(T) == 1) {
      return value;
    } else {
      T out = 0;
      for (size_t i = 0; i < sizeof(T); ++i) out |= ((value >> (8 * i)) & 0xff) << (8 * (sizeof(T) - 1 - i));
      return out;
    }
  }
  uint8_t bytes_[sizeof(T)];
};

using Le16 = LittleEndian<uint16_t>;
using Le32 = LittleEndian<uint32_t>;
using Le64 = LittleEndian<uint64_t>;

}  // namespace ddsnap

#endif  // DDSNAP_BASE_BYTES_H_
