// Changes a file in a way that depends on the given numbers alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>

#include "core/base/random.h"

namespace lockstep::fuzz {

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : stream_(seed, Purpose::kAugment) {}

  // One to four changes of `bytes`; what is put in may come from `other`.
  std::string mutate(std::string bytes, const std::string& other) {
    for (std::uint32_t changes = 1 + below(4); changes > 0; --changes) change(bytes, other);
    return bytes;
  }

 private:
  std::uint32_t word() { return stream_.word(0, 0, drawn_++); }
  std::uint32_t below(std::size_t bound) {
    return static_cast<std::uint32_t>(std::uint64_t{word()} * bound >> 32);
  }

  void change(std::string& bytes, const std::string& other) {
    // Numbers at which sizes and indices go wrong.
    static constexpr std::uint64_t kNumbers[] = {0,           1,
                                                 0x7f,        0x80,
                                                 0xff,        0x7fff,
                                                 0x8000,      0xffff,
                                                 0x7fffffff,  0x80000000,
                                                 0xffffffff,  0x100000000u,
                                                 1ull << 62u, 0x7fffffffffffffff,
                                                 1ull << 63u, ~0ull};
    if (bytes.empty()) bytes.push_back('0');
    const std::size_t at = below(bytes.size());
    const std::size_t count = std::min<std::size_t>(bytes.size() - at, 1 + below(16));
    switch (below(7)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        return;
      case 1:
        bytes[at] = static_cast<char>(below(256));
        return;
      case 2:
        bytes.resize(at);
        return;
      case 3:
        bytes.erase(at, count);
        return;
      case 4:
        bytes.insert(below(bytes.size()), bytes.substr(at, count));
        return;
      case 5:
        if (!other.empty()) bytes.replace(at, count, other.substr(below(other.size()), count));
        return;
      default: {
        std::uint64_t number = kNumbers[below(std::size(kNumbers))];
        if (below(2) == 1) number = __builtin_bswap64(number);
        const std::size_t width = std::min<std::size_t>(bytes.size() - at, 1u << below(4));
        std::memcpy(bytes.data() + at, &number, width);
      }
    }
  }

  RandomStream stream_;
  std::uint64_t drawn_ = 0;
};

}  // namespace lockstep::fuzz
