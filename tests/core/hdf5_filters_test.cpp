// Chunks decoded without the library: every filter by itself, and damage of every kind.
#include "core/base/hdf5/filters.h"

#include <gtest/gtest.h>
#include <libdeflate.h>

#include <random>

#include "core/base/error.h"
#include "core/base/hdf5/row_reader.h"
#include "tests/core/temporary_directory.h"

namespace lockstep {
namespace {

using Bytes = std::vector<std::byte>;

Bytes bytes_of(std::initializer_list<int> values) {
  Bytes out;
  for (const int value : values) out.push_back(static_cast<std::byte>(value));
  return out;
}

Bytes random_bytes(std::size_t count, int seed) {
  std::mt19937 random(seed);
  Bytes out(count);
  for (std::byte& byte : out) byte = static_cast<std::byte>(random() % 7);
  return out;
}

Bytes deflated(const Bytes& from) {
  libdeflate_compressor* compressor = libdeflate_alloc_compressor(6);
  Bytes out(libdeflate_zlib_compress_bound(compressor, from.size()));
  out.resize(libdeflate_zlib_compress(compressor, from.data(), from.size(), out.data(), out.size()));
  libdeflate_free_compressor(compressor);
  return out;
}

Bytes shuffled(const Bytes& from, std::size_t element) {
  const std::size_t count = from.size() / element;
  Bytes out = from;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t b = 0; b < element; ++b) out[b * count + i] = from[i * element + b];
  }
  return out;
}

Bytes with_checksum(Bytes from) {
  const std::uint32_t sum = hdf5_fletcher32(from);
  for (int i = 0; i < 4; ++i) from.push_back(static_cast<std::byte>(sum >> (8 * i)));
  return from;
}

Bytes decoded(const std::vector<Hdf5Filter>& filters, std::uint32_t mask, const Bytes& stored, std::size_t size) {
  Bytes out(size, std::byte{0xEE});
  Hdf5Decoder().decode(filters, mask, stored, out);
  return out;
}

std::string refusal(const std::vector<Hdf5Filter>& filters, const Bytes& stored, std::size_t size) {
  try {
    decoded(filters, 0, stored, size);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    return error.what();
  }
  return "";
}

constexpr Hdf5Filter kGzip{Hdf5FilterKind::kGzip, 1};
constexpr Hdf5Filter kFletcher{Hdf5FilterKind::kFletcher32, 1};
constexpr Hdf5Filter kLzf{Hdf5FilterKind::kLzf, 1};

Hdf5Filter shuffle_of(std::size_t element) { return {Hdf5FilterKind::kShuffle, element}; }

TEST(Hdf5Filters, EveryOrderOfFiltersComesBack) {
  for (const std::size_t element : {1u, 2u, 3u, 4u, 8u}) {
    for (const std::size_t size : {0u, 1u, 7u, 64u, 1000u}) {
      const Bytes plain = random_bytes(size, 5);
      const Hdf5Filter shuffle = shuffle_of(element);
      EXPECT_EQ(decoded({}, 0, plain, size), plain);
      EXPECT_EQ(decoded({shuffle}, 0, shuffled(plain, element), size), plain);
      EXPECT_EQ(decoded({shuffle, kGzip}, 0, deflated(shuffled(plain, element)), size), plain);
      EXPECT_EQ(decoded({shuffle, kGzip, kFletcher}, 0, with_checksum(deflated(shuffled(plain, element))), size), plain);
      EXPECT_EQ(decoded({kFletcher, kGzip}, 0, deflated(with_checksum(plain)), size), plain);
      EXPECT_EQ(decoded({kFletcher, shuffle, kGzip}, 0, deflated(shuffled(with_checksum(plain), element)), size), plain);
    }
  }
}

TEST(Hdf5Filters, AMaskLeavesFiltersOut) {
  const Bytes plain = random_bytes(100, 6);
  EXPECT_EQ(decoded({shuffle_of(4), kGzip}, 1, deflated(plain), 100), plain);
  EXPECT_EQ(decoded({shuffle_of(4), kGzip}, 2, shuffled(plain, 4), 100), plain);
  EXPECT_EQ(decoded({shuffle_of(4), kGzip, kFletcher}, 7, plain, 100), plain);
}

TEST(Hdf5Filters, LzfReferencesMayOverlapWhatTheyWrite) {
  // "abc", then 9 bytes from 3 before, then one byte from 1 before nine times over.
  const Bytes stored = bytes_of({2, 'a', 'b', 'c', 7 << 5, 0, 2, 1 << 5, 0});
  EXPECT_EQ(decoded({kLzf}, 0, stored, 15),
            bytes_of({'a', 'b', 'c', 'a', 'b', 'c', 'a', 'b', 'c', 'a', 'b', 'c', 'c', 'c', 'c'}));
}

TEST(Hdf5Filters, DamageIsTold) {
  const Bytes plain = random_bytes(500, 7);
  EXPECT_EQ(refusal({}, plain, 499), "it has 500 bytes, expected 499");
  EXPECT_EQ(refusal({kGzip}, deflated(plain), 499), "its gzip stream gives more than 499 bytes");
  EXPECT_EQ(refusal({kGzip}, deflated(plain), 501), "its gzip stream gives 500 bytes, expected 501");
  EXPECT_EQ(refusal({kGzip}, plain, 500), "its gzip stream is damaged");
  EXPECT_EQ(refusal({kFletcher}, bytes_of({1, 2, 3}), 0), "it has 3 bytes, fewer than its checksum");
  Bytes flipped = with_checksum(plain);
  flipped[100] ^= std::byte{1};
  EXPECT_EQ(refusal({kFletcher}, flipped, 500), "its checksum (fletcher32) is wrong");
  EXPECT_EQ(refusal({kLzf}, bytes_of({2, 'a'}), 3), "its lzf stream is damaged at byte 1");
  EXPECT_EQ(refusal({kLzf}, bytes_of({1 << 5}), 3), "its lzf stream ends too early");
  EXPECT_EQ(refusal({kLzf}, bytes_of({0, 'a', 1 << 5, 9}), 4), "its lzf stream is damaged at byte 4");
  EXPECT_EQ(refusal({kLzf}, bytes_of({0, 'a'}), 4), "its lzf stream gives 1 bytes, expected 4");
}

// Whatever the bytes are: an error, or as many bytes as were asked for.
TEST(Hdf5Filters, RandomBytesNeverLeaveTheirBounds) {
  std::mt19937 random(11);
  Hdf5Decoder decoder;
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    Bytes stored(random() % 60);
    for (std::byte& byte : stored) byte = static_cast<std::byte>(random());
    if (round % 2 == 0) stored = deflated(stored);
    if (!stored.empty() && round % 3 == 0) stored[random() % stored.size()] ^= std::byte{0x10};
    std::vector<Hdf5Filter> filters;
    for (const Hdf5Filter& one : {kFletcher, shuffle_of(2), kLzf, kGzip}) {
      if (random() % 2 == 0) filters.push_back(one);
    }
    Bytes out(random() % 60);
    try {
      decoder.decode(filters, static_cast<std::uint32_t>(random() % 8), stored, out);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
      ++refused;
    }
  }
  EXPECT_GT(refused, 10000);
}

}  // namespace
}  // namespace lockstep
