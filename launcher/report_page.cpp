#include "launcher/report_page.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "launcher/report_style.h"
#include "launcher/straggler.h"

namespace lockstep {
namespace {

constexpr std::size_t kMostExamples = 48;
constexpr std::size_t kClassesWithNumbers = 20;  // larger confusion matrices are colours only
constexpr std::size_t kClassesAsMatrix = 60;     // larger ones are a list of the worst confusions

template <typename... Parts>
std::string html(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

std::string printed(const char* format, double value) {
  char out[64];
  std::snprintf(out, sizeof(out), format, value);
  return out;
}

std::string counted(std::int64_t count, const std::string& one, const std::string& many) {
  return html(count, " ", count == 1 ? one : many);
}

// "1,234,567"
std::string grouped(std::int64_t value) {
  std::string digits = std::to_string(value);
  for (std::size_t i = digits.size(); i > 3 && digits[i - 4] != '-';) {
    i -= 3;
    digits.insert(i, ",");
  }
  return digits;
}

std::string bytes_text(std::int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024.0 && unit + 1 < std::size(kUnits); ++unit) value /= 1024.0;
  return printed(value >= 100.0 || unit == 0 ? "%.0f" : "%.1f", value) + " <small>" + kUnits[unit] +
         "</small>";
}

std::string seconds_text(double seconds) {
  if (!std::isfinite(seconds)) return "none";
  if (seconds >= 120.0) return short_duration(seconds);
  if (seconds >= 1.0)
    return printed(seconds >= 10.0 ? "%.1f" : "%.2f", seconds) + " <small>s</small>";
  const double milliseconds = 1000.0 * seconds;
  return printed(milliseconds >= 10.0 ? "%.0f" : "%.2g", milliseconds) + " <small>ms</small>";
}

// Whether people read the metric in percent.
bool is_share(const std::string& metric) {
  for (const char* name : {"accuracy", "precision", "recall", "f1"}) {
    if (metric == name) return true;
  }
  return metric.starts_with("top_");
}

std::string metric_text(const std::string& name, double value) {
  if (!std::isfinite(value)) return "none";
  if (is_share(name)) return printed("%.2f", 100.0 * value) + " <small>%</small>";
  return readable(value);
}

// "top_5" -> "Top 5", "mae" -> "MAE".
std::string title_of(std::string metric) {
  for (const char* name : {"mae", "rmse", "auc", "r2", "f1"}) {
    if (metric == name) {
      std::ranges::transform(metric, metric.begin(),
                             [](unsigned char c) { return std::toupper(c); });
      return metric;
    }
  }
  std::ranges::replace(metric, '_', ' ');
  if (!metric.empty()) {
    metric[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(metric[0])));
  }
  return metric;
}

// "top_5" -> "top 5", "mae" -> "MAE".
std::string in_sentence(const std::string& metric) {
  std::string title = title_of(metric);
  const bool acronym = title.size() > 1 && std::isupper(static_cast<unsigned char>(title[1]));
  if (!acronym && !title.empty() && metric != "f1" && metric != "r2") title[0] = metric[0];
  return title;
}

// ---- Images -------------------------------------------------------------------------------------

std::string base64(const std::string& bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t word = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      const bool there = i + k < bytes.size();
      word = word << 8 | (there ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out += i + k <= bytes.size() ? kDigits[word >> (18 - 6 * k) & 63] : '=';
    }
  }
  return out;
}

// An uncompressed bitmap, which every browser reads:
//   file = "BM", u32 bytes, u32 0, u32 54, header, row[height] from the bottom up
//   header = u32 40, i32 width, i32 height, u16 1 plane, u16 24 bits, u32[6] 0
//   row = (blue, green, red)[width], filled up to a multiple of four bytes
std::string bitmap(const ReportImage& image) {
  std::string out;
  const auto put = [&out](std::uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
  };
  const auto width = static_cast<std::uint32_t>(image.width);
  const auto height = static_cast<std::uint32_t>(image.height);
  const std::uint32_t row_bytes = (3 * width + 3) / 4 * 4;
  out += "BM";
  put(54 + row_bytes * height, 4);
  put(0, 4);
  put(54, 4);
  put(40, 4);
  put(width, 4);
  put(height, 4);
  put(1, 2);
  put(24, 2);
  for (int i = 0; i < 6; ++i) put(0, 4);
  for (std::int64_t y = image.height - 1; y >= 0; --y) {
    const std::size_t begin = out.size();
    for (std::int64_t x = 0; x < image.width; ++x) {
      const std::int64_t pixel = (y * image.width + x) * image.channels;
      for (const std::int64_t channel : {2, 1, 0}) {
        const std::int64_t from = pixel + std::min(channel, image.channels - 1);
        out += static_cast<char>(image.pixels[static_cast<std::size_t>(from)]);
      }
    }
    out.resize(begin + row_bytes, '\0');
  }
  return out;
}

