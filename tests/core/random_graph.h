// Random graphs of toy ops for the tests of lowering and passes: views and parts of values, packs,
// reshapes, ops that overwrite, states that are updated, two outputs, empty values, bf16.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/graph/graph.h"

namespace lockstep::testing {

struct RandomGraphOptions {
  int nodes = 30;
  bool updates = true;  // nodes that overwrite states and results
  bool bf16 = true;
  bool exchanges = false;  // nodes for the communication stream
};

// A pure function of its arguments; verified. At least one output.
Graph random_graph(std::uint32_t seed, const RandomGraphOptions& options = {});

// Values in [-1, 1) for every input and state, by name.
std::map<std::string, std::vector<double>> random_feeds(const Graph& graph, std::uint32_t seed);

}  // namespace lockstep::testing
