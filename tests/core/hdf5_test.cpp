// HDF5 files written and read back, and every way in which opening one fails.
#include "core/base/hdf5/hdf5.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <thread>

#include "core/base/bfloat16.h"
#include "core/base/error.h"
#include "core/base/float16.h"
#include "tests/core/temporary_directory.h"

// Read by LeakSanitizer: HDF5 1.10 leaks memory of its own where it refuses a damaged file.
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

namespace lockstep {
namespace {

// The message of the error that `action` throws, "" where it throws none.
template <typename Action>
std::string message_of(const Action& action, ErrorKind kind = ErrorKind::kBadInput) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "";
}

template <typename Value>
std::vector<Value> values_of(const Hdf5File& file, const std::string& name) {
  const std::vector<std::byte> bytes = file.read(name);
  std::vector<Value> out(bytes.size() / sizeof(Value));
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(out.data()));
  return out;
}

template <typename Value>
void expect_round_trip(DType dtype, const std::vector<Value>& values) {
  const TemporaryDirectory directory;
  const Shape shape{static_cast<std::int64_t>(values.size())};
  for (const Hdf5Layout& layout : {Hdf5Layout{}, Hdf5Layout{2, 4, true, true}}) {
    Hdf5Writer writer(directory.path("a.h5"));
    writer.write("x", dtype, shape, values.data(), layout);
    writer.commit();
    const Hdf5File file(directory.path("a.h5"));
    EXPECT_EQ(file.array("x").dtype, dtype);
    EXPECT_EQ(file.array("x").shape, shape);
    const std::vector<Value> found = values_of<Value>(file, "x");
    ASSERT_EQ(found.size(), values.size());
    EXPECT_EQ(std::memcmp(found.data(), values.data(), values.size() * sizeof(Value)), 0)
        << name_of(dtype);
  }
}

TEST(Hdf5, EveryTypeComesBackAsWritten) {
  expect_round_trip<std::uint8_t>(DType::kU8, {0, 7, 255});
  expect_round_trip<std::int8_t>(DType::kI8, {-128, 0, 127});
  expect_round_trip<std::int16_t>(DType::kI16, {-32768, 5, 32767});
  expect_round_trip<std::int32_t>(DType::kI32, {-2147483647, 5, 2147483647});
  expect_round_trip<std::int64_t>(DType::kI64, {-(std::int64_t{1} << 60), 5});
  expect_round_trip<float>(DType::kF32, {-1.5f, 0.1f, 3e38f});
  expect_round_trip<double>(DType::kF64, {-1.5, 0.1, 1e300});
  expect_round_trip<BFloat16>(DType::kBF16, {BFloat16(1.5f), BFloat16(-3e38f)});
  expect_round_trip<Float16>(DType::kF16, {{0x3c00}, {0xc000}, {0x0001}, {0x7bff}});
}

TEST(Hdf5, Float16Converts) {
  EXPECT_EQ(static_cast<float>(Float16{0x3c00}), 1.0f);
  EXPECT_EQ(static_cast<float>(Float16{0xc100}), -2.5f);
  EXPECT_EQ(static_cast<float>(Float16{0x0001}), 0x1p-24f);
  EXPECT_EQ(static_cast<float>(Float16{0x83ff}), -1023 * 0x1p-24f);
  EXPECT_EQ(static_cast<float>(Float16{0x7bff}), 65504.0f);
  EXPECT_EQ(static_cast<float>(Float16{0x7c00}), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(static_cast<float>(Float16{0x7e00})));
}

