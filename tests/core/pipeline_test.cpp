#include "core/passes/pipeline.h"

#include <gtest/gtest.h>

#include <sstream>

#include "core/base/error.h"
#include "tests/core/toy_ops.h"

namespace lockstep {
namespace {

using namespace lockstep::testing;

// Adds a node to output "y".
Pass scale_pass(const std::string& name, double factor, bool optional = false) {
  return {name,
          [=](const Graph& from) {
            GraphCopy copy(from);
            for (NodeId id = 0; id < static_cast<NodeId>(from.nodes().size()); ++id) {
              copy.copy_node(id);
            }
            const ValueId y = from.find_output("y");
            copy.map(y, toy_scale(copy.to(), copy[y], factor));
            return copy.finish();
          },
          optional};
}

Graph start() {
  Graph graph;
  graph.output("y", graph.input("x", f32({4})));
  return graph;
}

const std::vector<Pass> kPasses{scale_pass("double", 2), scale_pass("triple", 3, true),
                                scale_pass("halve", 0.5)};

template <typename Body>
std::string error_of(ErrorKind kind, const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "no error";
}

TEST(Pipeline, RunsThePassesInOrderAndTimesEach) {
  std::vector<PassTime> times{{"earlier", 1}};
  const Graph after = run_pipeline(start(), kPasses, {}, &times);
  EXPECT_EQ(after.to_string(),
            "%0 f32(4) = input \"x\"\n"
            "%1 f32(4) = toy_scale[factor=2](%0) \"toy_scale_0\"\n"
            "%2 f32(4) = toy_scale[factor=3](%1) \"toy_scale_1\"\n"
            "%3 f32(4) = toy_scale[factor=0.5](%2) \"toy_scale_2\"\n"
            "output \"y\" = %3\n");
  ASSERT_EQ(times.size(), 4u);
  EXPECT_EQ(times[1].name, "double");
  EXPECT_EQ(times[3].name, "halve");
  EXPECT_GT(times[1].seconds, 0);
}

TEST(Pipeline, WithoutPassesIsTheSameGraph) {
  EXPECT_EQ(run_pipeline(start(), {}, {}).to_string(), start().to_string());
}

TEST(Pipeline, PrintsAfterThePassesThatAreNamed) {
  std::ostringstream out;
  run_pipeline(start(), kPasses, {.print_after = {"double"}, .print_to = &out});
  EXPECT_EQ(out.str(),
            "# after double\n"
            "%0 f32(4) = input \"x\"\n"
            "%1 f32(4) = toy_scale[factor=2](%0) \"toy_scale_0\"\n"
            "output \"y\" = %1\n"
            "\n");
}

TEST(Pipeline, PrintsAfterAll) {
  std::ostringstream out;
  run_pipeline(start(), kPasses, {.print_after = {"all"}, .print_to = &out});
  const std::string text = out.str();
  const std::size_t first = text.find("# after double\n"), second = text.find("# after triple\n"),
                    third = text.find("# after halve\n");
  EXPECT_EQ(first, 0u);
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
  EXPECT_NE(third, std::string::npos);
}

TEST(Pipeline, LeavesOutOptionalPassesThatAreDisabled) {
  std::ostringstream out;
  std::vector<PassTime> times;
  const Graph after = run_pipeline(
      start(), kPasses, {.print_after = {"all"}, .disabled = {"triple"}, .print_to = &out}, &times);
  EXPECT_EQ(after.nodes().size(), 2u);
  EXPECT_EQ(times.size(), 2u);
  EXPECT_EQ(out.str().find("triple"), std::string::npos);
}

TEST(Pipeline, ErrorsOfAPassNameThePass) {
  const Pass refuses{"choosy", [](const Graph&) -> Graph { bad_input("fc: too wide"); }};
  EXPECT_EQ(error_of(ErrorKind::kBadInput, [&] { run_pipeline(start(), {refuses}, {}); }),
            "pass choosy: fc: too wide");
}

TEST(Pipeline, AGraphThatAPassBreaksNamesThePass) {
  const Pass breaks{"careless", [](const Graph& from) {
                      Graph graph = from;
                      graph.input("x", f32({5}));
                      return graph;
                    }};
  EXPECT_EQ(error_of(ErrorKind::kInvariant, [&] { run_pipeline(start(), {breaks}, {}); }),
            "pass careless: two graph values are called x");
}

TEST(PipelineOptions, KnownNamesAreAccepted) {
  check_pipeline_options({.print_after = {"all", "halve"}, .disabled = {"triple"}}, kPasses);
  check_pipeline_options({}, {});
}

TEST(PipelineOptions, UnknownNamesAreRefusedWithTheNearest) {
  const auto refused = [&](const PipelineOptions& options) {
    return error_of(ErrorKind::kBadInput, [&] { check_pipeline_options(options, kPasses); });
  };
  EXPECT_EQ(refused({.print_after = {"doubel"}}),
            "--print-after doubel: no such pass; did you mean \"double\"?");
  EXPECT_EQ(refused({.disabled = {"tripl"}}),
            "--disable-pass tripl: no such pass; did you mean \"triple\"?");
  EXPECT_EQ(refused({.print_after = {"quantisation"}}), "--print-after quantisation: no such pass");
  EXPECT_EQ(refused({.disabled = {"all"}}), "--disable-pass all: no such pass");
  EXPECT_EQ(refused({.disabled = {"halve"}}), "--disable-pass halve: this pass cannot be left out");
}

}  // namespace
}  // namespace lockstep
