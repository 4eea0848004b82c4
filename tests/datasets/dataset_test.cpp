// Datasets from one or many shards, and what is refused when one is opened.
#include "datasets/dataset.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "core/base/file.h"
#include "tests/datasets/shards.h"

namespace lockstep {
namespace {

class DatasetTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_.path(name); }

  // Three shards of 3, 1 and 2 samples: x (2, 2) counts up, y is the number of the sample.
  void write_three() {
    std::int64_t first = 0;
    for (const auto& [name, rows] : {std::pair{"a-0.h5", 3}, {"a-1.h5", 1}, {"a-2.h5", 2}}) {
      std::vector<std::uint8_t> x(static_cast<std::size_t>(rows) * 4);
      std::iota(x.begin(), x.end(), static_cast<std::uint8_t>(first * 4));
      std::vector<std::int32_t> y(static_cast<std::size_t>(rows));
      std::iota(y.begin(), y.end(), static_cast<std::int32_t>(first));
      write_shard(path(name), {array_of("x", {rows, 2, 2}, x), array_of("y", {rows}, y)});
      first += rows;
    }
  }

  TemporaryDirectory directory_;
};

TEST_F(DatasetTest, ShardsFollowOneAnother) {
  write_three();
  for (const std::string& source : {path("a-*.h5"), directory_.path("")}) {
    const auto dataset = Dataset::open(source);
    ASSERT_EQ(dataset->size(), 6) << source;
    ASSERT_EQ(dataset->arrays().size(), 2u);
    EXPECT_EQ(dataset->files().size(), 3u);
    const int x = dataset->find("x"), y = dataset->find("y");
    EXPECT_EQ(dataset->arrays()[static_cast<std::size_t>(x)].sample, (Shape{2, 2}));
    EXPECT_EQ(dataset->arrays()[static_cast<std::size_t>(x)].dtype, DType::kU8);
    EXPECT_EQ(dataset->bytes(), 6u * 8u);
    const std::vector<std::int64_t> ids = {4, 0, 5};
    std::vector<float> values(12);
    dataset->gather(x, ids, values.data());
    EXPECT_EQ(values, (std::vector<float>{16, 17, 18, 19, 0, 1, 2, 3, 20, 21, 22, 23}));
    std::vector<std::int32_t> labels(3);
    dataset->gather(y, ids, labels.data());
    EXPECT_EQ(labels, (std::vector<std::int32_t>{4, 0, 5}));
    EXPECT_EQ(dataset->count_classes(y), 6);
    EXPECT_EQ(dataset->place(y, 5), path("a-2.h5") + ": array \"y\", row 1");
    EXPECT_EQ(dataset->place(y, 3), path("a-1.h5") + ": array \"y\", row 0");
  }
}

TEST_F(DatasetTest, AListKeepsItsOrderAndArraysMayBeChosen) {
  write_three();
  const auto dataset = Dataset::open({path("a-2.h5"), path("a-0.h5")}, {.arrays = {"y"}});
  ASSERT_EQ(dataset->arrays().size(), 1u);
  std::vector<float> labels(5);
  const std::vector<std::int64_t> ids = {0, 1, 2, 3, 4};
  dataset->gather(0, ids, labels.data());
  EXPECT_EQ(labels, (std::vector<float>{4, 5, 0, 1, 2}));
  EXPECT_EQ(dataset->find_or_none("x"), -1);
}

TEST_F(DatasetTest, TheFingerprintDoesNotDependOnTheShards) {
  write_three();
  std::vector<std::uint8_t> x(24);
  std::iota(x.begin(), x.end(), std::uint8_t{0});
  const std::vector<std::int32_t> y = {0, 1, 2, 3, 4, 5};
  const auto one = [&] {
    return Dataset::from_memory("m", {array_of("y", {6}, y), array_of("x", {6, 2, 2}, x)});
  };
  EXPECT_EQ(Dataset::open(path("a-*.h5"))->fingerprint(), one()->fingerprint());
  const std::uint64_t before = one()->fingerprint();
  x[7] ^= 1;
  EXPECT_NE(one()->fingerprint(), before);
  x[7] ^= 1;
  EXPECT_NE(
      Dataset::from_memory("m", {array_of("y", {6}, y), array_of("x", {6, 4}, x)})->fingerprint(),
      before);
}

