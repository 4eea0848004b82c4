#include "ops/optimizers/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/error.h"

namespace lockstep {
namespace {

// What is wrong with the options: the key and what was expected; an empty key where all is well.
struct Complaint {
  std::string key, what;
};

Complaint complaint_about(const ScheduleOptions& options) {
  struct Number {
    const char* key;
    double value;
    bool positive;
  };
  const Number numbers[] = {{"initial", options.initial, false},
                            {"final", options.final, false},
                            {"warmup_initial", options.warmup_initial, false},
                            {"gamma", options.gamma, true}};
  for (const Number& number : numbers) {
    if (std::isfinite(number.value) && number.value >= 0 &&
        !(number.positive && number.value == 0)) {
      continue;
    }
    return {number.key, text("expected a number ", number.positive ? "above 0" : "of 0 or more",
                             ", found ", number.value)};
  }
  const struct {
    const char *in_steps, *in_epochs;
    bool both;
  } lengths[] = {
      {"warmup_steps", "warmup_epochs", options.warmup_steps >= 0 && options.warmup_epochs >= 0},
      {"decay_steps", "decay_epochs", options.decay_steps >= 0 && options.decay_epochs >= 0},
      {"step_size", "step_epochs", options.step_size >= 0 && options.step_epochs >= 0},
      {"boundaries", "boundary_epochs",
       !options.boundaries.empty() && !options.boundary_epochs.empty()}};
  for (const auto& length : lengths) {
    if (length.both)
      return {length.in_epochs, text("give this or ", length.in_steps, ", not both")};
  }
  if (options.decay_steps == 0 || options.decay_epochs == 0) {
    return {options.decay_steps == 0 ? "decay_steps" : "decay_epochs",
            "expected a number above 0, found 0"};
  }
  for (const auto& [key, list] : {std::pair("boundaries", &options.boundaries),
                                  std::pair("boundary_epochs", &options.boundary_epochs)}) {
    const bool rising =
        std::adjacent_find(list->begin(), list->end(), std::greater_equal<>()) == list->end();
    if (!rising || (!list->empty() && list->front() < 0)) {
      return {key, "expected rising numbers of 0 or more"};
    }
  }
  if (options.schedule != "step") return {};
  const bool has_list = !options.boundaries.empty() || !options.boundary_epochs.empty();
  const double size = std::max(options.step_size, options.step_epochs);
  if (has_list && size >= 0) {
    return {options.step_size >= 0 ? "step_size" : "step_epochs",
            "give this or a list of boundaries, not both"};
  }
  if (!has_list && !(size > 0)) {
    return {"schedule",
            "\"step\" needs boundaries, boundary_epochs, or a step_size or step_epochs above 0"};
  }
  return {};
}

// A length that must not be negative where it is given; -1 where it is not.
double length(Settings& table, const std::string& key) {
  if (!table.has(key)) {
    table.find(key);  // the key is known
    return -1;
  }
  const double value = table.real(key);
  if (!(value >= 0) || !std::isfinite(value)) {
    table.refuse(key, text("expected a number of 0 or more, found ", value));
  }
  return value;
}

ScheduleOptions read(Settings& table) {
  ScheduleOptions options;
  options.schedule = table.choice("schedule", Schedule::kinds(), options.schedule);
  const std::string& kind = options.schedule;
  const bool decays = kind == "cosine" || kind == "linear" || kind == "exponential";
  options.initial = table.real("initial", options.initial);
  options.warmup_steps = length(table, "warmup_steps");
  options.warmup_epochs = length(table, "warmup_epochs");
  options.warmup_initial = table.real("warmup_initial", options.warmup_initial);
  if (kind == "cosine" || kind == "linear") options.final = table.real("final", options.final);
  if (kind == "step" || kind == "exponential") options.gamma = table.real("gamma", options.gamma);
  if (kind == "exponential") options.staircase = table.boolean("staircase", options.staircase);
  if (decays) {
    options.decay_steps = length(table, "decay_steps");
    options.decay_epochs = length(table, "decay_epochs");
  }
  if (kind == "step") {
    options.step_size = length(table, "step_size");
    options.step_epochs = length(table, "step_epochs");
    if (table.has("boundaries")) options.boundaries = table.real_list("boundaries", {});
    if (table.has("boundary_epochs")) {
      options.boundary_epochs = table.real_list("boundary_epochs", {});
    }
    table.find("boundaries");
    table.find("boundary_epochs");
  }
  const Complaint complaint = complaint_about(options);
  if (!complaint.key.empty()) table.refuse(complaint.key, complaint.what);
  return options;
}

}  // namespace

std::vector<std::string> Schedule::kinds() {
  return {"constant", "step", "cosine", "linear", "exponential"};
}

Schedule Schedule::make(Settings& train) {
  const Setting* setting = train.find("learning_rate");
  if (setting != nullptr && std::holds_alternative<std::shared_ptr<Settings>>(setting->value)) {
    return Schedule(read(train.table("learning_rate")));
  }
  ScheduleOptions options;
  options.initial = train.real("learning_rate", options.initial);
  const Complaint complaint = complaint_about(options);
  if (!complaint.key.empty()) train.refuse("learning_rate", complaint.what);
  return Schedule(options);
}

Schedule::Schedule(ScheduleOptions options) : options_(std::move(options)) {
  const std::vector<std::string> valid = kinds();
  if (std::ranges::find(valid, options_.schedule) == valid.end()) {
    const std::string nearest = nearest_name(options_.schedule, valid);
    bad_input("learning-rate schedule \"", options_.schedule, "\" is not known",
              nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?");
  }
  const Complaint complaint = complaint_about(options_);
  check_input(complaint.key.empty(), "learning_rate: ", complaint.key, ": ", complaint.what);
}

void Schedule::finish(double steps_per_epoch, std::int64_t total_steps) {
  require(steps_per_epoch >= 1 && total_steps >= 1, "a schedule of ", total_steps, " steps, ",
          steps_per_epoch, " an epoch");
  // A length in steps, one in epochs, or the default.
  auto steps = [=](double in_steps, double in_epochs, double fallback) {
    if (in_steps >= 0) return in_steps;
    return in_epochs >= 0 ? in_epochs * steps_per_epoch : fallback;
  };
  warmup_ = steps(options_.warmup_steps, options_.warmup_epochs, 0);
  const double rest = static_cast<double>(total_steps) - warmup_;
  decay_ = steps(options_.decay_steps, options_.decay_epochs,
                 options_.schedule == "exponential" ? steps_per_epoch : rest);
  step_size_ = steps(options_.step_size, options_.step_epochs, 0);
  boundaries_ = options_.boundaries;
  for (const double epochs : options_.boundary_epochs) {
    boundaries_.push_back(epochs * steps_per_epoch);
  }
  finished_ = true;
}

double Schedule::at(std::int64_t step) const {
  require(finished_, "a schedule was asked for a learning rate before finish()");
  const auto now = static_cast<double>(step);
  if (now < warmup_) {
    const double part = std::min(1.0, (now + 1) / warmup_);
    return options_.warmup_initial + (options_.initial - options_.warmup_initial) * part;
  }
  return after_warmup(now);
}

double Schedule::after_warmup(double step) const {
  const std::string& kind = options_.schedule;
  const double rate = options_.initial, last = options_.final;
  if (kind == "constant") return rate;
  if (kind == "step") {
    const double reached =
        boundaries_.empty()
            ? std::floor(step / step_size_)
            : static_cast<double>(std::upper_bound(boundaries_.begin(), boundaries_.end(), step) -
                                  boundaries_.begin());
    return rate * std::pow(options_.gamma, reached);
  }
  // The part of the decay that is done; a decay of no steps is done at once.
  const double done = decay_ > 0 ? (step - warmup_) / decay_ : HUGE_VAL;
  if (kind == "exponential") {
    return rate * std::pow(options_.gamma, options_.staircase ? std::floor(done) : done);
  }
  const double part = std::min(1.0, done);
  if (kind == "linear") return rate + (last - rate) * part;
  return last + (rate - last) * (1 + std::cos(std::numbers::pi * part)) / 2;
}

}  // namespace lockstep
