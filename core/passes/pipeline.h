// A list of passes that is run in order. The graph is verified after each pass, and an error names
// the pass; any pass can be printed after, optional ones can be left out by name, and each is
// timed.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "core/graph/graph.h"

namespace lockstep {

struct Pass {
  std::string name;
  std::function<Graph(const Graph&)> run;
  bool optional = false;  // the result is right without it
};

struct PipelineOptions {
  std::vector<std::string> print_after = {};  // pass names; "all" means each
  std::vector<std::string> disabled = {};     // names of optional passes to leave out
  std::ostream* print_to = nullptr;           // REQUIRES: set where print_after is not empty
};

struct PassTime {
  std::string name;
  double seconds = 0;
};

// Throws bad_input where an option names none of the `known` passes (all pipelines of a
// compilation), or disables one that is not optional.
void check_pipeline_options(const PipelineOptions& options, const std::vector<Pass>& known);

// Appends to `times` where given.
Graph run_pipeline(Graph graph, const std::vector<Pass>& passes, const PipelineOptions& options,
                   std::vector<PassTime>* times = nullptr);

}  // namespace lockstep