TEST_F(DatasetTest, EveryTypeIsGathered) {
  const std::vector<std::int64_t> ids = {1};
  const auto value_of = [&](MemoryArray array) {
    float out = 0;
    Dataset::from_memory("m", {std::move(array)})->gather(0, ids, &out);
    return out;
  };
  EXPECT_EQ(value_of(array_of<float>("x", {2}, {1, -2.5f})), -2.5f);
  EXPECT_EQ(value_of(array_of<double>("x", {2}, {1, 0.1})), 0.1f);
  EXPECT_EQ(value_of(array_of<std::int64_t>("x", {2}, {1, -7})), -7.0f);
  const std::vector<std::byte> half = {std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0x3c}};
  EXPECT_EQ(value_of({"x", DType::kF16, {2}, half}), 1.0f);
  const std::vector<std::byte> brain = {std::byte{0}, std::byte{0}, std::byte{0x80},
                                        std::byte{0x3f}};
  EXPECT_EQ(value_of({"x", DType::kBF16, {2}, brain}), 1.0f);
}

TEST_F(DatasetTest, RefusesWhatIsNotThere) {
  write_three();
  EXPECT_EQ(message_of([&] { Dataset::open(path("b.h5")); }),
            path("b.h5") + ": no such file or directory");
  EXPECT_EQ(message_of([&] { Dataset::open(path("b-*.h5")); }),
            path("b-*.h5") + ": no file matches this pattern");
  EXPECT_EQ(message_of([&] {
              Dataset::open(path("a-0.h5"), {.arrays = {"x", "z"}});
            }),
            path("a-0.h5") + ": no array \"z\"; did you mean \"x\"?; it has \"x\", \"y\"");
  EXPECT_EQ(message_of([&] { Dataset::open(path("a-0.h5"))->find("yy"); }),
            path("a-0.h5") + ": no array \"yy\"; did you mean \"y\"?; it has \"x\", \"y\"");
  local_files().make_directories(path("empty"));
  EXPECT_EQ(message_of([&] { Dataset::open(path("empty")); }),
            path("empty") + ": no *.h5 or *.hdf5 files in this directory");
  EXPECT_EQ(message_of([&] { Dataset::open("digist"); }),
            "digist: no such file, directory or bundled set; did you mean \"digits\"?; bundled are "
            "\"breast-cancer\", \"diabetes\", \"digits\"");
  EXPECT_EQ(message_of([&] { Dataset::open(std::vector<std::string>{}); }),
            "a dataset without files: expected at least one source");
}

TEST_F(DatasetTest, RefusesAMissingShardOfANumberedSet) {
  for (const char* name : {"t-00000-of-00003.h5", "t-00002-of-00003.h5"}) {
    write_shard(path(name), {array_of<float>("x", {1}, {1})});
  }
  EXPECT_EQ(message_of([&] { Dataset::open(path("t-*.h5")); }),
            path("t-00001-of-00003.h5") + ": shard is missing; found 2 of 3");
  EXPECT_EQ(Dataset::open(path("t-00002-of-00003.h5"))->size(), 1);
}

TEST_F(DatasetTest, RefusesBadFiles) {
  write_three();
  const std::string bytes = local_files().read(path("a-2.h5"));
  local_files().write_atomic(path("a-2.h5"), bytes.substr(0, bytes.size() / 2));
  EXPECT_NE(message_of([&] {
              Dataset::open(path("a-*.h5"));
            }).find(path("a-2.h5") + ": the HDF5 file is truncated"),
            std::string::npos);
  local_files().write_atomic(path("a-2.h5"), "x,y\n1,2\n");
  EXPECT_EQ(message_of([&] { Dataset::open(path("a-*.h5")); }),
            path("a-2.h5") + ": is not an HDF5 file (it has no HDF5 signature)");
}

