#include "launcher/evaluation_detail.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/base/error.h"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kMostExamples = 32;
constexpr std::int64_t kMostPoints = 500;            // of a scatter plot
constexpr std::int64_t kMostGathered = std::int64_t{1} << 22;  // outputs that are collected at most

// Every sample's prediction, in the order of the subset; equal on all ranks.
struct Outputs {
  std::int64_t samples = 0, elements = 0;
  std::vector<float> values;
  std::span<const float> row(std::int64_t i) const {
    return {values.data() + i * elements, static_cast<std::size_t>(elements)};
  }
};

Outputs merge(const std::vector<std::vector<double>>& by_rank, std::int64_t samples,
              std::int64_t elements) {
  Outputs out{samples, elements, std::vector<float>(samples * elements)};
  for (const std::vector<double>& list : by_rank) {
    for (std::size_t at = 0; at < list.size();) {
      const auto first = static_cast<std::int64_t>(list[at++]);
      const auto count = static_cast<std::int64_t>(list[at++]) * elements;
      for (std::int64_t i = 0; i < count; ++i) {
        out.values[first * elements + i] = static_cast<float>(list[at++]);
      }
    }
  }
  return out;
}

// What a classification says about one sample.
struct Verdict {
  std::int64_t sample = 0, target = 0, prediction = 0;
  double confidence = 0;
};

std::vector<Verdict> verdicts(const Outputs& outputs, const std::vector<std::int32_t>& targets,
                              bool binary) {
  std::vector<Verdict> out;
  for (std::int64_t i = 0; i < outputs.samples; ++i) {
    const auto row = outputs.row(i);
    Verdict verdict{i, targets[i], 0, 0};
    if (binary) {
      const double p = 1.0 / (1.0 + std::exp(-static_cast<double>(row[0])));
      verdict.prediction = row[0] > 0 ? 1 : 0;
      verdict.confidence = std::max(p, 1 - p);
    } else {
      verdict.prediction = std::ranges::max_element(row) - row.begin();
      verdict.confidence = softmax_of(row)[verdict.prediction];
    }
    out.push_back(verdict);
  }
  return out;
}

Json image_of(const Training& training, const Subset& subset, std::int64_t position, float scale) {
  const ModelInput& input = training.data().model_inputs.front();
  std::vector<float> pixels(input.sample.elements());
  const int array = subset.dataset->find(input.name);
  subset.dataset->gather(array, {{subset.ids[position]}}, pixels.data());
  std::vector<int> bytes;
  for (const float pixel : pixels) {
    bytes.push_back(static_cast<int>(std::clamp(pixel * scale, 0.0f, 255.0f)));
  }
  return {{"height", input.sample[0]}, {"width", input.sample[1]}, {"channels", input.sample[2]},
          {"pixels", bytes}};
}

// 255 over the largest value of the first samples: images are shown at full contrast.
float image_scale(const Training& training, const Subset& subset) {
  const ModelInput& input = training.data().model_inputs.front();
  const int array = subset.dataset->find(input.name);
  const std::int64_t count = std::min<std::int64_t>(subset.size(), 256);
  std::vector<float> pixels(count * input.sample.elements());
  subset.dataset->gather(array, {subset.ids.data(), static_cast<std::size_t>(count)}, pixels.data());
  const float largest = pixels.empty() ? 0 : *std::ranges::max_element(pixels);
  return largest > 0 ? 255.0f / largest : 1.0f;
}

bool is_image(const Shape& sample) {
  return sample.rank() == 3 && (sample[2] == 1 || sample[2] == 3);
}

Json example_input(const Training& training, const Subset& subset, std::int64_t position, float scale) {
  const ModelInput& input = training.data().model_inputs.front();
  if (is_image(input.sample)) return {{"image", image_of(training, subset, position, scale)}};
  constexpr std::int64_t kMostFeatures = 12;
  std::vector<float> features(input.sample.elements());
  subset.dataset->gather(subset.dataset->find(input.name), {{subset.ids[position]}}, features.data());
  features.resize(std::min<std::size_t>(features.size(), kMostFeatures));
  return {{"features", features}};
}

std::string class_name(const Training& training, std::int64_t label) {
  const auto& names = training.data().record.class_names;
  return label < static_cast<std::int64_t>(names.size()) ? names[label] : std::to_string(label);
}

// Wrong predictions first, the surest of them at the top; then right ones, the least sure first.
void add_examples(Json& json, const Training& training, const Subset& subset,
                  std::vector<Verdict> list) {
  std::ranges::stable_sort(list, [](const Verdict& a, const Verdict& b) {
    const bool a_wrong = a.target != a.prediction, b_wrong = b.target != b.prediction;
    if (a_wrong != b_wrong) return a_wrong;
    return a_wrong ? a.confidence > b.confidence : a.confidence < b.confidence;
  });
  list.resize(std::min<std::size_t>(list.size(), kMostExamples));
  const ModelInput& input = training.data().model_inputs.front();
  const float scale = is_image(input.sample) ? image_scale(training, subset) : 1.0f;
  for (const Verdict& verdict : list) {
    Json example = example_input(training, subset, verdict.sample, scale);
    example["target"] = class_name(training, verdict.target);
    example["prediction"] = class_name(training, verdict.prediction);
    example["confidence"] = verdict.confidence;
    json["examples"].push_back(std::move(example));
  }
}

