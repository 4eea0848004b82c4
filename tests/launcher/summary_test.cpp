// summary.json and failure.json: the text, and reading it back.
#include "launcher/summary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/base/file.h"
#include "tests/core/temporary_directory.h"
#include "tests/launcher/message.h"

namespace lockstep {
namespace {

Summary example() {
  Summary summary;
  summary.status = "finished";
  summary.world_size = 2;
  summary.microbatches = 8;
  summary.global_batch = 64;
  summary.device = "cpu";
  summary.steps = 460;
  summary.epochs = 20;
  summary.seconds = 3.5;
  summary.seconds_to_first_step = 0.25;
  summary.samples_per_second = 8192.5;
  summary.peak_rss_bytes = 123456789;
  summary.final_loss = 0.015625;
  summary.evaluation = {{"loss", 0.0625}, {"accuracy", 0.984375}};
  summary.parameters = 34826;
  summary.parameters_sha256 = "abc";
  return summary;
}

constexpr const char* kText = R"({
  "status": "finished",
  "world_size": 2,
  "microbatches": 8,
  "global_batch": 64,
  "device": "cpu",
  "steps": 460,
  "epochs": 20,
  "seconds": 3.5,
  "seconds_to_first_step": 0.25,
  "samples_per_second": 8192.5,
  "peak_rss_bytes": 123456789,
  "final_loss": 0.015625,
  "evaluation": {
    "loss": 0.0625,
    "accuracy": 0.984375
  },
  "parameters": 34826,
  "parameters_sha256": "abc"
}
)";

class SummaryTest : public ::testing::Test {
 protected:
  std::string message(const std::string& content) {
    local_files().write_atomic(path_, content);
    return refused([&] { read_summary(path_); });
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.path("summary.json");
};

TEST_F(SummaryTest, HasTheNamesOfTheDesign) {
  EXPECT_EQ(to_json(example()), kText);
}

TEST_F(SummaryTest, ReadsBackAsItWasWritten) {
  write_summary(path_, example());
  EXPECT_EQ(local_files().read(path_), kText);
  EXPECT_EQ(to_json(read_summary(path_)), kText);
  EXPECT_EQ(list_files(directory_.path(".")), std::vector<std::string>{"summary.json"});
}

TEST_F(SummaryTest, NumbersThatAreNotFiniteAreNull) {
  Summary summary = example();
  summary.final_loss = std::numeric_limits<double>::quiet_NaN();
  summary.evaluation = {{"auc", std::numeric_limits<double>::infinity()}};
  write_summary(path_, summary);
  EXPECT_NE(local_files().read(path_).find("\"final_loss\": null"), std::string::npos);
  EXPECT_TRUE(std::isnan(read_summary(path_).final_loss));
  EXPECT_TRUE(std::isnan(read_summary(path_).evaluation[0].second));
}

TEST_F(SummaryTest, WhatIsNoSummaryIsRefused) {
  EXPECT_TRUE(message("{").starts_with(path_ + ": is not JSON: "));
  EXPECT_EQ(message("[]"), path_ + ": expected a JSON object");
  EXPECT_EQ(message("{}"), path_ + ": status is missing");
  EXPECT_EQ(message(R"({"status": 1})"), path_ + ": status: expected a text, found 1");
  EXPECT_EQ(message(R"({"status": "finished", "world_size": "two"})"),
            path_ + ": world_size: expected an integer, found \"two\"");
  EXPECT_EQ(refused([&] { read_summary(directory_.path("no.json")); }),
            directory_.path("no.json") + ": cannot open: No such file or directory");
}

TEST_F(SummaryTest, AFailureReadsBackAsItWasWritten) {
  const Failure failure{"environment", 3, 120, "rank 3: \"disk\" full"};
  write_failure(path_, failure);
  EXPECT_EQ(local_files().read(path_), R"({
  "kind": "environment",
  "rank": 3,
  "step": 120,
  "message": "rank 3: \"disk\" full"
}
)");
  const Failure found = read_failure(path_);
  EXPECT_EQ(found.kind, failure.kind);
  EXPECT_EQ(found.rank, failure.rank);
  EXPECT_EQ(found.step, failure.step);
  EXPECT_EQ(found.message, failure.message);
}

}  // namespace
}  // namespace lockstep
