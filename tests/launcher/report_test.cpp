// The report: reading a run directory, and the page of full, empty and broken runs.
#include "launcher/report.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/file.h"
#include "tests/core/temporary_directory.h"
#include "tests/launcher/message.h"

namespace lockstep {
namespace {

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

constexpr const char* kEvaluation = R"({
  "metrics": {"loss": 0.5, "accuracy": 0.75, "auc": null},
  "classes": ["cat", "<dog>"],
  "confusion_matrix": [[3, 1], [0, 4]],
  "roc": [[0, 0], [0.5, 1], [1, 1]],
  "examples": [
    {"target": "cat", "prediction": "cat", "confidence": 0.9,
     "image": {"height": 1, "width": 2, "channels": 1, "pixels": [0, 255]}},
    {"target": "cat", "prediction": "<dog>", "confidence": 0.6, "features": [1.5, null]}
  ]
})";

class ReportTest : public ::testing::Test {
 protected:
  void put(const std::string& name, const std::string& content) {
    local_files().make_directories(path_);
    local_files().write_atomic(path_ + "/" + name, content);
  }
  void put_summary() {
    Summary summary;
    summary.status = "finished";
    summary.world_size = 2;
    summary.device = "cpu";
    summary.samples_per_second = 12345.0;
    summary.evaluation = {{"loss", 0.5}, {"accuracy", 0.75}};
    summary.parameters = 1234567;
    summary.parameters_sha256 = "0123456789abcdef";
    write_summary(path_ + "/summary.json", summary);
  }
  void put_full_run() {
    put("config.toml", "# all\n[run]\nseed = 42 # <i>\n");
    {
      TrainingLog log(path_ + "/log.jsonl");
      for (int step = 1; step <= 40; ++step) {
        const NamedNumber metrics[] = {{"accuracy", 0.5}};
        StepRecord record;
        record.step = step;
        record.loss = step == 7 ? std::nan("") : 1.0 / step;
        record.learning_rate = 0.01;
        record.metrics = metrics;
        record.samples_per_second = 100.0;
        record.seconds = {.data = 0.5, .forward = 1.0};
        log.step(record);
        const NamedNumber measured[] = {{"loss", 0.5}, {"f1", 0.25}};
        if (step % 20 == 0) log.evaluation({.step = step, .metrics = measured});
      }
    }
    put_summary();
    put("evaluation.json", kEvaluation);
  }
  std::string message_for_evaluation(const std::string& content) {
    put("evaluation.json", content);
    const std::string message = refused([&] { read_report_data(path_); });
    const std::string prefix = path_ + "/evaluation.json: ";
    EXPECT_TRUE(message.starts_with(prefix)) << message;
    return message.substr(std::min(prefix.size(), message.size()));
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.path("my-run");
};

TEST_F(ReportTest, ReadsEverythingOfARun) {
  put_full_run();
  const ReportData data = read_report_data(path_);
  EXPECT_EQ(data.name, "my-run");
  EXPECT_EQ(data.logged_steps, 40);
  ASSERT_EQ(data.curves.size(), 3u);
  EXPECT_EQ(data.curves[0].name, "loss");
  EXPECT_EQ(data.curves[0].training.size(), 40u);
  EXPECT_TRUE(std::isnan(data.curves[0].training[6].value));
  EXPECT_EQ(data.curves[0].evaluation.size(), 2u);
  EXPECT_EQ(data.curves[1].name, "accuracy");
  EXPECT_TRUE(data.curves[1].evaluation.empty());
  EXPECT_EQ(data.curves[2].name, "f1");
  EXPECT_EQ(data.curves[2].evaluation[1].step, 40.0);
  EXPECT_EQ(data.learning_rate.size(), 40u);
  EXPECT_DOUBLE_EQ(data.seconds.data, 20.0);
  EXPECT_DOUBLE_EQ(data.seconds.forward, 40.0);
  EXPECT_EQ(data.summary->parameters, 1234567);
  EXPECT_EQ(data.confusion_matrix, (std::vector<std::vector<double>>{{3, 1}, {0, 4}}));
  EXPECT_EQ(data.roc.size(), 3u);
  ASSERT_EQ(data.examples.size(), 2u);
  EXPECT_EQ(data.examples[0].image->pixels, (std::vector<std::uint8_t>{0, 255}));
  EXPECT_EQ(data.examples[1].features.size(), 2u);
}

TEST_F(ReportTest, ThePageShowsItAll) {
  put_full_run();
  const std::string path = write_report(path_);
  EXPECT_EQ(path, path_ + "/report.html");
  const std::string page = local_files().read(path);
  EXPECT_EQ(count(page, "<h1>my-run</h1>"), 1);
  EXPECT_EQ(count(page, "status finished"), 1);
  EXPECT_EQ(count(page, "75.00 <small>%</small>"), 2);  // tile and table
  EXPECT_EQ(count(page, "1,234,567"), 1);
  EXPECT_EQ(count(page, "0123456789ab…"), 1);
  EXPECT_EQ(count(page, "<figure"), 6);  // loss, accuracy, f1, learning rate, rate, ROC
  EXPECT_EQ(count(page, "66.7 %"), 1);   // forward
  EXPECT_EQ(count(page, "title=\"cat predicted as &lt;dog&gt;: 1\""), 1);
  EXPECT_EQ(count(page, "<span class=\"section\">[run]</span>"), 1);
}

TEST_F(ReportTest, ThePageNeedsNothingElseAndEscapesEverything) {
  put_full_run();
  const std::string page = local_files().read(write_report(path_));
  for (const char* part :
       {"<script", "http:", "https:", "<link", "@import", "url(", "<dog>", "<i>"}) {
    EXPECT_EQ(count(page, part), 0) << part;
  }
  EXPECT_EQ(count(page, "&lt;dog&gt;") > 0, true);
  for (const char* element :
       {"div", "table", "tr", "td", "p", "figure", "svg", "dl", "details", "span", "main"}) {
    const std::string name = element;
    EXPECT_EQ(count(page, "<" + name + ">") + count(page, "<" + name + " "),
              count(page, "</" + name + ">"))
        << name;
  }
}

TEST_F(ReportTest, WrongPredictionsComeFirst) {
  ReportData data;
  for (const char* prediction : {"a", "b", "a", "c"}) {
    ReportExample example;
    example.target = "a";
    example.prediction = prediction;
    example.image = ReportImage{1, 1, 3, {1, 2, 3}};
    data.examples.push_back(example);
  }
  const std::string page = report_page(data);
  EXPECT_EQ(count(page, "class=\"example wrong\""), 2);
  EXPECT_EQ(count(page, "class=\"example right\""), 2);
  EXPECT_LT(page.rfind("class=\"example wrong\""), page.find("class=\"example right\""));
  EXPECT_EQ(count(page, "a → b"), 1);
}

TEST_F(ReportTest, AnImageIsABitmap) {
  ReportData data;
  ReportExample example;
  example.image = ReportImage{1, 1, 3, {1, 2, 3}};
  data.examples.push_back(example);
  // "BM", 58 bytes, ..., 1 x 1 pixels of 24 bits, then blue 3, green 2, red 1 and one byte to fill.
  EXPECT_EQ(
      count(report_page(data),
            "data:image/bmp;base64,"
            "Qk06AAAAAAAAADYAAAAoAAAAAQAAAAEAAAABABgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAwIBAA=="),
      1);
}

TEST_F(ReportTest, ARunThatJustBeganHasAPage) {
  put("config.toml", "");
  const std::string page = local_files().read(write_report(path_));
  EXPECT_EQ(count(page, "unfinished</span>"), 1);
  EXPECT_EQ(count(page, "No values were logged."), 1);
  EXPECT_EQ(count(page, "Evaluation</h2>"), 0);
}

TEST_F(ReportTest, OneStepIsEnough) {
  TrainingLog{(local_files().make_directories(path_), path_ + "/log.jsonl")}.step(
      {.step = 1, .loss = 2.0});
  const std::string page = local_files().read(write_report(path_));
  EXPECT_EQ(count(page, "1 logged step;"), 1);
  EXPECT_EQ(count(page, "nan"), 0);
}

TEST_F(ReportTest, ATornLastLineIsPassedOver) {
  put_full_run();
  put("log.jsonl", local_files().read(path_ + "/log.jsonl") + R"({"step":41,"lo)");
  EXPECT_EQ(read_report_data(path_).logged_steps, 40);
}

TEST_F(ReportTest, AFailureIsTold) {
  put("log.jsonl", "");
  write_failure(path_ + "/failure.json", {"environment", 3, 17, "disk <full>"});
  const std::string page = report_page(read_report_data(path_));
  EXPECT_EQ(count(page, "status failed"), 1);
  EXPECT_EQ(count(page, "Failed on rank 3 after step 17 (environment)."), 1);
  EXPECT_EQ(count(page, "disk &lt;full&gt;"), 1);
}

TEST_F(ReportTest, RestartsAreListed) {
  put("log.jsonl", "");
  EXPECT_EQ(count(report_page(read_report_data(path_)), "Restarts</h2>"), 0);
  append_restart(path_ + "/restarts.jsonl", {.time = "2026-11-27T09:07:16Z",
                                             .cause = "rank 3 on <h2> is gone",
                                             .host = "h2",
                                             .rank = 3,
                                             .from_step = 40,
                                             .left_out = {"h2"}});
  append_restart(path_ + "/restarts.jsonl", {.time = "2026-11-27T10:07:16Z", .cause = "exit code 9", .from_step = 0});
  const std::string page = report_page(read_report_data(path_));
  EXPECT_EQ(count(page, "Restarts</h2>"), 1);
  EXPECT_EQ(count(page, "rank 3 on &lt;h2&gt; is gone</td><td>h2</td><td>3</td><td>step 40, without h2</td>"), 1);
  EXPECT_EQ(count(page, "exit code 9</td><td></td><td></td><td>the start</td>"), 1);
}

TEST_F(ReportTest, ARegressionIsDrawnAsPoints) {
  ReportData data;
  data.regression = {{1.0, 1.5}, {2.0, 1.75}, {3.0, std::nan("")}};
  data.examples.resize(1);
  data.examples[0].target = "1.0";
  data.examples[0].prediction = "1.5";
  const std::string page = report_page(data);
  EXPECT_EQ(count(page, "class=\"point training\""), 2);
  EXPECT_EQ(count(page, "Wrong ones first"), 0);
}

TEST_F(ReportTest, ManyClassesAreColoursAndVeryManyAList) {
  for (const std::size_t classes : {30u, 100u}) {
    ReportData data;
    data.confusion_matrix.assign(classes, std::vector<double>(classes, 0.0));
    for (std::size_t i = 0; i < classes; ++i) {
      data.classes.push_back("c" + std::to_string(i));
      data.confusion_matrix[i][i] = 5.0;
    }
    data.confusion_matrix[3][7] = 4.0;
    const std::string page = report_page(data);
    EXPECT_EQ(count(page, "<table class=\"matrix many\">"), classes == 30 ? 1 : 0);
    EXPECT_EQ(count(page, "<b>c3</b> for <b>c7</b> (4)"), 1);
  }
}

TEST_F(ReportTest, TheOutputMayBeElsewhere) {
  put_full_run();
  const std::string path = directory_.path("new/folder/page.html");
  EXPECT_EQ(write_report(path_, path), path);
  EXPECT_TRUE(is_file(path));
  EXPECT_FALSE(is_file(path_ + "/report.html"));
}

TEST_F(ReportTest, WrongFilesAreNamed) {
  EXPECT_EQ(refused([&] { read_report_data(path_); }), path_ + ": there is no such run directory");
  put("log.jsonl", "{\"step\":1}\n");
  EXPECT_TRUE(refused([&] {
                read_report_data(path_);
              }).starts_with(path_ + "/log.jsonl:1: not a line of a training log: "));
  put("log.jsonl", "");
  EXPECT_NE(message_for_evaluation("{"), "");
  EXPECT_NE(message_for_evaluation(R"({"classes": 3})"), "");
  EXPECT_EQ(message_for_evaluation(R"({"confusion_matrix": [[1, 2], [3]]})"),
            "confusion_matrix: expected as many columns as rows");
  EXPECT_EQ(message_for_evaluation(R"({"classes": ["a"], "confusion_matrix": [[1, 2], [3, 4]]})"),
            "confusion_matrix has 2 rows, but there are 1 classes");
  EXPECT_EQ(message_for_evaluation(R"({"regression": {"target": [1], "prediction": []}})"),
            "regression: 1 targets and 0 predictions");
  const std::string image = R"({"examples": [{"target": "a", "prediction": "a", "image": )";
  EXPECT_EQ(message_for_evaluation(
                image + R"({"height": 1, "width": 1, "channels": 2, "pixels": [1, 2]}}]})"),
            "examples: image of 1 x 1 with 2 channels; expected 1 or 3 channels");
  EXPECT_EQ(message_for_evaluation(image +
                                   R"({"height": 1, "width": 2, "channels": 1, "pixels": [1]}}]})"),
            "examples: image has 1 pixel values, expected 2");
  EXPECT_EQ(message_for_evaluation(
                image + R"({"height": 1, "width": 1, "channels": 1, "pixels": [256]}}]})"),
            "examples: pixel 256 is not in [0, 255]");
}

}  // namespace
}  // namespace lockstep
