// Line and point charts as HTML with inline SVG, for the report. A chart is as wide as its place:
// the drawing stretches, strokes and letters keep their size. Colours come from the page's style,
// by the class of a curve.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep {

struct ReportPoint {
  double step = 0.0;   // along the x axis
  double value = 0.0;  // NaN where the run logged no number
};

enum class CurveKind {
  kLine,
  kFaintLine,       // the noise behind a smoothed line
  kLineWithPoints,  // each point can be pointed at for its values
  kPoints,
};

struct ChartCurve {
  std::string name;    // for the legend; empty: not in it
  std::string colour;  // class: "training", "evaluation", "neutral"
  CurveKind kind = CurveKind::kLine;
  std::vector<ReportPoint> points;
};

struct ChartOptions {
  std::string title;
  std::string x_label = "step";
  std::string y_label = {};  // empty: none
  bool may_be_log = true;    // a logarithmic axis where positive values span a factor of ten
  bool square = false;
  bool wide = false;     // takes a whole row of the page
  bool whole_x = false;  // no ticks between whole numbers on the x axis
  std::optional<double> x_low = {}, x_high = {}, y_low = {}, y_high = {};  // fixed limits
};

// A <figure>; says so where there is nothing to draw.
std::string chart(const ChartOptions& options, const std::vector<ChartCurve>& curves);

// A moving average without lag: two passes of a box over about one thirtieth of the points. Points
// without a number stay so and do not count.
std::vector<ReportPoint> smoothed(const std::vector<ReportPoint>& points);

// At most about 2 * columns points that draw the same line: of each column, the least and the
// greatest.
std::vector<ReportPoint> thinned(const std::vector<ReportPoint>& points, std::size_t columns);

// Round numbers (1, 2 or 5 times a power of ten) that divide [low, high] into at most `most` parts.
// REQUIRES: low < high, both finite.
std::vector<double> round_ticks(double low, double high, int most);

// A number for people: four significant digits. "none" where it is not a number.
std::string readable(double value);

// The text with the characters that mean something to HTML replaced.
std::string escaped(std::string_view text);

}  // namespace lockstep