TEST(Hdf5, ReadsRowsOfAnyRank) {
  const TemporaryDirectory directory;
  std::vector<std::int32_t> values(5 * 2 * 3);
  std::iota(values.begin(), values.end(), 0);
  const double scalar = 2.5;
  Hdf5Writer writer(directory.path("a.h5"));
  writer.create("group/x", DType::kI32, {5, 2, 3}, {.chunk_rows = 2});
  writer.write("group/x", 0, 3, values.data());
  writer.write("group/x", 3, 5, values.data() + 18);
  writer.write("scalar", DType::kF64, {}, &scalar);
  writer.write("nothing", DType::kF32, {0, 4}, nullptr, {.chunk_rows = 8, .gzip = 1});
  writer.commit();

  const Hdf5File file(directory.path("a.h5"));
  ASSERT_EQ(file.arrays().size(), 3u);
  EXPECT_EQ(file.arrays()[0].name, "group/x");
  EXPECT_EQ(file.arrays()[0].chunk, (Shape{2, 2, 3}));
  EXPECT_EQ(file.arrays()[0].row_bytes(), 24u);
  EXPECT_EQ(file.arrays()[1].name, "nothing");
  EXPECT_EQ(values_of<double>(file, "scalar"), std::vector<double>{2.5});
  std::vector<std::int32_t> rows(2 * 6);
  file.read(file.array("group/x"), 2, 4, rows.data());
  EXPECT_EQ(rows, std::vector<std::int32_t>(values.begin() + 12, values.begin() + 24));
  EXPECT_EQ(values_of<float>(file, "nothing").size(), 0u);
  EXPECT_EQ(message_of([&] { file.read(file.array("group/x"), 4, 6, rows.data()); },
                       ErrorKind::kInvariant),
            directory.path("a.h5") + ": rows [4, 6) of array \"group/x\" with 5");
}

TEST(Hdf5, NamesFiltersAndAttributes) {
  const TemporaryDirectory directory;
  const std::vector<float> values(64, 1.0f);
  const std::vector<std::string> many(9000, "a feature name");
  Hdf5Writer writer(directory.path("a.h5"));
  writer.write("x", DType::kF32, {16, 4}, values.data(), {4, 6, true, true});
  writer.set_text("", "source", "somewhere");
  writer.set_texts("x", "features", {"one", "dos", "drei"});
  writer.set_texts("x", "many", many);  // more than the 64 KiB of a small attribute
  writer.set_integer("x", "classes", 10);
  writer.set_real("", "scale", 0.25);
  writer.commit();

  const Hdf5File file(directory.path("a.h5"));
  EXPECT_EQ(file.array("x").filters, (std::vector<std::string>{"shuffle", "gzip 6", "fletcher32"}));
  EXPECT_LT(file.array("x").stored_bytes, 256u);
  EXPECT_EQ(file.text("", "source"), "somewhere");
  EXPECT_EQ(file.texts("x", "features"), (std::vector<std::string>{"one", "dos", "drei"}));
  EXPECT_EQ(file.texts("x", "many"), many);
  EXPECT_EQ(file.integer("x", "classes"), 10);
  EXPECT_EQ(file.real("", "scale"), 0.25);
  EXPECT_EQ(file.real("x", "classes"), 10.0);
  EXPECT_EQ(file.text("", "absent"), std::nullopt);
  EXPECT_EQ(file.integer("", "source"), std::nullopt);
}

TEST(Hdf5, EqualArraysGiveEqualFiles) {
  const TemporaryDirectory directory;
  const auto write = [&](const std::string& name) {
    const float value = 1.0f;
    Hdf5Writer writer(directory.path(name));
    writer.write("x", DType::kF32, {1}, &value);
    writer.set_text("", "source", "somewhere");
    writer.commit();
    return local_files().read(directory.path(name));
  };
  const std::string first = write("a.h5");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // times are stored in seconds
  EXPECT_TRUE(first == write("b.h5"));
}

TEST(Hdf5, WithoutCommitNothingIsLeft) {
  const TemporaryDirectory directory;
  {
    Hdf5Writer writer(directory.path("a.h5"));
    writer.create("x", DType::kF32, {4});
    EXPECT_EQ(list_files(directory.path("")).size(), 1u);
    EXPECT_FALSE(is_file(directory.path("a.h5")));
  }
  EXPECT_TRUE(list_files(directory.path("")).empty());
  EXPECT_NE(message_of([&] { Hdf5Writer(directory.path("none/a.h5")); }), "");
}

class Hdf5Damage : public testing::Test {
 protected:
  Hdf5Damage() : path_(directory_.path("a.h5")) {
    const std::vector<float> values(4096, 1.25f);
    Hdf5Writer writer(path_);
    writer.write("x", DType::kF32, {64, 64}, values.data(), {8, 1, false, true});
    writer.write("images", DType::kF32, {64, 64}, values.data());
    writer.commit();
  }
  std::string open_message() {
    return message_of([&] { Hdf5File file(path_); });
  }