// ---- Parts of the page --------------------------------------------------------------------------

std::string status_of(const ReportData& data) {
  if (data.failure) return "failed";
  return data.summary ? data.summary->status : "unfinished";
}

std::string header(const ReportData& data) {
  const std::string status = status_of(data);
  const bool known = status == "finished" || status == "stopped" || status == "failed";
  std::string out = html("<header><p class=\"brand\">Lockstep run</p><div class=\"title\"><h1>",
                         escaped(data.name), "</h1><span class=\"status ",
                         known ? status : "unfinished", "\">", escaped(status), "</span></div>");
  if (const auto& summary = data.summary) {
    out += html("<p class=\"subtitle\">", counted(summary->world_size, "worker", "workers"), " on ",
                escaped(summary->device == "cuda"  ? "GPU"
                        : summary->device == "cpu" ? "CPU"
                                                   : summary->device),
                " · global batch ", summary->global_batch, " in ",
                counted(summary->microbatches, "microbatch", "microbatches"), " · ",
                counted(summary->steps, "step", "steps"), ", ",
                counted(summary->epochs, "epoch", "epochs"), "</p>");
  } else {
    out += html("<p class=\"subtitle\">", counted(data.logged_steps, "logged step", "logged steps"),
                "; the run has no summary yet.</p>");
  }
  out += "</header>";
  if (const auto& failure = data.failure) {
    out += html("<p class=\"card failure\"><b>Failed on rank ", failure->rank, " after step ",
                failure->step, " (", escaped(failure->kind), ").</b> ", escaped(failure->message),
                "</p>");
  }
  return out;
}

// `value` is HTML already.
std::string tile(const std::string& name, const std::string& value, const std::string& kind = "",
                 const std::string& hint = "") {
  return html("<div class=\"", kind, "\"", hint.empty() ? "" : " title=\"" + escaped(hint) + "\"",
              "><dt>", escaped(name), "</dt><dd", kind == "hash" ? " class=\"mono\"" : "", ">",
              value, "</dd></div>");
}

std::string tiles(const ReportData& data) {
  if (!data.summary) return "";
  const Summary& summary = *data.summary;
  std::string out;
  int measured = 0;  // the metric that people look for first, then the loss
  for (const auto& [name, value] : summary.evaluation) {
    if (name == "loss" || measured > 0) continue;
    out += tile("Test " + in_sentence(name), metric_text(name, value), "first");
    ++measured;
  }
  for (const auto& [name, value] : summary.evaluation) {
    if (name == "loss") out += tile("Test loss", readable(value), measured == 0 ? "first" : "");
  }
  if (summary.evaluation.empty()) {
    out += tile("Final training loss", readable(summary.final_loss), "first");
  }
  out += tile("Samples per second", short_number(summary.samples_per_second), "",
              "steady state, all workers together");
  out += tile("Training time", seconds_text(summary.seconds));
  out += tile("Time to first step", seconds_text(summary.seconds_to_first_step));
  out += tile("Parameters", grouped(summary.parameters));
  out += tile("Peak memory", bytes_text(summary.peak_rss_bytes), "", "of the largest worker");
  out += tile("Parameters SHA-256", escaped(summary.parameters_sha256.substr(0, 12)) + "…", "hash",
              summary.parameters_sha256);
  return "<dl class=\"tiles\">" + out + "</dl>";
}

