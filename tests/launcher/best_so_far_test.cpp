// Following one metric: which evaluation was the best, how long ago, and how that is kept.
#include "launcher/best_so_far.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/launcher/message.h"

namespace lockstep {
namespace {

std::vector<MetricValue> evaluation(double loss, double accuracy) {
  return {{"loss", {}, {loss}}, {"accuracy", {}, {accuracy}}};
}

TEST(BestSoFar, LossesFallAndAccuraciesRise) {
  BestSoFar loss("loss"), accuracy("accuracy");
  EXPECT_TRUE(loss.update(10, evaluation(1.0, 0.5)));
  EXPECT_TRUE(accuracy.update(10, evaluation(1.0, 0.5)));
  EXPECT_TRUE(loss.update(20, evaluation(0.5, 0.25)));
  EXPECT_FALSE(accuracy.update(20, evaluation(0.5, 0.25)));
  EXPECT_FALSE(loss.update(30, evaluation(0.75, 0.75)));
  EXPECT_TRUE(accuracy.update(30, evaluation(0.75, 0.75)));
  EXPECT_EQ(loss.state(), (BestState{"loss", 0.5, 20, 1}));
  EXPECT_EQ(accuracy.state(), (BestState{"accuracy", 0.75, 30, 0}));
}

TEST(BestSoFar, AnEqualValueIsNotBetter) {
  BestSoFar best("accuracy");
  best.update(1, evaluation(0, 0.5));
  EXPECT_FALSE(best.update(2, evaluation(0, 0.5)));
  EXPECT_FALSE(best.update(3, evaluation(0, 0.5)));
  EXPECT_EQ(best.evaluations_since_best(), 2);
  EXPECT_EQ(best.state().step, 1);
}

// As in Keras the bound is that of the last value that counted: small steps add up.
TEST(BestSoFar, MinDeltaIsMeasuredFromTheBest) {
  BestSoFar best("loss", 0.25);
  best.update(1, evaluation(2.0, 0));
  EXPECT_FALSE(best.update(2, evaluation(1.875, 0)));
  EXPECT_FALSE(best.update(3, evaluation(1.75, 0)));  // exactly min_delta
  EXPECT_EQ(best.evaluations_since_best(), 2);
  EXPECT_TRUE(best.update(4, evaluation(1.625, 0)));
  EXPECT_EQ(best.evaluations_since_best(), 0);
  BestSoFar higher("accuracy", 0.25);
  higher.update(1, evaluation(0, 0.5));
  EXPECT_FALSE(higher.update(2, evaluation(0, 0.75)));
  EXPECT_TRUE(higher.update(3, evaluation(0, 0.875)));
}

TEST(BestSoFar, NaNIsNeverTheBest) {
  BestSoFar best("loss");
  EXPECT_FALSE(best.update(1, evaluation(std::nan(""), 0)));
  EXPECT_EQ(best.state().step, -1);
  EXPECT_EQ(best.evaluations_since_best(), 1);
  EXPECT_TRUE(best.update(2, evaluation(3.0, 0)));
  EXPECT_FALSE(best.update(3, evaluation(std::nan(""), 0)));
  EXPECT_EQ(best.state(), (BestState{"loss", 3.0, 2, 1}));
}

TEST(BestSoFar, GoesOnFromAKeptState) {
  BestSoFar whole("loss"), before("loss"), after("loss");
  const double losses[] = {1.0, 0.1, 0.3, 0.2, 0.05, 0.4};
  for (int i = 0; i < 3; ++i) before.update(i, evaluation(losses[i], 0));
  after.resume(best_state_from_json(to_json(before.state())));
  for (int i = 3; i < 6; ++i) after.update(i, evaluation(losses[i], 0));
  for (int i = 0; i < 6; ++i) whole.update(i, evaluation(losses[i], 0));
  EXPECT_EQ(after.state(), whole.state());
  EXPECT_EQ(after.state(), (BestState{"loss", 0.05, 4, 1}));
}

TEST(BestSoFar, BeginsAnewWithAnotherMetric) {
  BestSoFar loss("loss"), accuracy("accuracy");
  loss.update(1, evaluation(0.5, 0.5));
  accuracy.resume(loss.state());
  EXPECT_EQ(accuracy.state(), (BestState{.metric = "accuracy"}));
}

TEST(BestState, JsonKeepsEveryBit) {
  const BestState states[] = {{"loss", 0.1 + 0.2, 7, 2},
                              {"top_5", 1.0 / 3, 1, 0},
                              {"r2", -HUGE_VAL, 3, 1},
                              {"loss", HUGE_VAL, 3, 1},
                              {.metric = "auc", .evaluations = 4}};
  for (const BestState& state : states) {
    EXPECT_EQ(best_state_from_json(to_json(state)), state) << to_json(state);
  }
  EXPECT_EQ(to_json(BestState{"loss", 0.25, 120, 2}),
            R"({"metric":"loss","value":0.25,"step":120,"evaluations":2})");
  EXPECT_EQ(to_json(BestState{.metric = "loss"}), R"({"metric":"loss","value":null,"step":-1,"evaluations":0})");
}

TEST(BestState, RefusesWhatIsNone) {
  for (const char* json : {"", "7", "{}", R"({"metric":"loss","value":"low","step":1,"evaluations":0})",
                           R"({"metric":"loss","value":null,"step":1,"evaluations":0})"}) {
    const auto read = [&] { best_state_from_json(json); };
    EXPECT_NE(refused(read).find("not the state of a metric"), std::string::npos) << json;
  }
}

TEST(BestSoFar, RefusesMetricsWithoutABest) {
  EXPECT_NE(refused([] { BestSoFar best("confusion_matrix"); }).find("no single number"), std::string::npos);
  EXPECT_EQ(refused([] { BestSoFar best("acuracy"); }),
            "metric \"acuracy\" is not known; did you mean \"accuracy\"?");
}

}  // namespace
}  // namespace lockstep
