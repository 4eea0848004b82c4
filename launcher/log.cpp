#include "launcher/log.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "core/base/error.h"
#include "core/base/file.h"
#include "launcher/straggler.h"

namespace lockstep {
namespace {

// ---- JSON ---------------------------------------------------------------------------------------

void append(std::string& out, std::int64_t value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
}

// The shortest digits that read back as the same number.
void append(std::string& out, double value) {
  char digits[40];
  if (std::isfinite(value)) {
    out.append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
  } else {
    out += "null";
  }
}

// A measured time or rate: six digits.
void append_measured(std::string& out, double value) {
  char digits[40];
  if (std::isfinite(value)) {
    out.append(
        digits,
        std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::general, 6).ptr);
  } else {
    out += "null";
  }
}

void append_quoted(std::string& out, std::string_view word) {
  out += '"';
  for (const char c : word) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr char kDigits[] = "0123456789abcdef";
      out += "\\u00";
      out += kDigits[c >> 4];
      out += kDigits[c & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_metrics(std::string& out, std::span<const NamedNumber> metrics) {
  out += "\"metrics\":{";
  bool first = true;
  for (const NamedNumber& metric : metrics) {
    if (!first) out += ',';
    first = false;
    append_quoted(out, metric.name);
    out += ':';
    append(out, metric.value);
  }
  out += '}';
}

void append_seconds(std::string& out, const PhaseSeconds& seconds) {
  const std::pair<const char*, double> parts[] = {
      {"\"data\":", seconds.data},         {",\"forward\":", seconds.forward},
      {",\"backward\":", seconds.backward}, {",\"exchange\":", seconds.exchange},
      {",\"update\":", seconds.update},     {",\"checkpoint\":", seconds.checkpoint},
      {",\"exchange_hidden\":", seconds.exchange_hidden}};
  for (const auto& [key, value] : parts) {
    out += key;
    append_measured(out, value);
  }
}

// The step that a line of the log belongs to; 0 where it names none.
std::int64_t step_of(std::string_view line) {
  constexpr std::string_view kKey = "\"step\":";
  const std::size_t key = line.find(kKey);
  if (key == std::string_view::npos) return 0;
  const std::string_view number = line.substr(key + kKey.size());
  std::int64_t step = 0;
  std::from_chars(number.data(), number.data() + number.size(), step);
  return step;
}

bool is_evaluation(std::string_view line) { return line.starts_with(R"({"event":"evaluation")"); }

// Removes the lines after that step (or its evaluation), and a last line without an end. Returns
// `path`.
const std::string& keep_lines(const std::string& path, std::int64_t through_step,
                              bool is_evaluated) {
  if (through_step == 0 || !is_file(path)) return path;
  const std::string before = local_files().read(path);
  std::string kept;
  for (std::size_t begin = 0;;) {
    const std::size_t end = before.find('\n', begin);
    if (end == std::string::npos) break;
    const std::string_view line(before.data() + begin, end + 1 - begin);
    const std::int64_t step = step_of(line);
    const bool comes_again = !is_evaluated && step == through_step && is_evaluation(line);
    if (step <= through_step && !comes_again) kept += line;
    begin = end + 1;
  }
  if (kept != before) local_files().write_atomic(path, kept);
  return path;
}

// ---- The progress line --------------------------------------------------------------------------

constexpr double kRedrawSeconds = 0.1;
constexpr double kPlainSeconds = 5.0;
constexpr double kEvaluationSeconds = 0.25;
constexpr int kBarCells = 16;

std::string printed(const char* format, double value) {
  char out[48];
  std::snprintf(out, sizeof(out), format, value);
  return out;
}

// `value` of `total`, as wide for every value: "  7/900".
std::string counted(std::int64_t value, std::int64_t total) {
  const std::string most = std::to_string(total);
  std::string now = std::to_string(value);
  if (now.size() < most.size()) now.insert(0, most.size() - now.size(), ' ');
  return now + "/" + most;
}

std::string metric_text(const NamedNumber& metric) {
  return std::string(metric.name) + " " + printed("%.4g", metric.value);
}

std::string bar(double done) {
  const int halves = static_cast<int>(std::clamp(done, 0.0, 1.0) * 2 * kBarCells);
  std::string out;
  for (int cell = 0; cell < kBarCells; ++cell) {
    out += 2 * cell + 1 < halves ? "━" : 2 * cell < halves ? "╸" : "─";
  }
  return out;
}

// Columns that UTF-8 text of single-width characters takes.
std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string joined(const std::vector<std::string>& head, const std::vector<std::string>& tail) {
  std::string line;
  for (const auto* parts : {&head, &tail}) {
    for (const std::string& part : *parts) line += line.empty() ? part : "  " + part;
  }
  return line;
}

}  // namespace

TrainingLog::TrainingLog(const std::string& path, std::int64_t keep_through_step,
                         bool is_evaluated)
    : file_(keep_lines(path, keep_through_step, is_evaluated), keep_through_step != 0) {}

const std::string& TrainingLog::try_flush() {
  try {
    file_.flush();
  } catch (const Error&) {  // problem() says it
  }
  return file_.problem();
}

void TrainingLog::step(const StepRecord& record) {
  std::string& out = file_.buffer();
  out += "{\"step\":";
  append(out, record.step);
  out += ",\"epoch\":";
  append(out, record.epoch);
  out += ",\"loss\":";
  append(out, record.loss);
  out += ",\"learning_rate\":";
  append(out, record.learning_rate);
  out += ',';
  append_metrics(out, record.metrics);
  out += ",\"samples_per_second\":";
  append_measured(out, record.samples_per_second);
  out += ",\"elapsed\":";
  append_measured(out, record.elapsed);
  out += ",\"seconds\":{";
  append_seconds(out, record.seconds);
  out += "}}\n";
  file_.commit();
}

void TrainingLog::evaluation(const EvaluationRecord& record) {
  std::string& out = file_.buffer();
  out += "{\"event\":\"evaluation\",\"step\":";
  append(out, record.step);
  out += ",\"epoch\":";
  append(out, record.epoch);
  out += ",\"data\":";
  append_quoted(out, record.data);
  out += ',';
  append_metrics(out, record.metrics);
  out += ",\"elapsed\":";
  append_measured(out, record.elapsed);
  out += ",\"seconds\":";
  append_measured(out, record.seconds);
  out += "}\n";
  file_.commit();
}

void TrainingLog::workers(std::int64_t step, std::span<const WorkerSeconds> workers, const Straggler* slowest) {
  std::string& out = file_.buffer();
  out += "{\"event\":\"workers\",\"step\":";
  append(out, step);
  out += ",\"workers\":[";
  for (std::size_t rank = 0; rank < workers.size(); ++rank) {
    out += rank == 0 ? "{\"rank\":" : ",{\"rank\":";
    append(out, static_cast<std::int64_t>(rank));
    out += ",\"host\":";
    append_quoted(out, workers[rank].host);
    out += ',';
    append_seconds(out, workers[rank].seconds);
    out += '}';
  }
  out += ']';
  if (slowest != nullptr) {
    out += ",\"slowest\":{\"rank\":";
    append(out, static_cast<std::int64_t>(slowest->rank));
    out += ",\"phase\":";
    append_quoted(out, slowest->phase);
    out += ",\"seconds\":";
    append_measured(out, slowest->seconds);
    out += ",\"share\":";
    append_measured(out, slowest->share);
    out += '}';
  }
  out += "}\n";
  file_.commit();
}

ProgressLine::ProgressLine(std::FILE* out, const ProgressOptions& options)
    : out_(out), options_(options) {}

ProgressLine::~ProgressLine() {
  finish();
}

namespace {

// MPI's launcher gives its children a terminal of their own, wherever its own output goes: whoever started this process must
// write to a terminal too.
bool parent_writes_to_terminal() {
  char target[64] = {};
  const std::string link = "/proc/" + std::to_string(::getppid()) + "/fd/1";
  if (::readlink(link.c_str(), target, sizeof target - 1) < 0) return true;  // nobody knows
  return std::string_view(target).starts_with("/dev/pts/") || std::string_view(target).starts_with("/dev/tty");
}

}  // namespace

ProgressOptions ProgressLine::options_for(std::FILE* out) {
  ProgressOptions options;
  options.terminal = ::isatty(::fileno(out)) == 1 && parent_writes_to_terminal();
  winsize size{};
  if (options.terminal && ::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    options.width = size.ws_col;
  }
  return options;
}

void ProgressLine::step(const StepRecord& record) {
  if (options_.quiet) return;
  const bool first = !started_;
  if (first) {
    started_ = true;
    started_at_ = record.elapsed;
    started_step_ = record.step;
  }
  spent_.data += record.seconds.data;
  spent_.exchange += record.seconds.exchange;
  const double pause = options_.terminal ? kRedrawSeconds : kPlainSeconds;
  const bool last = record.step >= options_.steps;
  // Without a terminal the evaluation that follows the last step says how it ended.
  const bool due = first || record.elapsed - shown_at_ >= pause || (last && options_.terminal);
  if (!due) return;
  const std::string line = describe(record);
  if (options_.terminal) {
    std::fprintf(out_, "\r%s\x1b[K", line.c_str());
    std::fflush(out_);
    drawn_ = true;
  } else {
    print(line);
  }
  shown_at_ = record.elapsed;
  spent_ = {};
}

std::string ProgressLine::describe(const StepRecord& record) const {
  const std::string epoch = "epoch " + counted(record.epoch, options_.epochs);
  const std::string step = "step " + counted(record.step, options_.steps);
  std::vector<std::string> measured = {"loss " + printed("%.4g", record.loss)};
  if (!record.metrics.empty()) measured.push_back(metric_text(record.metrics.front()));
  if (record.samples_per_second > 0.0) {
    measured.push_back(short_number(record.samples_per_second) + " samples/s");
  }
  const std::int64_t steps = record.step - started_step_;
  if (steps > 0 && record.step <= options_.steps) {
    const double seconds_per_step = (record.elapsed - started_at_) / static_cast<double>(steps);
    const double left = seconds_per_step * static_cast<double>(options_.steps - record.step);
    measured.push_back(short_duration(left) + " left");
  }
  if (const double window = record.elapsed - shown_at_; steps > 0 && window > 0.0) {
    const double data = 100.0 * std::min(1.0, spent_.data / window);
    const double exchange = 100.0 * std::min(1.0, spent_.exchange / window);
    measured.push_back("data " + printed("%.0f%%", data));
    measured.push_back("exchange " + printed("%.0f%%", exchange));
  }
  if (!options_.terminal) return joined({epoch, step}, measured);

  // The longest form that fits; a line that wraps could not be redrawn.
  const std::size_t width = static_cast<std::size_t>(std::max(1, options_.width - 1));
  const double done = static_cast<double>(record.step) /
                      static_cast<double>(std::max<std::int64_t>(1, options_.steps));
  for (const std::vector<std::string>& head :
       {std::vector{epoch, step, bar(done)}, std::vector{epoch, step}, std::vector{epoch}}) {
    std::string line = joined(head, measured);
    if (columns(line) <= width) return line;
  }
  while (!measured.empty() && columns(joined({epoch}, measured)) > width) measured.pop_back();
  return joined({epoch}, measured).substr(0, width);
}

void ProgressLine::evaluation(const EvaluationRecord& record) {
  if (options_.quiet) return;
  std::string line = "epoch " + counted(record.epoch, options_.epochs) + "  step " +
                     counted(record.step, options_.steps) + "  " + std::string(record.data);
  for (const NamedNumber& metric : record.metrics) line += "  " + metric_text(metric);
  const bool first = evaluated_at_ == 0.0;
  if (first || record.step >= options_.steps ||
      record.elapsed - evaluated_at_ >= kEvaluationSeconds) {
    left_out_.clear();
    evaluated_at_ = record.elapsed;
    print(line);
  } else {
    left_out_ = std::move(line);
  }
}

void ProgressLine::note(std::string_view line) {
  if (!options_.quiet) print(line);
}

void ProgressLine::print(std::string_view line) {
  clear();
  std::fprintf(out_, "%.*s\n", static_cast<int>(line.size()), line.data());
  std::fflush(out_);
}

void ProgressLine::clear() {
  if (drawn_) std::fputs("\r\x1b[K", out_);
  drawn_ = false;
}

void ProgressLine::finish() {
  if (!left_out_.empty()) print(left_out_);
  left_out_.clear();
  if (drawn_) std::fputc('\n', out_);
  drawn_ = false;
  std::fflush(out_);
}

std::string short_number(double value) {
  constexpr const char* kUnits[] = {"", "k", "M", "G", "T"};
  if (!std::isfinite(value)) return printed("%g", value);
  std::size_t unit = 0;
  while (std::fabs(value) >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1000.0;
    ++unit;
  }
  const double size = std::fabs(value);
  return printed(size >= 99.95 ? "%.0f" : size >= 9.995 ? "%.1f" : "%.2f", value) + kUnits[unit];
}

std::string short_duration(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  const auto whole = static_cast<std::int64_t>(std::ceil(std::max(0.0, seconds)));
  char out[48];
  if (whole >= 3600) {
    std::snprintf(out, sizeof(out), "%lld:%02lld:%02lld", static_cast<long long>(whole / 3600),
                  static_cast<long long>(whole / 60 % 60), static_cast<long long>(whole % 60));
  } else {
    std::snprintf(out, sizeof(out), "%lld:%02lld", static_cast<long long>(whole / 60),
                  static_cast<long long>(whole % 60));
  }
  return out;
}

}  // namespace lockstep
