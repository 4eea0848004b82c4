// The HTML page of a run: text in, text out. The page is one file with its style and drawings (SVG)
// inside, has no scripts, loads nothing, and follows the light or dark scheme of the reader.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launcher/log.h"
#include "launcher/report_chart.h"
#include "launcher/restart_log.h"
#include "launcher/summary.h"

namespace lockstep {

// A metric over the steps: of the training batches, and of the evaluations.
struct ReportCurve {
  std::string name;
  std::vector<ReportPoint> training, evaluation;
};

struct ReportImage {
  std::int64_t height = 0, width = 0, channels = 0;  // 1 or 3 channels
  std::vector<std::uint8_t> pixels;                  // (height, width, channels)
};

struct ReportExample {
  std::optional<ReportImage> image;
  std::vector<double> features;
  std::string target, prediction;
  std::optional<double> confidence;
};

struct ReportData {
  std::string name;    // of the run
  std::string config;  // TOML
  std::optional<Summary> summary;
  std::optional<Failure> failure;
  std::vector<RestartRecord> restarts;  // oldest first

  std::vector<ReportCurve> curves;  // "loss" first
  std::vector<ReportPoint> learning_rate, samples_per_second;
  PhaseSeconds seconds;  // sums over the logged steps
  std::int64_t logged_steps = 0;
  std::vector<WorkerSeconds> workers;  // by rank, sums over what was logged; empty for one worker

  std::vector<std::pair<std::string, double>> metrics;  // of the last evaluation in detail
  std::vector<std::string> classes;
  std::vector<std::vector<double>> confusion_matrix;  // row = target, column = prediction
  std::vector<std::pair<double, double>> roc;         // false and true positive rate
  std::vector<std::pair<double, double>> regression;  // target and prediction
  std::vector<ReportExample> examples;
};

std::string report_page(const ReportData& data);

}  // namespace lockstep
