// log.jsonl line by line, and what the progress line prints when.
#include "launcher/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/base/error.h"
#include "core/base/file.h"
#include "tests/core/temporary_directory.h"
#include "tests/launcher/message.h"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

StepRecord record_of(std::int64_t step, double elapsed) {
  StepRecord record;
  record.step = step;
  record.epoch = 1 + (step - 1) / 10;
  record.loss = 1.0 / static_cast<double>(step);
  record.learning_rate = 0.001;
  record.samples_per_second = 51200.0;
  record.elapsed = elapsed;
  record.seconds = {.data = 0.001, .forward = 0.02, .backward = 0.03, .exchange = 0.004, .update = 0.0005};
  return record;
}

// ---- log.jsonl ----------------------------------------------------------------------------------

class TrainingLogTest : public ::testing::Test {
 protected:
  std::vector<std::string> lines() { return lines_of(local_files().read(path_)); }

  TemporaryDirectory directory_;
  std::string path_ = directory_.path("log.jsonl");
};

TEST_F(TrainingLogTest, AStepIsOneObjectWithAllKeys) {
  const std::vector<NamedNumber> metrics = {{"accuracy", 0.875}, {"odd \"name\"\n", 2.0}};
  StepRecord record = record_of(12, 0.5);
  record.metrics = metrics;
  TrainingLog(path_).step(record);
  ASSERT_EQ(lines().size(), 1u);
  EXPECT_EQ(lines()[0],
            R"({"step":12,"epoch":2,"loss":0.08333333333333333,"learning_rate":0.001,)"
            R"("metrics":{"accuracy":0.875,"odd \"name\"\u000a":2},"samples_per_second":51200,)"
            R"("elapsed":0.5,"seconds":{"data":0.001,"forward":0.02,"backward":0.03,"exchange":0.004,)"
            R"("update":0.0005,"checkpoint":0,"exchange_hidden":0}})");
  EXPECT_EQ(Json::parse(lines()[0])["metrics"]["odd \"name\"\n"], 2.0);
}

TEST_F(TrainingLogTest, AnEvaluationSaysWhatItMeasured) {
  const std::vector<NamedNumber> metrics = {{"loss", 0.25}, {"accuracy", 0.5}};
  TrainingLog(path_).evaluation({.step = 40,
                                 .epoch = 4,
                                 .data = "test",
                                 .metrics = metrics,
                                 .elapsed = 1.5,
                                 .seconds = 0.0234567891});
  ASSERT_EQ(lines().size(), 1u);
  EXPECT_EQ(lines()[0],
            R"({"event":"evaluation","step":40,"epoch":4,"data":"test",)"
            R"("metrics":{"loss":0.25,"accuracy":0.5},"elapsed":1.5,"seconds":0.0234568})");
}

TEST_F(TrainingLogTest, NumbersKeepTheirBits) {
  const double loss = std::nextafter(0.1, 1.0);
  StepRecord record = record_of(1, 0.0);
  record.loss = loss;
  record.learning_rate = 1e-300;
  TrainingLog(path_).step(record);
  EXPECT_EQ(Json::parse(lines()[0])["loss"].get<double>(), loss);
  EXPECT_EQ(Json::parse(lines()[0])["learning_rate"].get<double>(), 1e-300);
}

TEST_F(TrainingLogTest, WhatIsNotFiniteIsNull) {
  StepRecord record = record_of(1, 0.0);
  record.loss = std::numeric_limits<double>::quiet_NaN();
  record.learning_rate = std::numeric_limits<double>::infinity();
  record.samples_per_second = -std::numeric_limits<double>::infinity();
  TrainingLog(path_).step(record);
  const Json line = Json::parse(lines()[0]);
  for (const char* key : {"loss", "learning_rate", "samples_per_second"}) {
    EXPECT_TRUE(line[key].is_null()) << key;
  }
}

TEST_F(TrainingLogTest, ANewLogRemovesTheOldOneAndAResumedOneContinues) {
  {
    TrainingLog log(path_);
    for (int step = 1; step <= 30; ++step) {
      log.step(record_of(step, 0.1 * step));
      if (step % 10 == 0) log.evaluation({.step = step, .epoch = step / 10});
    }
  }
  ASSERT_EQ(lines().size(), 33u);
  {  // the line that a kill tore
    local_files().write_atomic(path_, local_files().read(path_) + R"({"step":31,"epo)");
    TrainingLog log(path_, 20);
    log.step(record_of(21, 0.0));
  }
  const auto kept = lines();
  ASSERT_EQ(kept.size(), 23u);
  EXPECT_EQ(Json::parse(kept[21])["event"], "evaluation");
  EXPECT_EQ(Json::parse(kept[21])["step"], 20);
  EXPECT_EQ(Json::parse(kept[22])["step"], 21);
  TrainingLog{path_};
  EXPECT_TRUE(lines().empty());
}