std::vector<ChartCurve> curves_of(const ReportCurve& curve) {
  std::vector<ChartCurve> out;
  const bool noisy = curve.training.size() >= 30;
  if (noisy) {
    out.push_back({"each step", "training", CurveKind::kFaintLine, curve.training});
    out.push_back({"training, smoothed", "training", CurveKind::kLine, smoothed(curve.training)});
  } else if (!curve.training.empty()) {
    out.push_back({"training", "training", CurveKind::kLineWithPoints, curve.training});
  }
  if (!curve.evaluation.empty()) {
    out.push_back({"test", "evaluation", CurveKind::kLineWithPoints, curve.evaluation});
  }
  return out;
}

std::string training(const ReportData& data) {
  struct Drawing {
    ChartOptions options;
    std::vector<ChartCurve> curves;
  };
  std::vector<Drawing> drawings;
  for (const ReportCurve& curve : data.curves) {
    drawings.push_back(
        {{.title = title_of(curve.name), .may_be_log = !is_share(curve.name)}, curves_of(curve)});
  }
  if (data.curves.empty()) drawings.push_back({{.title = "Loss"}, {}});
  if (!data.learning_rate.empty()) {
    drawings.push_back({{.title = "Learning rate", .may_be_log = false, .y_low = 0.0},
                        {{"", "neutral", CurveKind::kLine, data.learning_rate}}});
  }
  if (!data.samples_per_second.empty()) {
    drawings.push_back({{.title = "Samples per second", .may_be_log = false, .y_low = 0.0},
                        {{"", "neutral", CurveKind::kFaintLine, data.samples_per_second},
                         {"", "neutral", CurveKind::kLine, smoothed(data.samples_per_second)}}});
  }
  double last_step = 1.0;
  for (const Drawing& drawing : drawings) {
    for (const ChartCurve& curve : drawing.curves) {
      for (const ReportPoint& point : curve.points) last_step = std::max(last_step, point.step);
    }
  }
  std::string out;
  for (Drawing& drawing : drawings) {
    drawing.options.x_low = 0.0;
    drawing.options.x_high = last_step;
    drawing.options.whole_x = true;
    drawing.options.wide = out.empty() && drawings.size() % 2 == 1;  // rows of two after the first
    out += chart(drawing.options, drawing.curves);
  }
  return "<h2>Training</h2><div class=\"two\">" + out + "</div>";
}

struct Confusion {
  std::size_t target, prediction;
  double count;
};

// The cells off the diagonal that count anything, the largest first.
std::vector<Confusion> confusions(const ReportData& data) {
  std::vector<Confusion> out;
  for (std::size_t i = 0; i < data.classes.size(); ++i) {
    for (std::size_t j = 0; j < data.classes.size(); ++j) {
      if (i != j && data.confusion_matrix[i][j] > 0.0) {
        out.push_back({i, j, data.confusion_matrix[i][j]});
      }
    }
  }
  std::ranges::stable_sort(out, std::ranges::greater{}, &Confusion::count);
  return out;
}

// `part` is of the strongest colour.
std::string confusion_cell(const ReportData& data, const Confusion& cell, double part) {
  if (cell.count == 0.0) return "<td class=\"zero\">·</td>";
  const bool right = cell.target == cell.prediction;
  const double alpha = right ? 0.12 + 0.88 * part : 0.18 + 0.72 * part;
  return html("<td class=\"", right ? "right" : "wrong", alpha > 0.6 ? " strong" : "",
              "\" style=\"--a:", printed("%.2f", alpha), "\" title=\"",
              escaped(data.classes[cell.target]), " predicted as ",
              escaped(data.classes[cell.prediction]), ": ", readable(cell.count), "\">",
              readable(cell.count), "</td>");
}

std::string confusion_table(const ReportData& data, double largest_confusion) {
  const std::size_t classes = data.classes.size();
  std::string out = html("<div class=\"scroll\"><table class=\"matrix",
                         classes > kClassesWithNumbers ? " many" : "",
                         "\"><thead><tr><td class=\"recall\"></td><th class=\"axis\" colspan=\"",
                         classes, "\">predicted</th></tr><tr><th class=\"axis\">actual</th>");
  for (const std::string& name : data.classes) out += html("<th>", escaped(name), "</th>");
  out += "<th class=\"axis last\">recall</th></tr></thead><tbody>";
  for (std::size_t i = 0; i < classes; ++i) {
    const std::vector<double>& row = data.confusion_matrix[i];
    double total = 0.0;
    for (const double count : row) total += count;
    out += html("<tr><th>", escaped(data.classes[i]), "</th>");
    for (std::size_t j = 0; j < classes; ++j) {
      out += confusion_cell(data, {i, j, row[j]}, row[j] / (i == j ? total : largest_confusion));
    }
    out += html("<td class=\"recall last\">",
                total > 0.0 ? printed("%.1f %%", 100.0 * row[i] / total) : "–", "</td></tr>");
  }
  return out + "</tbody></table></div>";
}

