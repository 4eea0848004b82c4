// Files that are damaged, cut short, or change while they are read: one line that names the file, and no crash.
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/hdf5/hdf5.h"
#include "core/base/hdf5/trial.h"
#include "datasets/dataset.h"
#include "tests/core/temporary_directory.h"

namespace lockstep {
namespace {

struct Layout {
  const char* name;
  Hdf5Layout layout;
};

const Layout kLayouts[] = {{"contiguous", {}},
                           {"chunks", {.chunk_rows = 8}},
                           {"gzip", {.chunk_rows = 8, .gzip = 6, .shuffle = true}},
                           {"checksum", {.chunk_rows = 8, .gzip = 6, .shuffle = true, .checksum = true}}};

class DamagedFiles : public ::testing::TestWithParam<Layout> {
 protected:
  // 50 rows of 24 numbers and 50 labels.
  std::string write(const std::string& name) const {
    std::vector<float> x;
    std::vector<std::int32_t> y;
    for (int i = 0; i < 50 * 24; ++i) x.push_back(static_cast<float>(i % 97));
    for (int i = 0; i < 50; ++i) y.push_back(i % 10);
    Hdf5Writer file(folder_.path(name));
    file.write("x", DType::kF32, {50, 24}, x.data(), GetParam().layout);
    file.write("y", DType::kI32, {50}, y.data(), GetParam().layout);
    file.set_texts("y", "class_names", {"a", "b", "c"});
    file.commit();
    return folder_.path(name);
  }

  // Every row of every array, in the order of the names.
  static std::vector<std::byte> read_all(const std::string& path) {
    const auto dataset = Dataset::describe({path});
    check_input(dataset->size() <= 1 << 20 && dataset->bytes() <= std::size_t{1} << 24, path, ": is larger than its file");
    std::vector<std::byte> out;
    for (std::size_t a = 0; a < dataset->arrays().size(); ++a) {
      dataset->for_each_block(static_cast<int>(a), [&](std::int64_t, std::int64_t rows, const std::byte* bytes) {
        out.insert(out.end(), bytes, bytes + static_cast<std::size_t>(rows) * dataset->arrays()[a].sample_bytes());
      });
    }
    return out;
  }

  // Reads a damaged file: what it gives; nothing where it is refused, in one line that names it.
  static std::vector<std::byte> read_or_refuse(const std::string& path, const std::string& about) {
    try {
      return read_all(path);
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_NE(error.kind(), ErrorKind::kInvariant) << about << ": " << message;
      EXPECT_TRUE(message.starts_with(path)) << about << ": " << message;
      EXPECT_EQ(message.find('\n'), std::string::npos) << about << ": " << message;
      return {};
    }
  }

  TemporaryDirectory folder_;
};

// Any byte may be wrong. Where the file has checksums of its values, no wrong value is taken for a right one. (What HDF5
// says about the arrays has none in files that old versions read: a type that was changed is another type.)
TEST_P(DamagedFiles, FlippedBytesAreRefusedOrHarmless) {
  const std::string path = write("good.h5"), damaged = folder_.path("damaged.h5");
  const std::string bytes = local_files().read(path);
  const std::vector<std::byte> good = read_all(path);
  std::vector<bool> is_value(bytes.size(), false);
  const Hdf5File file(path);
  for (const Hdf5Array& array : file.arrays()) {
    for (const Hdf5Storage::Chunk& chunk : file.storage(array).chunks) {
      for (std::uint64_t at = 0; at < chunk.bytes; ++at) is_value.at(chunk.offset + at) = true;
    }
  }
  ::testing::internal::CaptureStderr();
  int tried = 0, refused = 0;
  for (std::size_t at = 0; at < bytes.size(); at += is_value[at] ? 7 : 97) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0x5a);
    local_files().write_atomic(damaged, changed);
    const bool none = read_or_refuse(damaged, text("byte ", at)).empty();
    ++tried;
    refused += none;
    if (GetParam().layout.checksum && is_value[at]) {
      EXPECT_TRUE(none) << "byte " << at;
    }
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_GT(tried, 20);
  EXPECT_GT(refused, 0);
}

TEST_P(DamagedFiles, CutFilesAreRefused) {
  const std::string path = write("good.h5"), damaged = folder_.path("cut.h5");
  const std::string bytes = local_files().read(path);
  ::testing::internal::CaptureStderr();
  for (std::size_t size = 0; size < bytes.size(); size += 97) {
    local_files().write_atomic(damaged, bytes.substr(0, size));
    EXPECT_TRUE(read_or_refuse(damaged, text(size, " bytes")).empty()) << size << " bytes of " << bytes.size();
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

// The message of what must fail while rows are read.
std::string failure_of_reading(const Dataset& dataset) {
  Dataset::Scratch scratch;
  std::vector<std::byte> row(24 * sizeof(float));
  try {
    dataset.read(dataset.find("x"), {49, 50}, row.data(), scratch);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST_P(DamagedFiles, ChangesWhileItIsReadAreNoticed) {
  const std::string path = write("changing.h5");
  const auto longer = Dataset::describe({path});
  EXPECT_EQ(failure_of_reading(*longer), "");
  std::ofstream(path, std::ios::app) << "more";
  const std::string message = failure_of_reading(*longer);
  EXPECT_TRUE(message.starts_with(path + ": ")) << message;
  EXPECT_NE(message.find("changed"), std::string::npos) << message;

  const auto shorter = Dataset::describe({write("shorter.h5")});
  ASSERT_EQ(truncate(folder_.path("shorter.h5").c_str(), 100), 0);
  EXPECT_TRUE(failure_of_reading(*shorter).starts_with(folder_.path("shorter.h5") + ": "));
}

// An open file stays readable when its name is gone; the next look at it is refused.
TEST_P(DamagedFiles, VanishedShardIsNamed) {
  write("part-00000-of-00002.h5");
  const std::string second = write("part-00001-of-00002.h5");
  EXPECT_EQ(Dataset::describe({folder_.path("part-*.h5")})->size(), 100);
  std::filesystem::remove(second);
  try {
    Dataset::describe({folder_.path("part-*.h5")});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("part-00001-of-00002.h5"), std::string::npos) << error.what();
  }
}

// Metadata of old formats has no checksums, and the library does not survive all damage to it: a child process finds out.
TEST(DamagedMetadata, EndsAChildProcessOnly) {
  const TemporaryDirectory folder;
  const std::string path = folder.path("damaged.h5");
  const std::string bytes = local_files().read(LOCKSTEP_SOURCE_DIR "/tests/fuzz/corpus/hdf5/contiguous-earliest.h5");
  int refused = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 97) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(~changed[at]);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << changed;
    try {
      try_hdf5({path});
      const Hdf5File file(path);
      file.texts("", "name");
      for (const Hdf5Array& array : file.arrays()) file.texts(array.name, "class_names");
    } catch (const Error& error) {
      ++refused;
      EXPECT_TRUE(std::string(error.what()).starts_with(path)) << at << ": " << error.what();
    }
  }
  EXPECT_GT(refused, 0);
}

TEST(DamagedMetadata, GoodAndMissingFilesPassTheTrial) {
  const TemporaryDirectory folder;
  try_hdf5({});
  try_hdf5({LOCKSTEP_SOURCE_DIR "/tests/fuzz/corpus/hdf5/contiguous-earliest.h5", folder.path("missing.h5")});
}

INSTANTIATE_TEST_SUITE_P(Layouts, DamagedFiles, ::testing::ValuesIn(kLayouts),
                         [](const auto& about) { return std::string(about.param.name); });

}  // namespace
}  // namespace lockstep
