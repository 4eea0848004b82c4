#include "launcher/report.h"

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/file.h"
#include "launcher/run_directory.h"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;

// null stands for a number that is not finite.
double number(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

double number_at(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? 0.0 : number(*found);
}

// ---- log.jsonl ----------------------------------------------------------------------------------

ReportCurve& curve_of(ReportData& data, const std::string& name) {
  for (ReportCurve& curve : data.curves) {
    if (curve.name == name) return curve;
  }
  return data.curves.emplace_back(ReportCurve{name, {}, {}});
}

void add_seconds(PhaseSeconds& sum, const Json& seconds) {
  sum.data += number_at(seconds, "data");
  sum.forward += number_at(seconds, "forward");
  sum.backward += number_at(seconds, "backward");
  sum.exchange += number_at(seconds, "exchange");
  sum.update += number_at(seconds, "update");
  sum.checkpoint += number_at(seconds, "checkpoint");
  sum.exchange_hidden += number_at(seconds, "exchange_hidden");
}

// A run that goes on with other workers begins anew.
void add_workers(ReportData& data, const Json& line) {
  const Json& workers = line.at("workers");
  if (data.workers.size() != workers.size()) data.workers.assign(workers.size(), {});
  for (std::size_t rank = 0; rank < workers.size(); ++rank) {
    data.workers[rank].host = workers[rank].at("host").get<std::string>();
    add_seconds(data.workers[rank].seconds, workers[rank]);
  }
}

void add_step(ReportData& data, const Json& line) {
  const double step = line.at("step").get<double>();
  curve_of(data, "loss").training.push_back({step, number(line.at("loss"))});
  data.learning_rate.push_back({step, number(line.at("learning_rate"))});
  data.samples_per_second.push_back({step, number(line.at("samples_per_second"))});
  for (const auto& [name, value] : line.at("metrics").items()) {
    curve_of(data, name).training.push_back({step, number(value)});
  }
  const Json& seconds = line.at("seconds");
  add_seconds(data.seconds, seconds);
  ++data.logged_steps;
}

void add_evaluation(ReportData& data, const Json& line) {
  const double step = line.at("step").get<double>();
  for (const auto& [name, value] : line.at("metrics").items()) {
    curve_of(data, name).evaluation.push_back({step, number(value)});
  }
}

void read_log(ReportData& data, const std::string& path) {
  const std::string content = local_files().read(path);
  int line_number = 0;
  for (std::size_t begin = 0;;) {
    const std::size_t end = content.find('\n', begin);
    if (end == std::string::npos) return;  // a torn line is not read
    ++line_number;
    try {
      const Json line = Json::parse(content.begin() + static_cast<std::ptrdiff_t>(begin),
                                    content.begin() + static_cast<std::ptrdiff_t>(end));
      const auto event = line.find("event");
      if (event == line.end()) {
        add_step(data, line);
      } else if (*event == "evaluation") {
        add_evaluation(data, line);
      } else if (*event == "workers") {
        add_workers(data, line);
      }
    } catch (const Json::exception& error) {
      bad_input(path, ":", line_number, ": not a line of a training log: ", error.what());
    }
    begin = end + 1;
  }
}

// ---- evaluation.json ----------------------------------------------------------------------------

// Thrown by the readers below; read_evaluation adds the path.
[[noreturn]] void wrong(const std::string& what) {
  throw Error(ErrorKind::kBadInput, what);
}

ReportImage read_image(const Json& json) {
  ReportImage image;
  image.height = json.at("height").get<std::int64_t>();
  image.width = json.at("width").get<std::int64_t>();
  image.channels = json.at("channels").get<std::int64_t>();
  const std::vector<std::int64_t> pixels = json.at("pixels").get<std::vector<std::int64_t>>();
  constexpr std::int64_t kMostPixels = 4096;  // in each direction
  if (image.height < 1 || image.width < 1 || image.height > kMostPixels ||
      image.width > kMostPixels || (image.channels != 1 && image.channels != 3)) {
    wrong(text("examples: image of ", image.height, " x ", image.width, " with ", image.channels,
               " channels; expected 1 or 3 channels"));
  }
  const auto expected = static_cast<std::size_t>(image.height * image.width * image.channels);
  if (pixels.size() != expected) {
    wrong(text("examples: image has ", pixels.size(), " pixel values, expected ", expected));
  }
  for (const std::int64_t pixel : pixels) {
    if (pixel < 0 || pixel > 255) wrong(text("examples: pixel ", pixel, " is not in [0, 255]"));
    image.pixels.push_back(static_cast<std::uint8_t>(pixel));
  }
  return image;
}

ReportExample read_example(const Json& json) {
  ReportExample example;
  example.target = json.at("target").get<std::string>();
  example.prediction = json.at("prediction").get<std::string>();
  if (json.contains("image")) example.image = read_image(json["image"]);
  if (json.contains("confidence")) example.confidence = number(json["confidence"]);
  if (json.contains("features")) {
    for (const Json& value : json["features"]) example.features.push_back(number(value));
  }
  return example;
}

void read_confusion_matrix(ReportData& data, const Json& json) {
  const std::size_t classes = json.size();
  for (const Json& row : json) {
    if (row.size() != classes) wrong("confusion_matrix: expected as many columns as rows");
    data.confusion_matrix.push_back(row.get<std::vector<double>>());
  }
  if (data.classes.empty()) {
    for (std::size_t i = 0; i < classes; ++i) data.classes.push_back(std::to_string(i));
  }
  if (data.classes.size() != classes) {
    wrong(text("confusion_matrix has ", classes, " rows, but there are ", data.classes.size(),
               " classes"));
  }
}

void read_evaluation(ReportData& data, const Json& json) {
  if (json.contains("metrics")) {
    for (const auto& [name, value] : json["metrics"].items()) {
      if (value.is_number() || value.is_null()) data.metrics.emplace_back(name, number(value));
    }
  }
  if (json.contains("classes")) data.classes = json["classes"].get<std::vector<std::string>>();
  if (json.contains("confusion_matrix")) read_confusion_matrix(data, json["confusion_matrix"]);
  if (json.contains("roc")) {
    for (const Json& point : json["roc"]) {
      data.roc.emplace_back(number(point.at(0)), number(point.at(1)));
    }
  }
  if (json.contains("regression")) {
    const Json& targets = json["regression"].at("target");
    const Json& predictions = json["regression"].at("prediction");
    if (targets.size() != predictions.size()) {
      wrong(text("regression: ", targets.size(), " targets and ", predictions.size(),
                 " predictions"));
    }
    for (std::size_t i = 0; i < targets.size(); ++i) {
      data.regression.emplace_back(number(targets[i]), number(predictions[i]));
    }
  }
  if (json.contains("examples")) {
    for (const Json& example : json["examples"]) data.examples.push_back(read_example(example));
  }
}

void read_evaluation_file(ReportData& data, const std::string& path) {
  try {
    read_evaluation(data, Json::parse(local_files().read(path)));
  } catch (const Json::exception& error) {
    bad_input(path, ": ", error.what());
  } catch (const Error& error) {
    throw Error(error.kind(), path + ": " + error.what());
  }
}

}  // namespace

ReportData read_report_data(const std::string& run_directory) {
  const RunDirectory run = RunDirectory::open(run_directory);
  ReportData data;
  std::error_code ignored;
  const std::filesystem::path path = std::filesystem::weakly_canonical(run.path(), ignored);
  data.name = path.empty() ? run.path() : path.filename().string();
  if (is_file(run.config())) data.config = local_files().read(run.config());
  if (is_file(run.summary())) data.summary = read_summary(run.summary());
  if (is_file(run.failure())) data.failure = read_failure(run.failure());
  data.restarts = read_restarts(run.restarts());
  if (is_file(run.log())) read_log(data, run.log());
  if (is_file(run.evaluation())) read_evaluation_file(data, run.evaluation());
  return data;
}

std::string write_report(const std::string& run_directory, const std::string& output) {
  const std::string page = report_page(read_report_data(run_directory));
  const std::string path = output.empty() ? RunDirectory(run_directory).report() : output;
  check_input(!is_directory(path), path, ": is a directory, expected a file for the page");
  local_files().make_directories(directory_of(path));
  local_files().write_atomic(path, page);
  return path;
}

}  // namespace lockstep
