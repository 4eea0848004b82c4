// Charts: ticks, smoothing, thinning, and what is drawn of wrong numbers.
#include "launcher/report_chart.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lockstep {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

TEST(RoundTicks, AreRoundAndInside) {
  EXPECT_EQ(round_ticks(0.0, 1.0, 5),
            (std::vector<double>{0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0}));
  EXPECT_EQ(round_ticks(3.0, 47.0, 5), (std::vector<double>{10.0, 20.0, 30.0, 40.0}));
  EXPECT_EQ(round_ticks(-1.0, 1.0, 4), (std::vector<double>{-1.0, -0.5, 0.0, 0.5, 1.0}));
}

TEST(RoundTicks, AreTwoToSevenForAnyRange) {
  for (double low = -3.3; low < 4.0; low += 0.7) {
    for (double width = 1e-6; width < 1e7; width *= 1.7) {
      const std::vector<double> ticks = round_ticks(low, low + width, 6);
      EXPECT_GE(ticks.size(), 2u) << low << " + " << width;
      EXPECT_LE(ticks.size(), 7u) << low << " + " << width;
      for (const double tick : ticks) {
        EXPECT_GE(tick, low - 1e-9 * width);
        EXPECT_LE(tick, low + width * (1 + 1e-9));
      }
    }
  }
}

TEST(Smoothed, KeepsALineAndTakesAwayNoise) {
  std::vector<ReportPoint> line, noise;
  for (int i = 0; i < 600; ++i) {
    line.push_back({double(i), 3.0});
    noise.push_back({double(i), i % 2 == 0 ? 1.0 : -1.0});
  }
  for (const ReportPoint& point : smoothed(line)) EXPECT_DOUBLE_EQ(point.value, 3.0);
  const auto flat = smoothed(noise);
  ASSERT_EQ(flat.size(), noise.size());
  for (int i = 30; i < 570; ++i) EXPECT_LT(std::fabs(flat[i].value), 0.06) << i;
}

TEST(Smoothed, DoesNotPullDownASteepBeginning) {
  std::vector<ReportPoint> steep;
  for (int i = 0; i < 300; ++i) steep.push_back({double(i), 100.0 - i / 3.0});
  const auto found = smoothed(steep);
  EXPECT_DOUBLE_EQ(found[0].value, 100.0);
  EXPECT_NEAR(found[20].value, steep[20].value, 1e-9);
}

TEST(Smoothed, PassesOverWhatIsNoNumber) {
  const auto found = smoothed({{1, 2.0}, {2, kNan}, {3, 2.0}, {4, 2.0}});
  EXPECT_TRUE(std::isnan(found[1].value));
  EXPECT_DOUBLE_EQ(found[2].value, 2.0);
  EXPECT_TRUE(smoothed({}).empty());
}

TEST(Thinned, KeepsTheExtremesInOrder) {
  std::vector<ReportPoint> points;
  for (int i = 0; i < 100000; ++i) points.push_back({double(i), std::sin(i * 0.01)});
  points[55555].value = 9.0;
  points[77777].value = -9.0;
  const auto found = thinned(points, 100);
  EXPECT_LE(found.size(), 200u);
  EXPECT_GE(found.size(), 100u);
  double least = 0.0, greatest = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (i > 0) {
      EXPECT_LT(found[i - 1].step, found[i].step);
    }
    least = std::min(least, found[i].value);
    greatest = std::max(greatest, found[i].value);
  }
  EXPECT_EQ(least, -9.0);
  EXPECT_EQ(greatest, 9.0);
}

TEST(Thinned, LeavesFewPointsAlone) {
  const std::vector<ReportPoint> points = {{1, 5.0}, {2, kNan}, {3, 6.0}};
  EXPECT_EQ(thinned(points, 2).size(), 3u);
}

TEST(Thinned, KeepsGaps) {
  std::vector<ReportPoint> points(1000, {0.0, kNan});
  EXPECT_TRUE(std::isnan(thinned(points, 10)[3].value));
}

TEST(Chart, SaysThatThereIsNothing) {
  for (const auto& curves :
       {std::vector<ChartCurve>{}, std::vector<ChartCurve>{{"a", "training", CurveKind::kLine, {}}},
        std::vector<ChartCurve>{{"a", "training", CurveKind::kLine, {{1, kNan}}}}}) {
    const std::string drawn = chart({.title = "Loss"}, curves);
    EXPECT_EQ(count(drawn, "No values were logged."), 1);
    EXPECT_EQ(count(drawn, "<svg"), 0);
    EXPECT_EQ(count(drawn, "<figure"), count(drawn, "</figure>"));
  }
}

