#include "ops/optimizers/optimizer.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "ops/optimizers/update_ops.h"

namespace lockstep {
namespace {

constexpr double kAdamwDecay = 0.01;

bool is_adam(const std::string& kind) {
  return kind == "adam" || kind == "adamw";
}

// What is wrong with an option: its name and what was expected; an empty name where all is well.
struct Complaint {
  std::string key, what;
};

Complaint complaint_about(const OptimizerOptions& options) {
  struct Range {
    const char* key;
    double value, low, high;  // low <= value < high
    const char* expected;
  };
  const double most = HUGE_VAL;
  const Range ranges[] = {
      {"weight_decay", options.weight_decay, 0, most, "a number of 0 or more"},
      {"momentum", options.momentum, 0, 1, "a number in [0, 1)"},
      {"beta_1", options.beta_1, 0, 1, "a number in [0, 1)"},
      {"beta_2", options.beta_2, 0, 1, "a number in [0, 1)"},
      {"rho", options.rho, 0, 1, "a number in [0, 1)"},
      {"epsilon", options.epsilon, 0, most, "a number of 0 or more"},
      {"clip_value", options.clip_value, 0, most, "a number of 0 or more"},
  };
  for (const Range& range : ranges) {
    if (range.value >= range.low && range.value < range.high) continue;
    return {range.key, text("expected ", range.expected, ", found ", range.value)};
  }
  if (options.nesterov && options.momentum == 0) {
    return {"nesterov", "needs a momentum above 0, found 0"};
  }
  return {};
}

// The options of one kind, with its own keys and defaults.
OptimizerOptions read(Settings& table, const std::string& kind) {
  OptimizerOptions options{.kind = kind};
  options.weight_decay = table.real("weight_decay", kind == "adamw" ? kAdamwDecay : 0.0);
  if (kind == "sgd" || kind == "rmsprop") {
    options.momentum = table.real("momentum", options.momentum);
  }
  if (kind == "sgd") options.nesterov = table.boolean("nesterov", options.nesterov);
  if (is_adam(kind)) {
    options.beta_1 = table.real("beta_1", options.beta_1);
    options.beta_2 = table.real("beta_2", options.beta_2);
  }
  if (kind == "rmsprop") {
    options.rho = table.real("rho", options.rho);
    options.centered = table.boolean("centered", options.centered);
  }
  if (kind != "sgd") options.epsilon = table.real("epsilon", options.epsilon);
  const Complaint complaint = complaint_about(options);
  if (!complaint.key.empty()) table.refuse(complaint.key, complaint.what);
  return options;
}

}  // namespace

std::vector<std::string> Optimizer::kinds() {
  return {"sgd", "adam", "adamw", "rmsprop"};
}

std::unique_ptr<Optimizer> Optimizer::make(Settings& train) {
  const Setting* setting = train.find("optimizer");
  const bool is_table =
      setting != nullptr && std::holds_alternative<std::shared_ptr<Settings>>(setting->value);
  OptimizerOptions options;
  if (is_table) {
    Settings& table = train.table("optimizer");
    if (!table.has("type")) table.word("type");  // the error for a missing key
    options = read(table, table.choice("type", kinds(), ""));
  } else {
    Settings defaults;
    options = read(defaults, train.choice("optimizer", kinds(), options.kind));
  }
  options.clip_value = train.real("clip_value", 0.0);
  const Complaint complaint = complaint_about(options);
  if (!complaint.key.empty()) train.refuse(complaint.key, complaint.what);
  return make(options);
}

std::unique_ptr<Optimizer> Optimizer::make(const OptimizerOptions& given) {
  OptimizerOptions options = given;
  const std::vector<std::string> valid = kinds();
  if (std::ranges::find(valid, options.kind) == valid.end()) {
    const std::string nearest = nearest_name(options.kind, valid);
    bad_input("optimizer \"", options.kind, "\" is not known",
              nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?");
  }
  if (options.weight_decay < 0) options.weight_decay = options.kind == "adamw" ? kAdamwDecay : 0.0;
  const Complaint complaint = complaint_about(options);
  check_input(complaint.key.empty(), "optimizer ", options.kind, ": ", complaint.key, ": ",
              complaint.what);
  return std::unique_ptr<Optimizer>(new Optimizer(options));
}

std::vector<std::string> Optimizer::slots() const {
  return slots_of(options_);
}

std::vector<ValueId> Optimizer::build(Graph& graph, ValueId parameters, ValueId gradients,
                                      const std::vector<ValueId>& slots, ValueId learning_rate,
                                      ValueId step, ValueId gradient_scale,
                                      const std::vector<Segment>& decay_segments) const {
  std::vector<ValueId> inputs{parameters, gradients};
  inputs.insert(inputs.end(), slots.begin(), slots.end());
  inputs.insert(inputs.end(), {learning_rate, step, gradient_scale});
  std::vector<Segment> decay;
  if (options_.weight_decay != 0) {
    for (const Segment& segment : decay_segments) {  // neighbours become one
      if (!decay.empty() && decay.back().end == segment.begin) {
        decay.back().end = segment.end;
      } else if (segment.begin != segment.end) {
        decay.push_back(segment);
      }
    }
  }
  std::shared_ptr<const Op> op;
  if (kind() == "sgd") {
    op = std::make_shared<SgdUpdateOp>(options_, std::move(decay));
  } else if (kind() == "rmsprop") {
    op = std::make_shared<RmspropUpdateOp>(options_, std::move(decay));
  } else {
    op = std::make_shared<AdamUpdateOp>(options_, std::move(decay));
  }
  return graph.add_node(op, std::move(inputs), "update/" + graph.value(parameters).name);
}

}  // namespace lockstep
