// Counter-based random numbers: every draw is a pure function of (seed, purpose, stream, step, sample,
// element), so it does not depend on ranks, threads or the order of calls.
//
// Generator: Philox4x32-10, J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace lockstep {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

inline PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// Uniform in [0, 1) with 24 random bits.
inline float uniform01(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

enum class Purpose : std::uint32_t { kShuffle, kSplit, kInitialize, kDropout, kAugment, kSynthesize };

// A family of random numbers. `stream` tells apart users of one purpose (a layer, a parameter).
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, Purpose purpose, std::uint32_t stream = 0)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        tag_((static_cast<std::uint32_t>(purpose) << 24) ^ stream) {}

  // Four words for the elements 4 * block .. 4 * block + 3.
  PhiloxCounter block(std::uint32_t step, std::uint32_t sample, std::uint32_t block) const {
    return philox4x32({block, sample, step, tag_}, key_);
  }
  std::uint32_t word(std::uint32_t step, std::uint32_t sample, std::uint64_t element) const {
    return block(step, sample, static_cast<std::uint32_t>(element / 4))[element % 4];
  }
  float uniform(std::uint32_t step, std::uint32_t sample, std::uint64_t element) const {
    return uniform01(word(step, sample, element));
  }
  // Standard normal by Box and Muller; element uses the pair (2 * element, 2 * element + 1).
  double normal(std::uint32_t step, std::uint32_t sample, std::uint64_t element) const {
    const double u = (word(step, sample, 2 * element) + 1.0) * 0x1p-32;  // in (0, 1]
    const double v = word(step, sample, 2 * element + 1) * 0x1p-32;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
  }
  // Uniform integer in [0, bound), bound >= 1, by multiplication (bias below bound / 2^64).
  std::uint64_t below(std::uint64_t bound, std::uint32_t step, std::uint64_t element) const {
    const PhiloxCounter c = block(step, static_cast<std::uint32_t>(element >> 32),
                                  static_cast<std::uint32_t>(element));
    return scaled(c[0], c[1], bound);
  }
  // What below() makes of its two words.
  static std::uint64_t scaled(std::uint32_t high, std::uint32_t low, std::uint64_t bound) {
    const std::uint64_t wide = (std::uint64_t{high} << 32) | low;
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(wide) * bound) >> 64);
  }

  // What block() hands to Philox, for code that makes many blocks at once (random_words.h).
  const PhiloxKey& key() const { return key_; }
  std::uint32_t tag() const { return tag_; }

 private:
  PhiloxKey key_;
  std::uint32_t tag_;
};

}  // namespace lockstep
