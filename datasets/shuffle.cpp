#include "datasets/shuffle.h"

#include <algorithm>
#include <utility>

#include "core/base/random_words.h"

namespace lockstep {

// A few draws at a time: their words are made side by side, and the values far away that they name are asked for before
// the first is needed.
void shuffle(const RandomStream& random, std::uint32_t step, std::uint64_t first, std::span<std::int64_t> values) {
  constexpr std::uint64_t kDraws = kRandomWords / 4;
  std::uint32_t words[kRandomWords];
  std::uint64_t with[kDraws];
  std::uint64_t end = first + values.size();  // of the counters that are left
  while (end > first) {
    const std::uint64_t begin = (end - 1) / kDraws * kDraws;  // never across a multiple of 2^32
    random_words(random, step, static_cast<std::uint32_t>(begin >> 32), static_cast<std::uint32_t>(begin), words);
    const std::uint64_t from = std::max(begin, first);
    for (std::uint64_t counter = from; counter < end; ++counter) {
      const std::uint32_t* const word = words + 4 * (counter - begin);
      with[counter - begin] = RandomStream::scaled(word[0], word[1], counter - first + 1);
      __builtin_prefetch(&values[with[counter - begin]], 1);
    }
    for (std::uint64_t counter = end; counter-- > from;) std::swap(values[counter - first], values[with[counter - begin]]);
    end = from;
  }
}

}  // namespace lockstep