TEST(Chart, DrawsOnePath) {
  const std::string drawn =
      chart({.title = "A <b> & \"c\"", .x_low = 0.0, .x_high = 10.0, .y_low = 0.0, .y_high = 1.0},
            {{"training", "training", CurveKind::kLine, {{0, 0.0}, {5, 0.5}, {10, 1.0}}}});
  EXPECT_EQ(count(drawn, "d=\"M0.0 1000.0h0L500.0 500.0L1000.0 0.0\""), 1) << drawn;
  EXPECT_EQ(count(drawn, "A &lt;b&gt; &amp; &quot;c&quot;"), 2) << drawn;
  EXPECT_EQ(count(drawn, "<span style=\"top:0.00%\">1.0</span>"), 1) << drawn;
  EXPECT_EQ(count(drawn, "<span style=\"left:20.00%\">2</span>"), 1) << drawn;
}

TEST(Chart, LeavesAGapWhereThereIsNoNumber) {
  const std::string drawn = chart(
      {.title = "x", .x_low = 0.0, .x_high = 4.0, .y_low = 0.0, .y_high = 1.0},
      {{"a", "training", CurveKind::kLine, {{0, 1.0}, {1, 1.0}, {2, kNan}, {3, 1.0}, {4, 1.0}}}});
  EXPECT_EQ(count(drawn, "d=\"M0.0 0.0h0L250.0 0.0M750.0 0.0h0L1000.0 0.0\""), 1) << drawn;
  EXPECT_EQ(count(drawn, "nan"), 0);
}

TEST(Chart, IsLogarithmicWhereThatHelps) {
  const std::vector<ReportPoint> wide = {{1, 100.0}, {2, 0.1}};
  const std::vector<ReportPoint> negative = {{1, 100.0}, {2, -0.1}};
  const auto drawn = [](const std::vector<ReportPoint>& points, bool may) {
    return chart({.title = "x", .may_be_log = may}, {{"a", "training", CurveKind::kLine, points}});
  };
  EXPECT_EQ(count(drawn(wide, true), "logarithmic"), 1);
  EXPECT_EQ(count(drawn(wide, false), "logarithmic"), 0);
  EXPECT_EQ(count(drawn(negative, true), "logarithmic"), 0);
  EXPECT_EQ(count(drawn({{1, 2.0}, {2, 1.0}}, true), "logarithmic"), 0);
}

TEST(Chart, DrawsOnePointAndConstantsWithoutDividingByZero) {
  for (const double value : {0.0, 1.0, -3.0, 1e-30, 1e30}) {
    const std::string drawn =
        chart({.title = "x"}, {{"a", "training", CurveKind::kLineWithPoints, {{1, value}}}});
    EXPECT_EQ(count(drawn, "nan"), 0) << drawn;
    EXPECT_EQ(count(drawn, "inf"), 0) << drawn;
    EXPECT_EQ(count(drawn, "class=\"point training\""), 1) << drawn;
  }
}

TEST(Chart, CutsNoiseOffAtTheLimits) {
  std::vector<ReportPoint> noise;
  for (int i = 0; i < 1000; ++i) noise.push_back({double(i), i == 500 ? 1e6 : 1.0 + i % 7});
  const std::string drawn =
      chart({.title = "x", .may_be_log = false}, {{"a", "training", CurveKind::kFaintLine, noise}});
  EXPECT_EQ(count(drawn, "<svg width=\"1000\" height=\"1000\"><path class=\"line training faint\""),
            1);
  EXPECT_EQ(count(drawn, ">6</span>"), 1);  // the axis is that of the other points
}

TEST(Chart, HasNoTicksBetweenWholeSteps) {
  const std::string drawn = chart({.title = "x", .whole_x = true, .x_low = 0.0, .x_high = 2.0},
                                  {{"a", "training", CurveKind::kLine, {{1, 1.0}, {2, 2.0}}}});
  EXPECT_EQ(count(drawn, "<span style=\"left:"), 3) << drawn;
}

TEST(Chart, PointsSayTheirValues) {
  const std::string drawn =
      chart({.title = "x"},
            {{"test", "evaluation", CurveKind::kLineWithPoints, {{10, 0.25}, {20, 0.125}}}});
  EXPECT_EQ(count(drawn, "<title>step 10: 0.25</title>"), 1) << drawn;
  EXPECT_EQ(count(drawn, "<title>step 20: 0.125</title>"), 1) << drawn;
}

TEST(Readable, IsForPeople) {
  EXPECT_EQ(readable(3.0), "3");
  EXPECT_EQ(readable(0.123456), "0.1235");
  EXPECT_EQ(readable(kNan), "none");
  EXPECT_EQ(readable(-2.5), "-2.5");
}

TEST(Escaped, LeavesNothingThatMeansSomethingToHtml) {
  EXPECT_EQ(escaped("<a href='x'>&\"\x01\n"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\n");
}

}  // namespace
}  // namespace lockstep