std::string confusion_card(const ReportData& data) {
  const std::vector<Confusion> found = confusions(data);
  const bool as_matrix = data.classes.size() <= kClassesAsMatrix;
  std::string out = "<div class=\"card\"><div class=\"head\"><b>Confusion matrix</b></div>";
  if (as_matrix) out += confusion_table(data, found.empty() ? 1.0 : found.front().count);
  out += "<p class=\"note\">";
  if (found.empty()) {
    out += "No class was mistaken for another.";
  } else {
    out += "Most often mistaken: ";
    const std::size_t most = std::min<std::size_t>(found.size(), as_matrix ? 3 : 20);
    for (std::size_t k = 0; k < most; ++k) {
      out +=
          html(k == 0 ? "" : ", ", "<b>", escaped(data.classes[found[k].target]), "</b> for <b>",
               escaped(data.classes[found[k].prediction]), "</b> (", readable(found[k].count), ")");
    }
    out += ".";
  }
  return out + "</p></div>";
}

std::string metric_card(const ReportData& data) {
  std::string out =
      "<div class=\"card\"><div class=\"head\"><b>Metrics</b></div><table class=\"numbers\">";
  for (const auto& [name, value] : data.metrics) {
    out += html("<tr><th>", escaped(title_of(name)), "</th><td>", metric_text(name, value),
                "</td></tr>");
  }
  return out + "</table></div>";
}

std::vector<ReportPoint> to_points(const std::vector<std::pair<double, double>>& pairs) {
  std::vector<ReportPoint> out;
  for (const auto& [x, y] : pairs) out.push_back({x, y});
  return out;
}

std::string roc_chart(const ReportData& data) {
  return chart({.title = "ROC curve",
                .x_label = "false positive rate",
                .y_label = "true positive rate",
                .may_be_log = false,
                .square = true,
                .x_low = 0.0,
                .x_high = 1.0,
                .y_low = 0.0,
                .y_high = 1.0},
               {{"chance", "guide", CurveKind::kLine, {{0.0, 0.0}, {1.0, 1.0}}},
                {"this model", "training", CurveKind::kLine, to_points(data.roc)}});
}