TEST_F(DatasetTest, RefusesArraysThatDoNotFitTogether) {
  write_shard(path("a.h5"),
              {array_of<float>("x", {3}, {1, 2, 3}), array_of<float>("y", {2}, {1, 2})});
  EXPECT_EQ(message_of([&] { Dataset::open(path("a.h5")); }),
            path("a.h5") + ": array \"y\" has 2 samples, array \"x\" has 3; they must be equal");
  EXPECT_EQ(Dataset::open(path("a.h5"), {.arrays = {"x"}})->size(), 3);

  write_shard(path("b-0.h5"), {array_of<float>("x", {1, 2}, {1, 2})});
  write_shard(path("b-1.h5"), {array_of<double>("x", {1, 2}, {1, 2})});
  EXPECT_EQ(message_of([&] { Dataset::open(path("b-*.h5")); }),
            path("b-1.h5") + ": array \"x\" has f64 samples of (2), in " + path("b-0.h5") +
                " it has f32 samples of (2)");
  write_shard(path("b-1.h5"), {array_of<float>("x", {1, 1, 2}, {1, 2})});
  EXPECT_EQ(message_of([&] { Dataset::open(path("b-*.h5")); }),
            path("b-1.h5") + ": array \"x\" has f32 samples of (1, 2), in " + path("b-0.h5") +
                " it has f32 samples of (2)");

  write_shard(path("c.h5"), {array_of<float>("x", {0, 2}, {})});
  EXPECT_EQ(message_of([&] { Dataset::open(path("c.h5")); }),
            path("c.h5") + ": array \"x\" has no samples");
  write_shard(path("d.h5"), {array_of<float>("x", {}, {1})});
  EXPECT_EQ(message_of([&] { Dataset::open(path("d.h5")); }),
            path("d.h5") + ": has no arrays of samples");
  EXPECT_EQ(message_of([&] { Dataset::open(path("d.h5"), {.arrays = {"x"}}); }),
            path("d.h5") + ": array \"x\" is a single value; expected one row for each sample");
}

TEST_F(DatasetTest, RefusesMoreThanTheMemory) {
  const std::vector<float> values(1 << 20);
  write_shard(path("a.h5"), {array_of("x", {1 << 20}, values)});
  EXPECT_EQ(message_of([&] { Dataset::open(path("a.h5"), {.memory_limit = 1 << 20}); },
                       ErrorKind::kEnvironment),
            path("a.h5") + ": 0.0039 GiB of samples do not fit into 0.0010 GiB of memory");
}

TEST_F(DatasetTest, FindsNaNAndLabelsOutOfRange) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  write_shard(path("a-0.h5"), {array_of<float>("x", {2, 2}, {1, 2, 3, 4}),
                               array_of<std::int32_t>("y", {2}, {0, 9})});
  write_shard(path("a-1.h5"), {array_of<float>("x", {2, 2}, {5, 6, 7, nan}),
                               array_of<std::int32_t>("y", {2}, {10, -1})});
  const auto dataset = Dataset::open(path("a-*.h5"));
  EXPECT_EQ(message_of([&] { dataset->check_finite(dataset->find("x")); }),
            path("a-1.h5") + ": array \"x\", row 1: element 1 is nan, expected a finite number");
  EXPECT_EQ(message_of([&] { dataset->check_labels(dataset->find("y"), 10); }),
            path("a-1.h5") + ": array \"y\", row 0: label 10, expected a whole number in [0, 10)");
  EXPECT_EQ(message_of([&] { dataset->check_labels(dataset->find("y"), 11); }),
            path("a-1.h5") + ": array \"y\", row 1: label -1, expected a whole number in [0, 11)");
  const auto memory = Dataset::from_memory(
      "given", {array_of<float>("x", {2}, {1, infinity}), array_of<float>("y", {2}, {0, 0.5f})});
  EXPECT_EQ(message_of([&] { memory->check_finite(memory->find("x")); }),
            "given: array \"x\", row 1: element 0 is inf, expected a finite number");
  EXPECT_EQ(message_of([&] { memory->check_labels(memory->find("y"), 2); }),
            "given: array \"y\", row 1: label 0.5, expected a whole number in [0, 2)");
}

TEST_F(DatasetTest, ArraysFromMemoryAreCheckedToo) {
  EXPECT_EQ(message_of([] { Dataset::from_memory("m", {}); }), "m: has no arrays of samples");
  EXPECT_EQ(message_of([] {
              Dataset::from_memory("m", {array_of<float>("x", {3}, {1, 2})});
            }),
            "m: array \"x\" of shape (3) needs 12 bytes, found 8");
  EXPECT_EQ(message_of([] {
              Dataset::from_memory(
                  "m", {array_of<float>("x", {2}, {1, 2}), array_of<float>("y", {1}, {1})});
            }),
            "m: array \"y\" has 1 samples, array \"x\" has 2; they must be equal");
  EXPECT_EQ(message_of([] { Dataset::from_memory("m", {array_of<float>("x", {0}, {})}); }),
            "m: array \"x\" has no samples");
}

}  // namespace
}  // namespace lockstep
