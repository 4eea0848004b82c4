// Files that other programs wrote (tests/fixtures/hdf5/make.py) are read to the byte, with the library and without it.
#include <gtest/gtest.h>

#include <cstring>
#include <atomic>
#include <thread>

#include "core/base/bfloat16.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/float16.h"
#include "core/base/hdf5/row_reader.h"

namespace lockstep {
namespace {

const Shape kShape{11, 3, 5};

std::string fixture(const std::string& name) {
  return std::string(LOCKSTEP_SOURCE_DIR) + "/tests/fixtures/hdf5/" + name;
}

// The bits of a half that is an eighth of a whole number below 251.
std::uint16_t half_bits(int eighths) {
  if (eighths == 0) return 0;
  int exponent = 15 - 3;
  auto fraction = static_cast<std::uint32_t>(eighths) << 10;
  while (fraction >= 2u << 10) {
    fraction >>= 1;
    ++exponent;
  }
  return static_cast<std::uint16_t>(exponent << 10 | (fraction & 1023));
}

// Element i of every array, as make.py has it.
template <typename Value>
void append(std::vector<std::byte>& out, Value value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

std::vector<std::byte> expected(const Hdf5Array& array) {
  std::vector<std::byte> out;
  const bool truth = array.name.ends_with("bool");
  const bool plain = array.name.find("/u") != std::string::npos || array.name.starts_with("u") ||
                     array.name.find("_u") != std::string::npos;  // without a sign
  const std::int64_t row = array.shape.elements(1, array.shape.rank());
  for (std::int64_t i = 0; i < array.shape.elements(); ++i) {
    const auto n = static_cast<int>((37 * i + 11) % 251);
    const bool hole = array.name == "holes/i32" && i / row >= 4 && i / row < 8;
    const int whole = hole ? -7 : plain ? n : n - 125;
    const bool never = array.name == "never_written/f32";
    switch (array.dtype) {
      case DType::kU8: append(out, static_cast<std::uint8_t>(truth ? n % 2 : n)); break;
      case DType::kI8: append(out, static_cast<std::int8_t>(whole)); break;
      case DType::kI16: append(out, static_cast<std::int16_t>(whole)); break;
      case DType::kI32: append(out, static_cast<std::int32_t>(whole)); break;
      case DType::kI64: append(out, static_cast<std::int64_t>(whole)); break;
      case DType::kF16: append(out, half_bits(n)); break;
      case DType::kF32: append(out, never ? 2.5f : static_cast<float>(n) / 8); break;
      case DType::kF64: append(out, static_cast<double>(n) / 8); break;
      case DType::kBF16: append(out, BFloat16(static_cast<float>(n) / 8)); break;
    }
  }
  return out;
}

std::vector<std::byte> read(const Hdf5RowReader& reader, std::int64_t begin, std::int64_t end) {
  std::vector<std::byte> out(static_cast<std::size_t>(end - begin) * reader.array().row_bytes());
  Hdf5RowReader::Scratch scratch;
  reader.read(begin, end, out.data(), scratch);
  return out;
}

// Every array of the file, whole and in all ranges of rows. Returns how many there were.
int expect_all_equal(const std::string& name) {
  const Hdf5File file(fixture(name));
  const auto bytes = std::make_shared<const ReadOnlyFile>(file.path());
  int count = 0;
  for (const Hdf5Array& array : file.arrays()) {
    if (array.shape != kShape) continue;
    ++count;
    SCOPED_TRACE(name + ": " + array.name);
    const std::vector<std::byte> all = expected(array);
    const Hdf5RowReader reader(file, array, bytes);
    const std::size_t row = array.row_bytes();
    for (std::int64_t begin = 0; begin <= 11; ++begin) {
      for (std::int64_t end = begin; end <= 11; ++end) {
        const std::vector<std::byte> found = read(reader, begin, end);
        EXPECT_TRUE(std::equal(found.begin(), found.end(), all.begin() + static_cast<std::ptrdiff_t>(begin * row)))
            << "rows " << begin << " to " << end;
      }
    }
    reader.expect(0, 11);
    reader.expect(5, 5);
    // The library has no lzf.
    if (array.name.find("lzf") != std::string::npos) continue;
    EXPECT_EQ(file.read(array.name), all);
  }
  return count;
}

TEST(Hdf5Fixtures, H5pyFilesOfTheOldestFormat) { EXPECT_EQ(expect_all_equal("h5py.h5"), 78); }
TEST(Hdf5Fixtures, H5pyFilesOfTheFormatOf110) { EXPECT_EQ(expect_all_equal("h5py-v110.h5"), 79); }
TEST(Hdf5Fixtures, Matlab) { EXPECT_EQ(expect_all_equal("matlab.mat"), 5); }
TEST(Hdf5Fixtures, AUserBlockBeforeTheFile) { EXPECT_EQ(expect_all_equal("user-block.h5"), 5); }
TEST(Hdf5Fixtures, NetCdf4) { EXPECT_EQ(expect_all_equal("netcdf.nc"), 6); }

TEST(Hdf5Fixtures, WhatIsNotReadSaysWhy) {
  const Hdf5File file(fixture("h5py.h5"));
  EXPECT_NE(file.unreadable().at("unread/texts").find("texts are not numbers"), std::string::npos);
  EXPECT_NE(file.unreadable().at("unread/complex").find("complex numbers"), std::string::npos);
  const Hdf5RowReader reader(file, file.array("unread/too_large"),
                             std::make_shared<const ReadOnlyFile>(file.path()));
  EXPECT_NO_THROW(read(reader, 0, 1));
  try {
    read(reader, 0, 2);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("array \"unread/too_large\", row 1: a value is 2^63 or more"),
              std::string::npos)
        << error.what();
  }
}

TEST(Hdf5Fixtures, ManyThreadsReadOneFile) {
  const Hdf5File file(fixture("h5py-v110.h5"));
  const auto bytes = std::make_shared<const ReadOnlyFile>(file.path());
  for (const char* name : {"shuffle_gzip_fletcher32/f32", "scaleoffset/i32", "contiguous/i16_big"}) {
    const Hdf5RowReader reader(file, file.array(name), bytes);
    const std::vector<std::byte> all = expected(file.array(name));
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int round = 0; round < 50; ++round) {
          const std::int64_t begin = (round + t) % 11;
          const auto found = read(reader, begin, 11);
          wrong += !std::equal(found.begin(), found.end(),
                               all.begin() + static_cast<std::ptrdiff_t>(begin * reader.array().row_bytes()));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0) << name;
  }
}

}  // namespace
}  // namespace lockstep
