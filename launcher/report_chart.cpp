#include "launcher/report_chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "launcher/log.h"

namespace lockstep {
namespace {

constexpr double kCanvas = 1000.0;  // units of the stretched drawing, in both directions
constexpr std::size_t kColumns = 500;
constexpr double kLogFactor = 10.0;

std::string printed(const char* format, double value) {
  char out[64];
  std::snprintf(out, sizeof(out), format, value);
  return out;
}

// ---- Axes ---------------------------------------------------------------------------------------

class Axis {
 public:
  Axis(double low, double high, bool log) : low_(low), high_(high), log_(log) {
    from_ = log ? std::log10(low) : low;
    to_ = log ? std::log10(high) : high;
  }

  // The place of a value as a part of the axis.
  double part(double value) const {
    return ((log_ ? std::log10(value) : value) - from_) / (to_ - from_);
  }
  bool shows(double value) const { return std::isfinite(value) && (!log_ || value > 0.0); }
  bool log() const { return log_; }

  struct Tick {
    double part;
    std::string label;
  };

  std::vector<Tick> ticks(int most, bool whole = false) const {
    std::vector<Tick> out;
    if (log_) {
      for (const double value : log_values(most)) out.push_back({part(value), short_value(value)});
      return out;
    }
    std::vector<double> values = round_ticks(low_, high_, most);
    if (whole) std::erase_if(values, [](double v) { return std::fabs(v - std::round(v)) > 1e-6; });
    if (values.empty()) return out;
    const double step = values.size() > 1 ? values[1] - values[0] : std::fabs(values.front());
    for (const double value : values) out.push_back({part(value), label(value, step)});
    return out;
  }

 private:
  // Powers of ten; with 2 and 5 between them where these are few.
  std::vector<double> log_values(int most) const {
    for (const std::vector<double>& digits :
         {std::vector<double>{1, 2, 5}, std::vector<double>{1, 3}, std::vector<double>{1}}) {
      std::vector<double> values;
      for (double decade = std::floor(from_); decade <= to_; decade += 1.0) {
        for (const double digit : digits) {
          const double value = digit * std::pow(10.0, decade);
          if (value >= low_ * (1 - 1e-9) && value <= high_ * (1 + 1e-9)) values.push_back(value);
        }
      }
      if (static_cast<int>(values.size()) <= most || digits.size() == 1) return values;
    }
    return {};
  }

  static std::string short_value(double value) {
    return std::fabs(value) >= 1e4 ? short_axis_number(value) : printed("%.3g", value);
  }

  // "12k", "1.5M": without the digits that carry nothing.
  static std::string short_axis_number(double value) {
    std::string word = short_number(value);
    const std::size_t dot = word.find('.');
    if (dot == std::string::npos) return word;
    const std::size_t unit = word.find_first_not_of("0123456789", dot + 1);
    const std::size_t end = unit == std::string::npos ? word.size() : unit;
    std::size_t keep = end;
    while (word[keep - 1] == '0') --keep;
    if (keep - 1 == dot) --keep;
    return word.erase(keep, end - keep);
  }

  // With as many decimals as tell ticks `step` apart from each other.
  static std::string label(double value, double step) {
    if (std::fabs(value) < step * 1e-6) return "0";
    if (std::fabs(value) >= 1e4) return short_axis_number(value);
    if (step < 1e-4) return printed("%.3g", value);
    const int decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
    char out[64];
    std::snprintf(out, sizeof(out), "%.*f", decimals, value);
    return out;
  }