std::string regression_chart(const ReportData& data) {
  double low = data.regression[0].first, high = low;
  for (const auto& [target, prediction] : data.regression) {
    for (const double value : {target, prediction}) {
      if (!std::isfinite(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  const double room = high > low ? 0.04 * (high - low) : 1.0;
  low -= room;
  high += room;
  return chart({.title = "Prediction against target",
                .x_label = "target",
                .y_label = "prediction",
                .may_be_log = false,
                .square = true,
                .x_low = low,
                .x_high = high,
                .y_low = low,
                .y_high = high},
               {{"exact", "guide", CurveKind::kLine, {{low, low}, {high, high}}},
                {"sample", "training", CurveKind::kPoints, to_points(data.regression)}});
}

std::string evaluation(const ReportData& data) {
  std::string cards, charts;
  if (!data.confusion_matrix.empty()) cards += confusion_card(data);
  if (!data.metrics.empty()) cards += metric_card(data);
  if (!data.roc.empty()) charts += roc_chart(data);
  if (!data.regression.empty()) charts += regression_chart(data);
  if (cards.empty() && charts.empty()) return "";
  std::string out = "<h2>Evaluation</h2><div class=\"measured";
  if (charts.empty()) return out + "\">" + cards + "</div>";
  out += " halves\"><div class=\"stack\">" + charts + "</div>";
  if (!cards.empty()) out += "<div class=\"stack\">" + cards + "</div>";
  return out + "</div>";
}

std::string confidence_text(const ReportExample& example) {
  if (!example.confidence || !std::isfinite(*example.confidence)) return "";
  return printed("%.0f %%", 100.0 * *example.confidence);
}

std::string example_image(const ReportExample& example) {
  const bool right = example.target == example.prediction;
  const std::string label = right ? escaped(example.target)
                                  : escaped(example.target) + " → " + escaped(example.prediction);
  const std::string confidence = confidence_text(example);
  return html("<div class=\"example ", right ? "right" : "wrong", "\"><img alt=\"",
              escaped(example.target), "\" src=\"data:image/bmp;base64,",
              base64(bitmap(*example.image)), "\"><p><b>", label, "</b><span>",
              confidence.empty() ? "" : confidence + " sure", "</span></p></div>");
}

std::string example_row(const ReportExample& example, bool judged, bool with_confidence) {
  std::string features;
  for (std::size_t i = 0; i < example.features.size() && i < 8; ++i) {
    features += (i == 0 ? "" : ", ") + printed("%.3g", example.features[i]);
  }
  if (example.features.size() > 8) features += ", …";
  const bool wrong = judged && example.target != example.prediction;
  return html("<tr", wrong ? " class=\"wrong\"" : "", "><td>", escaped(example.target), "</td><td>",
              escaped(example.prediction), "</td>",
              with_confidence ? "<td class=\"number\">" + confidence_text(example) + "</td>" : "",
              "<td class=\"features mono\">", features, "</td></tr>");
}

std::string example_table(const std::vector<const ReportExample*>& order, bool judged) {
  const bool with_confidence = std::ranges::any_of(
      order, [](const ReportExample* example) { return example->confidence.has_value(); });
  std::string rows;
  for (const ReportExample* example : order) rows += example_row(*example, judged, with_confidence);
  return html(
      "<div class=\"card scroll\"><table class=\"list\"><tr><th>Target</th><th>Prediction</th>",
      with_confidence ? "<th class=\"number\">Confidence</th>" : "", "<th>First features</th></tr>",
      rows, "</table></div>");
}

std::string examples(const ReportData& data) {
  if (data.examples.empty()) return "";
  // A number is never met exactly, so right and wrong say nothing of a regression.
  const bool judged = data.regression.empty();
  std::vector<const ReportExample*> order;
  for (const ReportExample& example : data.examples) order.push_back(&example);
  if (judged) {
    std::ranges::stable_partition(
        order, [](const ReportExample* example) { return example->target != example->prediction; });
  }
  if (order.size() > kMostExamples) order.resize(kMostExamples);

  std::string images;
  std::vector<const ReportExample*> rows;
  for (const ReportExample* example : order) {
    if (example->image) {
      images += example_image(*example);
    } else {
      rows.push_back(example);
    }
  }
  std::string out = "<h2>Example predictions</h2>";
  if (judged) {
    out += html("<p class=\"note above\">Wrong ones first",
                images.empty() ? "" : ": target → prediction", ".</p>");
  }
  if (!images.empty()) out += "<div class=\"examples\">" + images + "</div>";
  if (!rows.empty()) out += example_table(rows, judged);
  return out;
}

using PhaseParts = std::array<std::pair<const char*, double>, 6>;

PhaseParts parts_of(const PhaseSeconds& seconds) {
  return {{{"forward", seconds.forward},
           {"backward", seconds.backward},
           {"exchange", seconds.exchange},
           {"data", seconds.data},
           {"update", seconds.update},
           {"checkpoint", seconds.checkpoint}}};
}

double total_of(const PhaseParts& parts) {
  double total = 0.0;
  for (const auto& [name, seconds] : parts) total += seconds;
  return total;
}

// The parts of `total` seconds, as wide as they are long.
std::string phase_bar(const PhaseParts& parts, double total) {
  std::string bar;
  for (const auto& [name, seconds] : parts) {
    const double share = 100.0 * seconds / total;
    if (share >= 0.05) bar += html("<i class=\"", name, "\" style=\"width:", printed("%.2f", share), "%\"></i>");
  }
  return "<div class=\"phases\">" + bar + "</div>";
}

// A bar for each worker, and who is slower than the others.
std::string workers_card(const ReportData& data) {
  if (data.workers.size() < 2) return "";
  std::vector<PhaseSeconds> seconds;
  double longest = 0.0;
  for (const WorkerSeconds& worker : data.workers) {
    seconds.push_back(worker.seconds);
    longest = std::max(longest, total_of(parts_of(worker.seconds)));
  }
  if (!(longest > 0.0)) return "";
  std::string rows;
  for (std::size_t rank = 0; rank < seconds.size(); ++rank) {
    rows += html("<span>Worker ", rank, " on ", escaped(data.workers[rank].host), "</span>",
                 phase_bar(parts_of(seconds[rank]), longest));
  }
  std::string note = "All workers are about as fast.";
  if (const auto slowest = find_straggler(seconds)) {
    note = html("Worker ", slowest->rank, " on ", escaped(data.workers[static_cast<std::size_t>(slowest->rank)].host),
                " is slow: it works ", printed("%.0f", 100.0 * slowest->share),
                " % of a step longer than the median worker, most of it in ", slowest->phase, "; the others wait.");
  }
  return html("<div class=\"card\"><div class=\"workers\">", rows, "</div><p class=\"note\">", note, "</p></div>");
}

std::string phases(const ReportData& data) {
  const PhaseParts parts = parts_of(data.seconds);
  const double total = total_of(parts);
  if (!(total > 0.0)) return "";
  std::string keys;
  for (const auto& [name, seconds] : parts) {
    if (seconds == 0.0) continue;
    const double share = 100.0 * seconds / total;
    keys += html("<div><i class=\"", name, "\"></i>", title_of(name), " <span>",
                 printed("%.1f", share), " % · ", seconds_text(seconds), "</span></div>");
  }
  return html("<h2>Where the time went</h2><div class=\"card\">", phase_bar(parts, total),
              "<div class=\"phase-keys\">", keys,
              "</div><p class=\"note\">Seconds of rank 0, summed over ",
              counted(data.logged_steps, "logged step", "logged steps"),
              "; exchange and data are time spent waiting for them.</p></div>", workers_card(data));
}

// What failed meanwhile, and how it went on.
std::string restarts(const ReportData& data) {
  if (data.restarts.empty()) return "";
  std::string rows;
  for (const RestartRecord& one : data.restarts) {
    std::string on = one.from_step && *one.from_step > 0 ? html("step ", *one.from_step) : "the start";
    for (const std::string& host : one.left_out) on += ", without " + escaped(host);
    rows += html("<tr><td>", escaped(one.time), "</td><td>", escaped(one.cause), "</td><td>",
                 escaped(one.host), "</td><td>", one.rank < 0 ? "" : std::to_string(one.rank), "</td><td>", on,
                 "</td></tr>");
  }
  return html("<h2>Restarts</h2><div class=\"card scroll\"><table class=\"list\"><tr><th>Time (UTC)</th>"
              "<th>What failed</th><th>Host</th><th>Rank</th><th>Went on from</th></tr>",
              rows, "</table></div>");
}

// A line of TOML with its parts marked.
std::string marked_line(const std::string& line) {
  const std::size_t begin = line.find_first_not_of(" \t");
  if (begin == std::string::npos) return "";
  if (line[begin] == '#') return "<span class=\"comment\">" + escaped(line) + "</span>";
  if (line[begin] == '[') return "<span class=\"section\">" + escaped(line) + "</span>";
  const std::size_t equals = line.find('=');
  if (equals == std::string::npos) return escaped(line);
  return escaped(line.substr(0, equals + 1)) + "<span class=\"value\">" +
         escaped(line.substr(equals + 1)) + "</span>";
}

std::string configuration(const ReportData& data) {
  if (data.config.empty()) return "";
  std::string lines;
  std::istringstream in(data.config);
  for (std::string line; std::getline(in, line);) lines += marked_line(line) + "\n";
  return "<h2>Configuration</h2><details class=\"card\"><summary>The resolved configuration, with "
         "every default</summary><pre>" +
         lines + "</pre></details>";
}

}  // namespace

std::string report_page(const ReportData& data) {
  return html(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>",
      escaped(data.name), " – Lockstep</title><style>", kReportStyle,
      "</style></head>\n<body><main>\n", header(data), "\n", tiles(data), "\n", training(data),
      "\n", evaluation(data), "\n", examples(data), "\n", phases(data), "\n", restarts(data), "\n", configuration(data),
      "\n<footer>Written by <span class=\"mono\">lockstep report</span>. This page is one "
      "file; it loads nothing.</footer>\n</main></body></html>\n");
}

}  // namespace lockstep