TEST_F(TrainingLogTest, AnEvaluationThatIsMadeAgainIsNotThereTwice) {
  {
    TrainingLog log(path_);
    for (const std::int64_t step : {10, 20}) {
      log.step(record_of(step, 0.0));
      log.evaluation({.step = step, .epoch = 1});
    }
  }
  {
    TrainingLog log(path_, 20, true);
    EXPECT_EQ(lines().size(), 4u);
  }
  TrainingLog log(path_, 20, false);
  const auto left = lines();
  ASSERT_EQ(left.size(), 3u);
  EXPECT_EQ(Json::parse(left[1])["event"], "evaluation");
  EXPECT_FALSE(Json::parse(left[2]).contains("event"));
}

TEST_F(TrainingLogTest, AResumedLogMayBeMissing) {
  TrainingLog(path_, 20).step(record_of(21, 0.0));
  EXPECT_EQ(lines().size(), 1u);
}

TEST_F(TrainingLogTest, LinesAreBufferedUntilFlushed) {
  TrainingLog log(path_);
  log.step(record_of(1, 0.0));
  EXPECT_TRUE(lines().empty());
  log.flush();
  EXPECT_EQ(lines().size(), 1u);
  for (int step = 2; step <= 1000; ++step) log.step(record_of(step, 0.0));  // more than the buffer
  EXPECT_GT(lines().size(), 200u);
}

TEST_F(TrainingLogTest, APlaceThatCannotBeWrittenIsNamed) {
  const std::string path = directory_.path("no/log.jsonl");
  EXPECT_EQ(refused([&] { TrainingLog{path}; }),
            path + ": cannot create: No such file or directory");
}

TEST_F(TrainingLogTest, AFullDiskIsAFailureOfTheEnvironment) {
  TrainingLog log("/dev/full");
  log.step(record_of(1, 0.0));
  try {
    log.flush();
    FAIL() << "writing to /dev/full must fail";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kEnvironment);
    EXPECT_STREQ(error.what(), "/dev/full: cannot write: No space left on device");
  }
}

// ---- The progress line --------------------------------------------------------------------------

class ProgressLineTest : public ::testing::Test {
 protected:
  ProgressLineTest() : out_(open_memstream(&text_, &size_)) {}
  ~ProgressLineTest() override {
    std::fclose(out_);
    std::free(text_);
  }

  std::string printed() {
    std::fflush(out_);
    return {text_, size_};
  }

  // 100 steps in ten epochs of one second each, with an evaluation after each epoch.
  void train(ProgressLine& progress) {
    for (int step = 1; step <= 100; ++step) {
      const double elapsed = 0.1 * step;
      progress.step(record_of(step, elapsed));
      if (step % 10 == 0) evaluate(progress, step, elapsed);
    }
  }
  static void evaluate(ProgressLine& progress, int step, double elapsed) {
    const std::vector<NamedNumber> metrics = {{"loss", 0.125}, {"accuracy", 0.96875}};
    progress.evaluation({.step = step, .epoch = step / 10, .metrics = metrics, .elapsed = elapsed});
  }

  char* text_ = nullptr;
  std::size_t size_ = 0;
  std::FILE* out_;
};

constexpr ProgressOptions kPlain{.epochs = 10, .steps = 100};
constexpr ProgressOptions kTerminal{.terminal = true, .width = 120, .epochs = 10, .steps = 100};

TEST_F(ProgressLineTest, PlainLinesAreFew) {
  {
    ProgressLine progress(out_, kPlain);
    train(progress);
  }
  const auto lines = lines_of(printed());
  // The first step, the one after five seconds, ten evaluations.
  ASSERT_EQ(lines.size(), 12u) << printed();
  EXPECT_EQ(lines[0], "epoch  1/10  step   1/100  loss 1  51.2k samples/s");
  EXPECT_EQ(lines[1], "epoch  1/10  step  10/100  test  loss 0.125  accuracy 0.9688");
  EXPECT_EQ(
      lines[6],
      "epoch  6/10  step  51/100  loss 0.01961  51.2k samples/s  0:05 left  data 1%  exchange 4%");
  EXPECT_EQ(lines[11], "epoch 10/10  step 100/100  test  loss 0.125  accuracy 0.9688");
  EXPECT_EQ(printed().find('\r'), std::string::npos);
}