  double low_, high_, from_, to_;
  bool log_;
};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

// The values that must be seen: of noise, all but the outermost hundredth on either side.
Range value_range(const std::vector<ChartCurve>& curves) {
  Range range;
  for (const ChartCurve& curve : curves) {
    std::vector<double> values;
    for (const ReportPoint& point : curve.points) {
      if (std::isfinite(point.value)) values.push_back(point.value);
    }
    if (values.empty()) continue;
    std::ranges::sort(values);
    const std::size_t spare = curve.kind == CurveKind::kFaintLine ? values.size() / 100 : 0;
    range.add(values[spare]);
    range.add(values[values.size() - 1 - spare]);
  }
  return range;
}

Range step_range(const std::vector<ChartCurve>& curves) {
  Range range;
  for (const ChartCurve& curve : curves) {
    for (const ReportPoint& point : curve.points) range.add(point.step);
  }
  return range;
}

Axis value_axis(const ChartOptions& options, Range range) {
  if (options.may_be_log && range.low > 0.0 && range.high >= kLogFactor * range.low) {
    const double room = std::pow(range.high / range.low, 0.04);
    return {range.low / room, range.high * room, true};
  }
  if (range.high - range.low <= 1e-9 * std::fabs(range.high)) {  // one value: give it some height
    const double room = range.high == 0.0 ? 1.0 : 0.5 * std::fabs(range.high);
    range = {range.low - room, range.high + room};
  }
  const double room = 0.05 * (range.high - range.low);
  // No room beyond zero, for quantities that cannot be negative.
  const double low = range.low >= 0.0 && range.low < 2 * room ? 0.0 : range.low - room;
  return {options.y_low.value_or(low), options.y_high.value_or(range.high + room), false};
}

Axis step_axis(const ChartOptions& options, Range range) {
  const double low = options.x_low.value_or(range.low);
  const double high = options.x_high.value_or(range.high);
  if (high > low) return {low, high, false};
  return {low - 1.0, low + 1.0, false};
}

// ---- Curves -------------------------------------------------------------------------------------

struct Frame {
  Axis x, y;

  std::string place(const ReportPoint& point) const {
    char out[64];
    std::snprintf(out, sizeof(out), "%.1f %.1f", kCanvas * x.part(point.step),
                  kCanvas * (1.0 - y.part(point.value)));
    return out;
  }
};

// One path; points without a number interrupt it. A piece begins with a line of no length, which
// its round ends make visible where nothing follows.
std::string line_path(const Frame& frame, const ChartCurve& curve, const char* extra) {
  std::string path;
  bool inside = false;
  for (const ReportPoint& point : thinned(curve.points, kColumns)) {
    if (!frame.y.shows(point.value)) {
      inside = false;
      continue;
    }
    path += inside ? "L" + frame.place(point) : "M" + frame.place(point) + "h0";
    inside = true;
  }
  if (path.empty()) return "";
  return "<path class=\"line " + curve.colour + extra + "\" d=\"" + path + "\"/>";
}

// A point is a line of no length with round ends, so that stretching the drawing leaves it round.
std::string point_paths(const Frame& frame, const ChartCurve& curve, const ChartOptions& options) {
  std::string out;
  for (const ReportPoint& point : curve.points) {
    if (!frame.y.shows(point.value)) continue;
    out += "<path class=\"point " + curve.colour + "\" d=\"M" + frame.place(point) +
           "h0\"><title>" + escaped(options.x_label) + " " + readable(point.step) + ": " +
           readable(point.value) + "</title></path>";
  }
  return out;
}

std::string draw(const Frame& frame, const ChartCurve& curve, const ChartOptions& options) {
  switch (curve.kind) {
    case CurveKind::kLine:
      return line_path(frame, curve, "");
    case CurveKind::kFaintLine:
      // Noise is the one thing that may leave the axes' limits: an inner drawing cuts it off there.
      return "<svg width=\"1000\" height=\"1000\">" + line_path(frame, curve, " faint") + "</svg>";
    case CurveKind::kLineWithPoints:
      // Points that would touch each other say less than the line alone.
      return line_path(frame, curve, "") +
             (curve.points.size() <= 60 ? point_paths(frame, curve, options) : "");
    case CurveKind::kPoints:
      return point_paths(frame, curve, options);
  }
  return "";
}

std::string legend(const std::vector<ChartCurve>& curves) {
  std::string out;
  for (const ChartCurve& curve : curves) {
    if (curve.name.empty()) continue;
    out += "<span class=\"key\"><i class=\"" + curve.colour +
           (curve.kind == CurveKind::kFaintLine ? " faint" : "") + "\"></i>" + escaped(curve.name) +
           "</span>";
  }
  return out;
}

}  // namespace

std::string chart(const ChartOptions& options, const std::vector<ChartCurve>& curves) {
  std::string out = std::string("<figure class=\"chart") + (options.square ? " square" : "") +
                    (options.wide ? " wide" : "") + "\"><figcaption><span class=\"head\"><b>" +
                    escaped(options.title) + "</b>";
  const Range values = value_range(curves);
  if (values.empty()) {
    return out + "</span></figcaption><p class=\"nothing\">No values were logged.</p></figure>";
  }
  const Frame frame{step_axis(options, step_range(curves)), value_axis(options, values)};
  if (frame.y.log()) out += "<span class=\"scale\">logarithmic</span>";
  out += "</span>" + legend(curves) + "</figcaption>";
  if (!options.y_label.empty()) {
    out += "<p class=\"y-name\">↑ " + escaped(options.y_label) + "</p>";
  }
  out += "<div class=\"plot\">";

  std::string grid, labels;
  for (const Axis::Tick& tick : frame.y.ticks(6)) {
    const std::string at = printed("%.2f", 100.0 * (1.0 - tick.part));
    grid +=
        "<path class=\"grid\" d=\"M0 " + printed("%.1f", kCanvas * (1.0 - tick.part)) + "H1000\"/>";
    labels += "<span style=\"top:" + at + "%\">" + tick.label + "</span>";
  }
  out += "<div class=\"y\">" + labels + "</div>";
  out +=
      "<div class=\"area\"><svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" "
      "role=\"img\" "
      "aria-label=\"" +
      escaped(options.title) + "\">" + grid;
  for (const ChartCurve& curve : curves) out += draw(frame, curve, options);
  out += "</svg></div><div class=\"x\">";
  for (const Axis::Tick& tick : frame.x.ticks(6, options.whole_x)) {
    out += "<span style=\"left:" + printed("%.2f", 100.0 * tick.part) + "%\">" + tick.label +
           "</span>";
  }
  out += "</div><div class=\"name\">" + escaped(options.x_label) + "</div></div>";
  return out + "</figure>";
}

std::vector<ReportPoint> smoothed(const std::vector<ReportPoint>& points) {
  std::vector<std::size_t> with_number;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (std::isfinite(points[i].value)) with_number.push_back(i);
  }
  const std::size_t count = with_number.size();
  std::vector<ReportPoint> out = points;
  std::vector<double> sums(count + 1);
  for (int pass = 0; pass < 2; ++pass) {
    for (std::size_t k = 0; k < count; ++k) sums[k + 1] = sums[k] + out[with_number[k]].value;
    for (std::size_t k = 0; k < count; ++k) {
      // Symmetric at the beginning, so that a steep one is not pulled down.
      const std::size_t reach = std::min(std::max<std::size_t>(1, count / 60), k);
      const std::size_t end = std::min(k + reach + 1, count);
      out[with_number[k]].value =
          (sums[end] - sums[k - reach]) / static_cast<double>(end - k + reach);
    }
  }
  return out;
}

