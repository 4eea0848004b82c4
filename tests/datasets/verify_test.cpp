// What verification says of good and of damaged datasets.
#include "datasets/verify.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "core/base/file.h"
#include "core/base/hash.h"
#include "datasets/dataset.h"
#include "tests/datasets/shards.h"

namespace lockstep {
namespace {

class Verify : public ::testing::Test {
 protected:
  // A shard of `rows` rows: x f32(3), y i32; the chunks are compressed and have checksums.
  std::string shard(const std::string& name, std::vector<float> x, std::vector<std::int32_t> y, bool with_digest = true) const {
    const auto rows = static_cast<std::int64_t>(y.size());
    Hdf5Writer file(folder_.path(name));
    const Hdf5Layout layout{.chunk_rows = 4, .gzip = 4, .checksum = true};
    file.write("x", DType::kF32, {static_cast<std::int64_t>(x.size()) / 3, 3}, x.data(), layout);
    file.write("y", DType::kI32, {rows}, y.data(), layout);
    if (with_digest) {
      file.set_text("x", "xxh3", hex_of(xxh3(std::as_bytes(std::span(x)))));
      file.set_text("y", "xxh3", hex_of(xxh3(std::as_bytes(std::span(y)))));
    }
    file.commit();
    return folder_.path(name);
  }

  std::vector<float> numbers(int rows) const {
    std::vector<float> out;
    for (int i = 0; i < rows * 3; ++i) out.push_back(static_cast<float>(i % 7));
    return out;
  }
  std::vector<std::int32_t> labels(int rows) const {
    std::vector<std::int32_t> out;
    for (int i = 0; i < rows; ++i) out.push_back(i % 3);
    return out;
  }

  TemporaryDirectory folder_;
};

TEST_F(Verify, GoodShardsHaveTheFingerprintOfTheirValues) {
  shard("a-00000-of-00002.h5", numbers(10), labels(10));
  shard("a-00001-of-00002.h5", numbers(6), labels(6));
  double last = 0;
  const VerifyReport report = verify_dataset(
      folder_.path("a-*.h5"), {.target = "y", .classes = 3, .progress = [&](double part) { last = part; }});
  EXPECT_TRUE(report.good()) << report.problems.at(0);
  EXPECT_EQ(report.samples, 16);
  EXPECT_EQ(report.bytes, 16u * 16);
  EXPECT_EQ(report.checksums, 4);
  EXPECT_EQ(last, 1.0);
  const auto dataset = Dataset::open(folder_.path("a-*.h5"));
  EXPECT_EQ(report.fingerprint, hex_of(dataset->fingerprint()));
  EXPECT_EQ(report.fingerprint, hex_of(Dataset::describe({folder_.path("a-*.h5")})->fingerprint_of_values()));
}

// One line with file, array and row for each of several things.
TEST_F(Verify, TellsEveryProblemAndGoesOn) {
  std::vector<float> x = numbers(9);
  x[4] = std::nanf("");
  x[20] = INFINITY;
  std::vector<std::int32_t> y = labels(9);
  y[7] = 5;
  const std::string first = shard("b1.h5", x, y);
  const std::string second = shard("b2.h5", numbers(8), labels(7));
  const std::string third = folder_.path("b3.h5");
  local_files().write_atomic(third, "no HDF5");
  const VerifyReport report = verify_dataset(folder_.path("b*.h5"), {.target = "y", .classes = 3});
  ASSERT_EQ(report.problems.size(), 4u);
  EXPECT_TRUE(report.problems[0].starts_with(third + ": ")) << report.problems[0];
  EXPECT_EQ(report.problems[1], second + ": array \"y\" has 7 samples, array \"x\" has 8; they must be equal");
  EXPECT_EQ(report.problems[2], first + ": array \"x\", row 1: nan (and 1 more), expected finite numbers");
  EXPECT_EQ(report.problems[3], first + ": array \"y\", row 7: label 5, expected whole numbers in [0, 3)");
  EXPECT_EQ(report.fingerprint, "");
}

TEST_F(Verify, NoticesChangedValuesAndDamagedChunks) {
  std::vector<float> x = numbers(8);
  const std::string path = shard("c.h5", x, labels(8));
  {
    Hdf5Writer file(folder_.path("d.h5"));
    const std::string before = hex_of(xxh3(std::as_bytes(std::span(x))));
    x[5] += 1;
    file.write("x", DType::kF32, {8, 3}, x.data());
    file.set_text("x", "xxh3", before);
    file.commit();
  }
  const VerifyReport changed = verify_dataset(folder_.path("d.h5"));
  ASSERT_EQ(changed.problems.size(), 1u);
  EXPECT_NE(changed.problems[0].find("they were changed since"), std::string::npos) << changed.problems[0];

  const Hdf5File file(path);
  std::string bytes = local_files().read(path);
  const Hdf5Storage storage = file.storage(file.array("x"));
  bytes[storage.chunks.at(1).offset + 3] ^= 0x10;
  local_files().write_atomic(path, bytes);
  const VerifyReport damaged = verify_dataset(path);
  ASSERT_EQ(damaged.problems.size(), 1u);
  EXPECT_TRUE(damaged.problems[0].starts_with(path + ": array \"x\", rows [4, 8)")) << damaged.problems[0];
}

TEST_F(Verify, CountsWhatItDoesNotList) {
  for (int i = 0; i < 25; ++i) local_files().write_atomic(folder_.path("e" + std::to_string(100 + i) + ".h5"), "x");
  const VerifyReport report = verify_dataset(folder_.path("e*.h5"));
  EXPECT_EQ(report.problems.size(), VerifyReport::kMostProblems);
  EXPECT_EQ(report.more, 5);
}

TEST_F(Verify, RefusesWhatIsNotThere) {
  EXPECT_NE(message_of([&] { verify_dataset(folder_.path("none.h5")); }), "");
  const std::string path = shard("f.h5", numbers(4), labels(4), false);
  EXPECT_EQ(message_of([&] { verify_dataset(path, {.target = "z"}); }), path + ": no array \"z\"");
  EXPECT_EQ(verify_dataset(path).checksums, 0);
}

}  // namespace
}  // namespace lockstep
