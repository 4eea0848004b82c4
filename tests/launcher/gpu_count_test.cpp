#include "launcher/gpu_count.h"

#include <gtest/gtest.h>

#include "core/base/error.h"

namespace lockstep {
namespace {

using Counts = std::vector<std::optional<GpuCount>>;

TEST(GpuCount, IsWrittenAndReadAsOneLine) {
  EXPECT_EQ(to_line({8}), "gpus 8");
  EXPECT_EQ(to_line({0, "no driver"}), "gpus 0 no driver");
  EXPECT_EQ(find_answer("Welcome to h1\ngpus 8\n")->gpus, 8);
  EXPECT_EQ(find_answer("gpus 8\n")->why, "");
  EXPECT_EQ(find_answer("gpus 0 no driver\n")->why, "no driver");
  EXPECT_FALSE(find_answer("lockstep: doctor: unexpected argument '--gpus'\n"));
  EXPECT_FALSE(find_answer("gpus many\ngpus -1\n"));
  EXPECT_FALSE(find_answer(""));
}

TEST(GpuCount, HostsWithoutANumberGetAWorkerForEachGpu) {
  const std::vector<Host> hosts{{"a"}, {"b", 3}, {"c"}, {"d"}};
  const auto counted = with_workers_per_gpu(hosts, {GpuCount{8}, std::nullopt, GpuCount{0, "none"}, std::nullopt}, false);
  EXPECT_EQ(for_mpirun(counted), "a:8,b:3,c:auto,d:auto");
}

TEST(GpuCount, AHostWithoutGpusIsRefusedWhereTheyWereAskedFor) {
  try {
    with_workers_per_gpu({{"a"}, {"b"}}, {GpuCount{8}, GpuCount{0, "no driver"}}, true);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    EXPECT_STREQ(error.what(), "launch: host b has no GPU that can be used: no driver; leave it out, or use --device cpu");
  }
}

TEST(GpuCount, OnlyHostsWithoutANumberAreAsked) {
  EXPECT_EQ(gpus_of({{"a.invalid", 2}, {"b.invalid", 1}}, {}, {}).size(), 2u);  // there is no such host
  const auto here = gpus_of({{"localhost"}}, {}, {});
  ASSERT_TRUE(here.at(0).has_value());
  EXPECT_EQ(here[0]->gpus == 0, !here[0]->why.empty());
}

}  // namespace
}  // namespace lockstep