// The points of the ROC curve where the threshold passes a score; at most kMostPoints of them.
Json roc_of(const Outputs& outputs, const std::vector<std::int32_t>& targets) {
  std::vector<std::pair<float, int>> scores;
  double positives = 0;
  for (std::int64_t i = 0; i < outputs.samples; ++i) {
    scores.emplace_back(outputs.values[i], targets[i]);
    positives += targets[i];
  }
  const double negatives = static_cast<double>(scores.size()) - positives;
  if (positives == 0 || negatives == 0) return Json::array();
  std::ranges::sort(scores, std::greater<>{});
  Json points = Json::array({{0.0, 0.0}});
  double hits = 0, alarms = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    (scores[i].second == 1 ? hits : alarms) += 1;
    const bool tied = i + 1 < scores.size() && scores[i + 1].first == scores[i].first;
    if (tied || (i % (scores.size() / kMostPoints + 1) != 0 && i + 1 != scores.size())) continue;
    points.push_back({alarms / negatives, hits / positives});
  }
  return points;
}

void add_metrics(Json& json, const std::vector<MetricValue>& values) {
  for (const MetricValue& value : values) {
    if (value.shape.rank() == 0) json["metrics"][value.name] = value.values[0];
    if (value.name != "confusion_matrix") continue;
    for (std::int64_t row = 0; row < value.shape[0]; ++row) {
      Json line = Json::array();
      for (std::int64_t column = 0; column < value.shape[1]; ++column) {
        line.push_back(static_cast<std::int64_t>(value.values[row * value.shape[1] + column]));
      }
      json["confusion_matrix"].push_back(line);
    }
  }
}

}  // namespace

std::vector<double> softmax_of(std::span<const float> logits) {
  const double largest = *std::ranges::max_element(logits);
  std::vector<double> out;
  double sum = 0;
  for (const float logit : logits) {
    out.push_back(std::exp(static_cast<double>(logit) - largest));
    sum += out.back();
  }
  for (double& p : out) p /= sum;
  return out;
}

EvaluationDetail evaluate_in_detail(Training& training, const Subset& subset,
                                    const std::function<bool()>& keep_going) {
  const Task task = task_of_loss(training.config().train.loss->kind());
  const std::int64_t elements = training.compiler().output_sample().elements();
  const bool classes = task == Task::kClasses && elements == training.classes();
  const bool binary = task == Task::kBinary && elements == 1;
  const bool collect = subset.size() * elements <= kMostGathered &&
                       (classes || binary || (task == Task::kRegression && elements == 1));

  std::vector<std::string> names = training.config().evaluate.metrics;
  const std::size_t asked = names.size();
  const bool add_matrix = (classes || binary) && std::ranges::find(names, "confusion_matrix") == names.end();
  if (add_matrix) names.push_back("confusion_matrix");
  std::vector<double> mine;
  EvaluationDetail detail;
  const auto outputs_of = [&](std::int64_t first, std::int64_t samples, const float* outputs) {
    if (!collect) return;
    mine.push_back(static_cast<double>(first));
    mine.push_back(static_cast<double>(samples));
    mine.insert(mine.end(), outputs, outputs + samples * elements);
  };
  detail.metrics =
      training.evaluate(subset, {.names = names, .outputs_of = outputs_of, .keep_going = keep_going});
  if (detail.metrics.empty()) return detail;
  Json json;
  add_metrics(json, detail.metrics);
  if (add_matrix) detail.metrics.pop_back();
  require(detail.metrics.size() >= asked, "evaluation: a metric is missing");
  if (collect) {
    const Outputs outputs =
        merge(gather_doubles(training.worker().communicator(), mine, "evaluation"), subset.size(), elements);
    const int array = subset.dataset->find(training.config().data.target);
    if (classes || binary) {
      std::vector<std::int32_t> targets(subset.size());
      subset.dataset->gather(array, subset.ids, targets.data());
      for (std::int64_t c = 0; c < (binary ? 2 : training.classes()); ++c) {
        json["classes"].push_back(class_name(training, c));
      }
      if (binary) json["roc"] = roc_of(outputs, targets);
      add_examples(json, training, subset, verdicts(outputs, targets, binary));
    } else {
      std::vector<float> targets(subset.size());
      subset.dataset->gather(array, subset.ids, targets.data());
      const std::int64_t count = std::min(subset.size(), kMostPoints);
      json["regression"]["target"] = std::vector<float>(targets.begin(), targets.begin() + count);
      json["regression"]["prediction"] =
          std::vector<float>(outputs.values.begin(), outputs.values.begin() + count);
    }
  }
  detail.json = json.dump(1) + "\n";
  return detail;
}

}  // namespace lockstep