  TemporaryDirectory directory_;
  std::string path_;
};

TEST_F(Hdf5Damage, MissingEmptyDirectoryAndOtherFormats) {
  EXPECT_EQ(message_of([&] { Hdf5File file(directory_.path("b.h5")); }),
            directory_.path("b.h5") + ": no such file");
  EXPECT_EQ(message_of([&] { Hdf5File file(directory_.path(".")); }),
            directory_.path(".") + ": is a directory, expected an HDF5 file");
  local_files().write_atomic(path_, "");
  EXPECT_EQ(open_message(), path_ + ": is empty, expected an HDF5 file");
  local_files().write_atomic(path_, std::string(5000, 'a'));
  EXPECT_EQ(open_message(), path_ + ": is not an HDF5 file (it has no HDF5 signature)");
}

TEST_F(Hdf5Damage, TruncatedAtAnyLength) {
  const std::string bytes = local_files().read(path_);
  for (std::size_t size = 100; size < bytes.size(); size += 997) {
    local_files().write(path_, bytes.substr(0, size));
    const std::string message = open_message();
    EXPECT_NE(message.find("truncated"), std::string::npos) << size << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

// Contiguous arrays only: HDF5 1.10 trusts the filter mask in its index of chunks and copies past
// the end of a compressed chunk that a flipped bit calls uncompressed.
TEST_F(Hdf5Damage, AnyFlippedByteIsReadOrRefusedAsBadInput) {
  const std::vector<float> values(64, 1.25f);
  Hdf5Writer writer(path_);
  writer.write("group/x", DType::kF32, {8, 8}, values.data());
  writer.write("y", DType::kF32, {64}, values.data());
  writer.commit();
  const std::string bytes = local_files().read(path_);
  int refused = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0xff);
    local_files().write(path_, damaged);
    const std::string message = message_of([&] {
      const Hdf5File file(path_);
      for (const Hdf5Array& array : file.arrays()) file.read(array.name);
    });
    EXPECT_EQ(message.find('\n'), std::string::npos);
    refused += message.empty() ? 0 : 1;
  }
  EXPECT_GT(refused, 100);
}

TEST_F(Hdf5Damage, ADamagedChunkNamesFileArrayAndRows) {
  std::string bytes = local_files().read(path_);
  const std::string zlib_start = "\x78\x01";  // of gzip level 1
  std::size_t damaged = 0;
  for (std::size_t at = bytes.find(zlib_start); at != std::string::npos;
       at = bytes.find(zlib_start, at + 1)) {
    bytes[at + 4] = static_cast<char>(bytes[at + 4] ^ 0x55);
    ++damaged;
  }
  ASSERT_GE(damaged, 8u);
  local_files().write_atomic(path_, bytes);
  const Hdf5File file(path_);
  const std::string message = message_of([&] { file.read("x"); });
  EXPECT_TRUE(message.starts_with(path_ + ": array \"x\", rows [0, 64): cannot be read: "))
      << message;
}

TEST_F(Hdf5Damage, AMissingArrayNamesTheNearest) {
  const Hdf5File file(path_);
  EXPECT_EQ(message_of([&] { file.array("image"); }),
            path_ + ": no array \"image\"; did you mean \"images\"?; it has \"images\", \"x\"");
}

TEST_F(Hdf5Damage, ALockedFileSaysWhatToDo) {
  const int held = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(held, 0);
  ASSERT_EQ(::flock(held, LOCK_EX | LOCK_NB), 0);
  const std::string message = open_message();
  ::close(held);
  EXPECT_NE(message.find("locked"), std::string::npos) << message;
  EXPECT_NE(message.find("HDF5_USE_FILE_LOCKING=FALSE"), std::string::npos) << message;
  EXPECT_EQ(open_message(), "");
}

TEST_F(Hdf5Damage, NothingIsPrintedInAnyThread) {
  std::string bytes = local_files().read(path_);
  local_files().write_atomic(path_, bytes.substr(0, 3000));
  testing::internal::CaptureStderr();
  std::thread([&] { EXPECT_NE(open_message(), ""); }).join();
  EXPECT_NE(open_message(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace lockstep
