#include "ops/optimizers/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <span>

#include "core/base/error.h"
#include "tests/ops/schedule_reference.h"

namespace lockstep {
namespace {

Schedule finished(ScheduleOptions options, double steps_per_epoch, std::int64_t total) {
  Schedule schedule(std::move(options));
  schedule.finish(steps_per_epoch, total);
  return schedule;
}

void expect_rates(const Schedule& schedule, std::span<const double> expected) {
  for (std::size_t step = 0; step < expected.size(); ++step) {
    EXPECT_NEAR(schedule.at(static_cast<std::int64_t>(step)), expected[step], 1e-8) << step;
  }
}

TEST(Schedule, AgreesWithPyTorch) {
  expect_rates(finished({.schedule = "step", .initial = 0.4, .gamma = 0.5, .step_size = 3}, 1, 9),
               reference::kStepLR);
  expect_rates(
      finished({.schedule = "step", .initial = 0.4, .gamma = 0.1, .boundaries = {2, 5}}, 1, 9),
      reference::kMultiStepLR);
  expect_rates(finished({.schedule = "cosine", .initial = 0.4, .final = 0.01}, 1, 8),
               reference::kCosine);
  expect_rates(
      finished({.schedule = "linear", .initial = 0.4, .final = 0.1, .decay_steps = 6}, 1, 9),
      reference::kLinear);
  expect_rates(finished({.schedule = "exponential", .initial = 0.4, .gamma = 0.9}, 1, 9),
               reference::kExponential);
}

TEST(Schedule, ConstantIsTheDefault) {
  const Schedule schedule = finished({}, 10, 100);
  EXPECT_EQ(schedule.at(0), 0.001);
  EXPECT_EQ(schedule.at(1'000'000), 0.001);
}

TEST(Schedule, WarmupRisesInEqualSteps) {
  expect_rates(finished({.initial = 0.4, .warmup_steps = 4}, 1, 10),
               std::vector{0.1, 0.2, 0.3, 0.4, 0.4, 0.4});
  expect_rates(finished({.initial = 0.4, .warmup_initial = 0.2, .warmup_epochs = 0.5}, 4, 10),
               std::vector{0.3, 0.4, 0.4});
}

TEST(Schedule, DecayFillsTheRestAfterTheWarmup) {
  const Schedule linear =
      finished({.schedule = "linear", .initial = 1, .final = 0, .warmup_steps = 2}, 1, 6);
  expect_rates(linear, std::vector{0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0});
  const Schedule cosine = finished({.schedule = "cosine", .initial = 1, .warmup_epochs = 1}, 2, 6);
  expect_rates(cosine, std::vector{0.5, 1.0, 1.0, (1 + std::sqrt(0.5)) / 2, 0.5,
                                   (1 - std::sqrt(0.5)) / 2, 0.0, 0.0});
  // A warm-up as long as the training leaves nothing to decay.
  const Schedule all = finished({.schedule = "cosine", .initial = 1, .warmup_steps = 3}, 1, 3);
  expect_rates(all, std::vector{1.0 / 3, 2.0 / 3, 1.0, 0.0});
}

TEST(Schedule, LengthsInEpochs) {
  expect_rates(finished({.schedule = "step", .initial = 1, .boundary_epochs = {1, 1.5}}, 2, 9),
               std::vector{1.0, 1.0, 0.1, 0.01, 0.01});
  expect_rates(finished({.schedule = "step", .initial = 1, .gamma = 0.5, .step_epochs = 1}, 2, 9),
               std::vector{1.0, 1.0, 0.5, 0.5, 0.25});
  expect_rates(finished({.schedule = "linear", .initial = 1, .decay_epochs = 2}, 2, 9),
               std::vector{1.0, 0.75, 0.5, 0.25, 0.0, 0.0});
}

TEST(Schedule, ExponentialMayHaveStairs) {
  ScheduleOptions options{.schedule = "exponential", .initial = 1, .gamma = 0.25};
  expect_rates(finished(options, 2, 9), std::vector{1.0, 0.5, 0.25, 0.125});
  options.staircase = true;
  expect_rates(finished(options, 2, 9), std::vector{1.0, 1.0, 0.25, 0.25, 0.0625});
}

// ---- Settings ----------------------------------------------------------------------------------

Setting table_of(const std::map<std::string, Setting>& settings) {
  auto table = std::make_shared<Settings>("train.learning_rate", "a.toml:5");
  for (const auto& [key, setting] : settings) table->set(key, setting);
  return {table, "a.toml:5"};
}

Schedule made(Setting setting) {
  Settings train("train", "a.toml:3");
  train.set("learning_rate", std::move(setting));
  Schedule schedule = Schedule::make(train);
  train.finish();
  return schedule;
}

std::string error_of(const std::map<std::string, Setting>& settings) {
  try {
    made(table_of(settings));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    return error.what();
  }
  return "no error";
}

TEST(Schedule, IsReadFromSettings) {
  Settings empty("train");
  EXPECT_EQ(Schedule::make(empty).options().initial, 0.001);
  EXPECT_EQ(made({0.05, "a.toml:4"}).options().initial, 0.05);
  const Schedule cosine = made(table_of({{"schedule", {std::string("cosine"), ""}},
                                         {"initial", {0.2, ""}},
                                         {"final", {0.01, ""}},
                                         {"warmup_epochs", {std::int64_t{5}, ""}}}));
  EXPECT_EQ(cosine.options().schedule, "cosine");
  EXPECT_EQ(cosine.options().initial, 0.2);
  EXPECT_EQ(cosine.options().final, 0.01);
  EXPECT_EQ(cosine.options().warmup_epochs, 5);
  const Schedule step = made(table_of({{"schedule", {std::string("step"), ""}},
                                       {"gamma", {0.5, ""}},
                                       {"boundaries", {Setting::List{{3.0, ""}, {7.0, ""}}, ""}}}));
  EXPECT_EQ(step.options().boundaries, (std::vector{3.0, 7.0}));
}

TEST(Schedule, SettingsThatAreRefused) {
  const Setting cosine{std::string("cosine"), "a.toml:6"}, step{std::string("step"), "a.toml:6"};
  EXPECT_EQ(error_of({{"schedule", {std::string("cosin"), "a.toml:6"}}}),
            "a.toml:6: train.learning_rate.schedule: \"cosin\" is not known; did you mean "
            "\"cosine\"?; valid: \"constant\", \"step\", \"cosine\", \"linear\", \"exponential\"");
  EXPECT_EQ(error_of({{"initial", {-1.0, "a.toml:7"}}}),
            "a.toml:7: train.learning_rate.initial: expected a number of 0 or more, found -1");
  EXPECT_EQ(
      error_of({{"schedule", step}}),
      "a.toml:6: train.learning_rate.schedule: \"step\" needs boundaries, boundary_epochs, or "
      "a step_size or step_epochs above 0");
  EXPECT_EQ(error_of({{"schedule", step},
                      {"boundaries", {Setting::List{{5.0, ""}, {5.0, ""}}, "a.toml:8"}}}),
            "a.toml:8: train.learning_rate.boundaries: expected rising numbers of 0 or more");
  EXPECT_EQ(error_of({{"schedule", step},
                      {"boundaries", {Setting::List{{5.0, ""}}, ""}},
                      {"step_size", {2.0, "a.toml:8"}}}),
            "a.toml:8: train.learning_rate.step_size: give this or a list of boundaries, not both");
  EXPECT_EQ(error_of({{"warmup_steps", {5.0, ""}}, {"warmup_epochs", {5.0, "a.toml:9"}}}),
            "a.toml:9: train.learning_rate.warmup_epochs: give this or warmup_steps, not both");
  EXPECT_EQ(error_of({{"schedule", cosine}, {"decay_steps", {0.0, "a.toml:9"}}}),
            "a.toml:9: train.learning_rate.decay_steps: expected a number above 0, found 0");
  EXPECT_EQ(error_of({{"warmup_steps", {-5.0, "a.toml:9"}}}),
            "a.toml:9: train.learning_rate.warmup_steps: expected a number of 0 or more, found -5");
  EXPECT_NE(error_of({{"schedule", cosine}, {"gamma", {0.5, "a.toml:9"}}})
                .find("a.toml:9: train.learning_rate.gamma: unknown key"),
            std::string::npos);
  EXPECT_THROW(Schedule({.schedule = "polynomial"}), Error);
  EXPECT_THROW(Schedule().at(0), Error);  // before finish()
}

}  // namespace
}  // namespace lockstep
