// Ranges of numbered things, and how they are divided.
#pragma once

#include <cstdint>

namespace lockstep {

// Items [begin, end).
struct Range {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

// The part of `count` items that belongs to piece `index` of `pieces`: contiguous, sizes differ by
// one at most.
inline Range piece_of(std::int64_t count, std::int64_t pieces, std::int64_t index) {
  return {count * index / pieces, count * (index + 1) / pieces};
}

}  // namespace lockstep
