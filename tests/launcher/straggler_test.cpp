#include "launcher/straggler.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/base/file.h"
#include "launcher/report.h"
#include "tests/core/temporary_directory.h"

namespace lockstep {
namespace {

PhaseSeconds seconds(double data, double forward, double backward, double exchange) {
  PhaseSeconds out;
  out.data = data;
  out.forward = forward;
  out.backward = backward;
  out.exchange = exchange;
  return out;
}

TEST(Straggler, IsNamedWithItsPhase) {
  const std::vector<PhaseSeconds> workers = {seconds(0.1, 1, 2, 0.9), seconds(0.1, 1.1, 2, 0.8), seconds(0.6, 1.1, 2.3, 0),
                                             seconds(0.1, 1, 2.1, 0.8)};
  const auto found = find_straggler(workers);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->rank, 2);
  EXPECT_EQ(found->phase, "data");
  EXPECT_NEAR(found->seconds, 4.0 - 3.2, 1e-12);
  EXPECT_NEAR(found->share, 0.8 / 4.0, 1e-12);
}

TEST(Straggler, OfTwoIsTheSlower) {
  const std::vector<PhaseSeconds> workers = {seconds(0, 2, 2, 0), seconds(0, 1, 2, 1)};
  const auto found = find_straggler(workers);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->rank, 0);
  EXPECT_EQ(found->phase, "forward");
}

TEST(Straggler, IsNobodyWhereAllAreAboutAsFast) {
  EXPECT_FALSE(find_straggler(std::vector<PhaseSeconds>{seconds(0, 1, 2, 0.2), seconds(0, 1.1, 2, 0.1)}).has_value());
  EXPECT_FALSE(find_straggler(std::vector<PhaseSeconds>{seconds(0, 1, 2, 0)}).has_value());
  EXPECT_FALSE(find_straggler(std::vector<PhaseSeconds>(3)).has_value());
}

TEST(Straggler, StandsInLogAndReport) {
  TemporaryDirectory folder;
  const std::string path = folder.path("log.jsonl");
  const std::vector<WorkerSeconds> workers = {{"a", seconds(0, 1, 2, 0.5)}, {"b", seconds(0, 1.5, 2, 0)}};
  const std::vector<PhaseSeconds> all = {workers[0].seconds, workers[1].seconds};
  const auto slowest = find_straggler(all);
  ASSERT_TRUE(slowest.has_value());
  {
    TrainingLog log(path);
    log.workers(40, workers, &*slowest);
    log.workers(80, workers, nullptr);
    log.flush();
  }
  const std::string lines = local_files().read(path);
  const auto line = nlohmann::json::parse(lines.substr(0, lines.find('\n')));
  EXPECT_EQ(line["event"], "workers");
  EXPECT_EQ(line["step"], 40);
  EXPECT_EQ(line["workers"][1]["host"], "b");
  EXPECT_EQ(line["workers"][1]["forward"], 1.5);
  EXPECT_EQ(line["slowest"]["rank"], 1);
  EXPECT_EQ(line["slowest"]["phase"], "forward");

  const ReportData data = read_report_data(folder.path(""));
  ASSERT_EQ(data.workers.size(), 2u);
  EXPECT_EQ(data.workers[1].seconds.forward, 3.0);  // of both lines
  const std::string page = report_page(data);
  EXPECT_EQ(page.find("Worker 1 on b is slow"), std::string::npos) << "there is no step to show phases of";
  ReportData with_steps = data;
  with_steps.seconds = workers[0].seconds;
  EXPECT_NE(report_page(with_steps).find("Worker 1 on b is slow"), std::string::npos);
}

}  // namespace
}  // namespace lockstep
