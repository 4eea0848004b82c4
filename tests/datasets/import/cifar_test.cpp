// CIFAR-10 and CIFAR-100: files and folders, channels last, and files that lie.
#include "datasets/import/cifar.h"

#include <filesystem>

#include "tests/datasets/import/imported.h"

namespace lockstep {
namespace {

// A record: its labels, then a red plane of `red`, one of `red` + 1 and one of `red` + 2.
std::string record(const std::vector<int>& labels, int red) {
  std::string out;
  for (const int label : labels) out += static_cast<char>(label);
  for (int channel = 0; channel < 3; ++channel)
    out += std::string(1024, static_cast<char>(red + channel));
  return out;
}

using CifarTest = ImportTest;

TEST_F(CifarTest, RecordsOfCifar10) {
  std::string content = record({9}, 10) + record({3}, 20);
  content[1 + 1] = 77;  // red of the second pixel of the first row
  const auto source = open(file("a.bin", content));
  ASSERT_EQ(source->arrays().size(), 2u);
  EXPECT_EQ(source->arrays()[0].sample, (Shape{32, 32, 3}));
  EXPECT_EQ(values(*source, 1), (Doubles{9, 3}));
  const Doubles first = values(*source, 0, {0, 1}), second = values(*source, 0, {1, 2});
  EXPECT_EQ(Doubles(first.begin(), first.begin() + 6), (Doubles{10, 11, 12, 77, 11, 12}));
  EXPECT_EQ(Doubles(second.end() - 3, second.end()), (Doubles{20, 21, 22}));
}

TEST_F(CifarTest, FoldersAndNames) {
  for (int batch = 1; batch <= 5; ++batch)
    file(text("data_batch_", batch, ".bin"), record({batch}, batch));
  file("test_batch.bin", record({8}, 1) + record({7}, 2));
  file("batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
  const auto train = open(path(""));
  EXPECT_EQ(values(*train, 1), (Doubles{1, 2, 3, 4, 5}));
  EXPECT_EQ(values(*train, 1, {2, 4}), (Doubles{3, 4}));
  EXPECT_EQ(attribute<Words>(*train, 1, "class_names").size(), 10u);
  EXPECT_EQ(values(*open(path(""), {{"part", "test"}}), 1), (Doubles{8, 7}));
  EXPECT_EQ(values(*open_all({path("data_batch_5.bin"), path("test_batch.bin")}), 1),
            (Doubles{5, 8, 7}));
  EXPECT_STARTS(refused(path("test_batch.bin"), {{"part", "test"}}), "--part chooses among");
  std::filesystem::remove(path("data_batch_4.bin"));
  EXPECT_EQ(refused(path("")), path("data_batch_4.bin") +
                                   ": no such file; expected the folder of "
                                   "CIFAR-10 in its binary version");
}

TEST_F(CifarTest, RecordsOfCifar100) {
  file("train.bin", record({19, 99}, 1) + record({0, 5}, 2));
  const auto source = open(path("train.bin"));
  ASSERT_EQ(source->arrays().size(), 3u);
  EXPECT_EQ(source->arrays()[2].name, "y_coarse");
  EXPECT_EQ(values(*source, 1), (Doubles{99, 5}));
  EXPECT_EQ(values(*source, 2), (Doubles{19, 0}));
  EXPECT_EQ(values(*source, 0, {1, 2})[4], 3);
  EXPECT_EQ(values(*open(path("")), 1), (Doubles{99, 5}));
}

TEST_F(CifarTest, FilesThatLieAreRefused) {
  EXPECT_EQ(refused(file("a.bin", record({1}, 1).substr(0, 3000)), {}, "cifar10"),
            path("a.bin") +
                ": has 3000 bytes, which is no whole number of CIFAR-10 records of 3073 "
                "bytes; is it truncated?");
  EXPECT_EQ(refused(file("a.bin", ""), {}, "cifar10"), path("a.bin") + ": is empty");
  EXPECT_EQ(
      refused(file("a.bin", record({1}, 1) + record({1}, 1) + record({10}, 1)), {}, "cifar10"),
      path("a.bin") + ": record 2: label 10, expected a number below 10; is it a CIFAR-10 file?");
  EXPECT_STARTS(refused(file("a.bin", record({10}, 1))),
                path("a.bin") +
                    ": the format of this file was "
                    "not recognised; name it with --format");
}

}  // namespace
}  // namespace lockstep