TEST_F(ProgressLineTest, TheFirstMetricIsShown) {
  ProgressLine progress(out_, kPlain);
  const std::vector<NamedNumber> metrics = {{"accuracy", 0.5}, {"f1", 0.25}};
  StepRecord record = record_of(1, 0.0);
  record.metrics = metrics;
  progress.step(record);
  EXPECT_EQ(printed(), "epoch  1/10  step   1/100  loss 1  accuracy 0.5  51.2k samples/s\n");
}

TEST_F(ProgressLineTest, ATerminalLineIsRedrawnTenTimesASecond) {
  ProgressLine progress(out_, kTerminal);
  for (int step = 1; step <= 90; ++step) progress.step(record_of(step, 0.01 * step));
  const std::string text = printed();
  EXPECT_EQ(std::ranges::count(text, '\r'), 9) << text;
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_TRUE(text.ends_with("\x1b[K"));
}

TEST_F(ProgressLineTest, ATerminalLineNeverWraps) {
  for (const int width : {20, 40, 79, 80, 100}) {
    ProgressOptions options = kTerminal;
    options.width = width;
    const std::size_t begin = printed().size();
    ProgressLine progress(out_, options);
    progress.step(record_of(1, 0.0));
    progress.step(record_of(50, 5.0));
    for (std::string line : lines_of(printed().substr(begin))) {
      const std::string last = line.substr(line.rfind('\r') + 1);
      const auto columns = std::ranges::count_if(last, [](char c) { return (c & 0xC0) != 0x80; });
      EXPECT_LT(columns - 3, width) << last;  // without the 3 columns of the escape sequence
      EXPECT_NE(last.find("epoch"), std::string::npos);
    }
  }
}

TEST_F(ProgressLineTest, ANarrowTerminalLosesTheBarFirst) {
  ProgressOptions options = kTerminal;
  options.width = 100;
  ProgressLine progress(out_, options);
  progress.step(record_of(1, 0.0));
  progress.step(record_of(50, 5.0));
  const std::string line =
      "epoch  5/10  step  50/100  loss 0.02  51.2k samples/s  0:06 left  data 0%  "
      "exchange 0%\x1b[K";
  EXPECT_EQ(printed().substr(printed().rfind('\r') + 1), line);
}

TEST_F(ProgressLineTest, OtherLinesDoNotTearTheTerminalLine) {
  ProgressLine progress(out_, kTerminal);
  progress.step(record_of(1, 0.0));
  const std::size_t begin = printed().size();
  progress.note("checkpoint written");
  EXPECT_EQ(printed().substr(begin), "\r\x1b[Kcheckpoint written\n");
  evaluate(progress, 10, 1.0);
  EXPECT_TRUE(
      printed().ends_with("\nepoch  1/10  step  10/100  test  loss 0.125  accuracy 0.9688\n"))
      << printed();
}

TEST_F(ProgressLineTest, FastEvaluationsAreThinnedOutAndTheLastOneIsNot) {
  {
    ProgressLine progress(out_, kPlain);
    for (int step = 10; step <= 90; step += 10) evaluate(progress, step, 1.0 + 0.01 * step);
  }
  const auto lines = lines_of(printed());
  ASSERT_EQ(lines.size(), 4u) << printed();
  EXPECT_TRUE(lines.front().starts_with("epoch  1/10"));
  EXPECT_TRUE(lines.back().starts_with("epoch  9/10"));
}

TEST_F(ProgressLineTest, QuietIsQuiet) {
  for (ProgressOptions options : {kPlain, kTerminal}) {
    options.quiet = true;
    ProgressLine progress(out_, options);
    train(progress);
    progress.note("note");
  }
  EXPECT_EQ(printed(), "");
}

TEST(Numbers, AreShort) {
  EXPECT_EQ(short_number(0.0), "0.00");
  EXPECT_EQ(short_number(9.994), "9.99");
  EXPECT_EQ(short_number(99.94), "99.9");
  EXPECT_EQ(short_number(999.4), "999");
  EXPECT_EQ(short_number(999.6), "1.00k");
  EXPECT_EQ(short_number(12345.0), "12.3k");
  EXPECT_EQ(short_number(4.56e7), "45.6M");
  EXPECT_EQ(short_number(-1500.0), "-1.50k");
  EXPECT_EQ(short_number(7.7e15), "7700T");
}

TEST(Durations, AreRoundedUpToSeconds) {
  EXPECT_EQ(short_duration(0.0), "0:00");
  EXPECT_EQ(short_duration(6.2), "0:07");
  EXPECT_EQ(short_duration(754.0), "12:34");
  EXPECT_EQ(short_duration(3723.0), "1:02:03");
  EXPECT_EQ(short_duration(-1.0), "0:00");
  EXPECT_EQ(short_duration(std::numeric_limits<double>::infinity()), "?");
}

}  // namespace
}  // namespace lockstep
