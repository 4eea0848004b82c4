#include "launcher/best_so_far.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/base/error.h"

namespace lockstep {

using Json = nlohmann::ordered_json;

std::string to_json(const BestState& state) {
  // JSON has no infinity, which an r2 or a loss may be: as text. NaN is never the best.
  Json value = state.value;
  if (state.step < 0) value = nullptr;
  if (std::isinf(state.value)) value = state.value > 0 ? "inf" : "-inf";
  return Json{{"metric", state.metric},
              {"value", value},
              {"step", state.step},
              {"evaluations", state.evaluations}}
      .dump();
}

BestState best_state_from_json(const std::string& json) {
  try {
    const Json from = Json::parse(json);
    BestState state{.metric = from.at("metric").get<std::string>(),
                    .step = from.at("step").get<std::int64_t>(),
                    .evaluations = from.at("evaluations").get<std::int64_t>()};
    const Json& value = from.at("value");
    const bool infinite = value == "inf" || value == "-inf";
    if (infinite) state.value = value == "inf" ? HUGE_VAL : -HUGE_VAL;
    if (state.step >= 0 && !infinite) state.value = value.get<double>();
    return state;
  } catch (const Json::exception& error) {
    bad_input("not the state of a metric that is followed: ", error.what());
  }
}

BestSoFar::BestSoFar(const std::string& metric, double min_delta)
    : better_(better_values(metric)), min_delta_(min_delta), state_{.metric = metric} {
  check_input(better_ != Better::kNeither, "metric \"", metric,
              "\" is no single number, so none of its values is the best; expected another metric");
}

void BestSoFar::resume(const BestState& state) {
  if (state.metric == state_.metric) state_ = state;
}

bool BestSoFar::is_better(double value) const {
  if (std::isnan(value)) return false;
  if (state_.step < 0) return true;
  return better_ == Better::kHigher ? value > state_.value + min_delta_ : value < state_.value - min_delta_;
}

bool BestSoFar::update(std::int64_t step, const std::vector<MetricValue>& values) {
  const auto found = std::ranges::find(values, state_.metric, &MetricValue::name);
  require(found != values.end(), "metric \"", state_.metric, "\" is followed, but was not evaluated");
  const double value = found->values.at(0);
  if (!is_better(value)) {
    ++state_.evaluations;
    return false;
  }
  state_ = {state_.metric, value, step, 0};
  return true;
}

}  // namespace lockstep
