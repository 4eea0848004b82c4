// Spans of all workers in one file of Chrome's trace format, on one clock.
#include "launcher/trace_file.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/file.h"
#include "dist/clock.h"
#include "tests/core/temporary_directory.h"
#include "tests/dist/world_of_threads.h"
#include "tests/launcher/message.h"
#include "tests/launcher/small_training.h"

namespace lockstep {
namespace {

using testing::run_world;
using testing::SmallTraining;
using Json = nlohmann::json;

TEST(Trace, RecordsTheStepsThatWereAskedFor) {
  Trace trace(3, 4);
  const std::int32_t name = trace.name("dense \"a\"");
  EXPECT_EQ(trace.name("dense \"a\""), name);
  for (std::int64_t step = 1; step <= 6; ++step) {
    trace.begin_step(step);
    EXPECT_EQ(trace.recording(), step == 3 || step == 4) << step;
  }
  trace.record(name, Track::kCompute, 2000, 5000);
  trace.record(trace.name("b", "dense_cpu"), Track::kCompute, 5000, 6000);
  const Json events = Json::parse("[" + trace.to_events(7, "rank 7 on \"host\"", 1'000'000) + "]");
  ASSERT_EQ(events.size(), 6u);  // the names of process and tracks, and the spans
  EXPECT_EQ(events[0]["args"]["name"], "rank 7 on \"host\"");
  EXPECT_EQ(events[4]["name"], "dense \"a\"");
  EXPECT_EQ(events[4]["pid"], 7);
  EXPECT_EQ(events[4]["ts"], 1002.0);
  EXPECT_EQ(events[4]["dur"], 3.0);
  EXPECT_FALSE(events[4].contains("args"));
  EXPECT_EQ(events[5]["name"], "b");
  EXPECT_EQ(events[5]["args"]["kernel"], "dense_cpu");
}

TEST(Trace, MemoryIsBounded) {
  Trace trace(1, 1);
  const std::int32_t name = trace.name("x");
  for (std::size_t i = 0; i < Trace::kMostSpans + 3; ++i) trace.record(name, Track::kPhase, 0, 1);
  EXPECT_EQ(trace.dropped(), 3u);
}

TEST(TracedSteps, AreReadOrRefused) {
  EXPECT_EQ(parse_traced_steps("10:20").first, 10);
  EXPECT_EQ(parse_traced_steps("10:20").last, 20);
  EXPECT_EQ(parse_traced_steps("7").last, 7);
  for (const char* const wrong : {"", "0:3", "5:4", "a", "3:", "3-4", "1:2:3"}) {
    EXPECT_TRUE(refused([&] { parse_traced_steps(wrong); }).starts_with("--trace-steps: found '")) << wrong;
  }
}

// One node: one clock. Nodes that are threads of one process have the same clock too, but have to ask.
TEST(ClockShifts, AreNoneOnOneNodeAndSmallBetweenThreads) {
  for (const auto& nodes : {std::vector<int>{0, 0, 0}, std::vector<int>{0, 1, 2}}) {
    run_world(3, [&](std::unique_ptr<Communicator> communicator) {
      const std::vector<std::int64_t> shifts = clock_shifts(*communicator);
      ASSERT_EQ(shifts.size(), 3u);
      for (std::size_t r = 0; r < 3; ++r) {
        if (nodes[r] == 0) {
          EXPECT_EQ(shifts[r], 0);
        }
        EXPECT_LT(std::abs(shifts[r]), 100'000'000) << "a tenth of a second";
      }
    }, 60, nodes);
  }
}

TEST(TraceFile, HasTheStepsOfAllWorkers) {
  TemporaryDirectory folder;
  const std::string path = folder.path("trace.json");
  const std::string toml =
      "[data]\ntrain = \"memory\"\nsplit = 0\n[train]\nepochs = 1\nglobal_batch = 20\nloss = \"softmax_cross_entropy\"\n" +
      testing::layers_of("mlp");
  std::map<std::string, std::int64_t> steps;  // names of the Plan
  run_world(3, [&](std::unique_ptr<Communicator> communicator) {
    const int rank = communicator->rank();
    SmallTraining training(toml, testing::hashed_images(80), std::move(communicator));
    Trace trace(2, 3);
    training->trace_to(&trace);
    for (int step = 0; step < 4; ++step) training->run_step();
    if (rank == 0) {
      for (const Step& step : training->training_plan().steps) ++steps[step.name];
    }
    write_trace(path, trace, training->worker(), {{0, "a", 1, {}}, {1, "b", 1, {}}, {2, "b", 2, {}}});
  });
  const Json file = Json::parse(local_files().read(path));
  std::map<std::string, std::int64_t> seen;
  std::set<std::string> phases;
  std::set<int> workers;
  for (const Json& event : file.at("traceEvents")) {
    if (event["ph"] != "X") continue;
    workers.insert(event["pid"].get<int>());
    EXPECT_GE(event["dur"].get<double>(), 0.0);
    if (event["tid"] == static_cast<int>(Track::kPhase)) phases.insert(event["name"].get<std::string>());
    if (event["tid"] != static_cast<int>(Track::kPhase) && event["pid"] == 0) ++seen[event["name"].get<std::string>()];
  }
  EXPECT_EQ(workers, (std::set<int>{0, 1, 2}));
  for (const char* const phase : {"data", "forward", "backward", "exchange", "update"}) EXPECT_TRUE(phases.contains(phase)) << phase;
  for (auto& [name, count] : steps) count *= 2;  // two steps were traced
  EXPECT_EQ(seen, steps);
}

}  // namespace
}  // namespace lockstep
