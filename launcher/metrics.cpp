#include "launcher/metrics.h"

#include <charconv>
#include <functional>

#include "core/base/error.h"
#include "core/base/settings.h"
#include "launcher/metrics/metric_makers.h"

namespace lockstep {
namespace {

// Sets of tasks, as bits.
constexpr unsigned kValues = 1u << unsigned(Task::kRegression);
constexpr unsigned kYesNo = 1u << unsigned(Task::kBinary);
constexpr unsigned kOneOf = 1u << unsigned(Task::kClasses);

struct MetricEntry {
  std::string name;
  unsigned tasks;  // that the metric suits
  Better better;
  std::function<MetricPtr(Task, std::int64_t outputs)> make;
};

// top_K is not in the list: its name holds a number.
const std::vector<MetricEntry>& entries() {
  constexpr unsigned kAny = kValues | kYesNo | kOneOf;
  static const std::vector<MetricEntry> all = {
      {"accuracy", kYesNo | kOneOf, Better::kHigher, make_accuracy},
      {"auc", kYesNo | kOneOf, Better::kHigher, [](Task task, std::int64_t) { return make_auc(task); }},
      {"confusion_matrix", kYesNo | kOneOf, Better::kNeither, make_confusion_matrix},
      {"f1", kYesNo | kOneOf, Better::kHigher, make_f1},
      {"loss", kAny, Better::kLower, [](Task, std::int64_t) { return make_loss(); }},
      {"mae", kValues, Better::kLower, [](Task, std::int64_t outputs) { return make_mae(outputs); }},
      {"perplexity", kOneOf, Better::kLower,
       [](Task, std::int64_t outputs) { return make_perplexity(outputs); }},
      {"precision", kYesNo | kOneOf, Better::kHigher, make_precision},
      {"r2", kValues, Better::kHigher, [](Task, std::int64_t outputs) { return make_r2(outputs); }},
      {"recall", kYesNo | kOneOf, Better::kHigher, make_recall},
      {"rmse", kValues, Better::kLower, [](Task, std::int64_t outputs) { return make_rmse(outputs); }},
  };
  return all;
}

// K of "top_K"; 0 where the name is another one.
std::int64_t top_k_of(const std::string& name) {
  if (!name.starts_with("top_")) return 0;
  std::int64_t k = 0;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + 4, end, k);
  return error == std::errc() && stop == end && k > 0 ? k : 0;
}

std::string task_words(Task task) {
  switch (task) {
    case Task::kRegression:
      return "values (mean_squared_error, mean_absolute_error)";
    case Task::kBinary:
      return "yes or no (binary_cross_entropy)";
    case Task::kClasses:
      break;
  }
  return "classes (softmax_cross_entropy)";
}

std::string suitable_names(Task task) {
  std::string names = task == Task::kClasses ? "top_K" : "";
  for (const MetricEntry& entry : entries()) {
    if ((entry.tasks >> unsigned(task) & 1u) == 0) continue;
    names += (names.empty() ? "" : ", ") + entry.name;
  }
  return names;
}

// The entry of that name; null for top_K. Throws bad_input with the nearest name and `valid`, the list of those that
// would do, where there is no such metric.
const MetricEntry* find_entry(const std::string& name, const std::string& valid) {
  std::vector<std::string> names = {"top_5"};
  for (const MetricEntry& entry : entries()) {
    if (entry.name == name) return &entry;
    names.push_back(entry.name);
  }
  if (top_k_of(name) > 0) return nullptr;
  const std::string nearest = nearest_name(name, names);
  bad_input("metric \"", name, "\" is not known",
            nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?", valid);
}

// The entry of that name; null for top_K. Throws like check_metric.
const MetricEntry* checked_entry(const std::string& name, Task task) {
  const std::string suitable = suitable_names(task);
  const MetricEntry* entry = find_entry(name, "; metrics that suit the loss: " + suitable);
  const unsigned tasks = entry == nullptr ? kOneOf : entry->tasks;
  check_input(tasks >> unsigned(task) & 1u, "metric \"", name, "\" does not suit a loss of ",
              task_words(task), "; metrics that do: ", suitable);
  return entry;
}

MetricPtr make_metric(const std::string& name, Task task, std::int64_t outputs) {
  const MetricEntry* entry = checked_entry(name, task);
  if (entry == nullptr) {
    const std::int64_t k = top_k_of(name);
    check_input(k <= outputs, "metric \"", name, "\" needs at least ", k,
                " classes, the model computes ", outputs);
    return make_top_k(k, outputs);
  }
  if (name == "auc") {
    const std::int64_t expected = task == Task::kBinary ? 1 : 2;
    check_input(outputs == expected, "metric \"auc\" needs ", expected,
                task == Task::kBinary ? " output" : " classes", ", the model computes ", outputs);
  }
  if (name == "confusion_matrix" && task == Task::kBinary) {
    check_input(outputs == 1, "metric \"confusion_matrix\" needs 1 output, the model computes ",
                outputs);
  }
  return entry->make(task, outputs);
}

}  // namespace

void Metric::merge(std::vector<double>& total, std::span<const double> later) const {
  require(total.size() == later.size(), name(), ": states of ", total.size(), " and ", later.size(),
          " numbers do not merge");
  for (std::size_t i = 0; i < total.size(); ++i) total[i] += later[i];
}

Task task_of_loss(const std::string& loss) {
  if (loss == "binary_cross_entropy") return Task::kBinary;
  if (loss == "softmax_cross_entropy") return Task::kClasses;
  return Task::kRegression;
}

std::vector<std::string> default_metrics(Task task) {
  if (task == Task::kRegression) return {"mae", "r2"};
  return {"accuracy"};
}

Better better_values(const std::string& name) {
  const MetricEntry* entry = find_entry(name, "");
  return entry == nullptr ? Better::kHigher : entry->better;
}

void check_metric(const std::string& name, Task task) {
  checked_entry(name, task);
}

std::vector<MetricPtr> make_metrics(const std::vector<std::string>& names, Task task,
                                    std::int64_t outputs) {
  std::vector<MetricPtr> metrics;
  metrics.push_back(make_loss());
  for (const std::string& name : names) {
    if (name != "loss") metrics.push_back(make_metric(name, task, outputs));
  }
  return metrics;
}

}  // namespace lockstep