std::vector<ReportPoint> thinned(const std::vector<ReportPoint>& points, std::size_t columns) {
  if (points.size() <= 2 * columns) return points;
  std::vector<ReportPoint> out;
  for (std::size_t column = 0; column < columns; ++column) {
    const std::size_t begin = points.size() * column / columns;
    const std::size_t end = points.size() * (column + 1) / columns;
    std::optional<std::size_t> least, greatest;
    for (std::size_t i = begin; i < end; ++i) {
      if (!std::isfinite(points[i].value)) continue;
      if (!least || points[i].value < points[*least].value) least = i;
      if (!greatest || points[i].value > points[*greatest].value) greatest = i;
    }
    if (!least) {
      out.push_back(points[begin]);
      continue;
    }
    out.push_back(points[std::min(*least, *greatest)]);
    if (*least != *greatest) out.push_back(points[std::max(*least, *greatest)]);
  }
  return out;
}

std::vector<double> round_ticks(double low, double high, int most) {
  const double rough = (high - low) / most;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10.0 * power;
  for (const double digit : {5.0, 2.0, 1.0}) {
    if (digit * power >= rough * (1.0 - 1e-9)) step = digit * power;
  }
  std::vector<double> out;
  const double first = std::ceil(low / step - 1e-9);
  const double last = std::floor(high / step + 1e-9);
  for (double k = first; k <= last; k += 1.0) out.push_back(k * step);
  return out;
}

std::string readable(double value) {
  if (std::isnan(value)) return "none";
  if (value == std::floor(value) && std::fabs(value) < 1e7) return printed("%.0f", value);
  return printed("%.4g", value);
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        // Control characters are not allowed in a page at all.
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') out += c;
    }
  }
  return out;
}

}  // namespace lockstep
