// The reference interpreter of the tests: runs a graph node by node, each value in memory of its own, in
// row-major order. Slow, and independent of passes, planner and executor.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/device/cpu_device.h"
#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep::testing {

using Bytes = std::vector<std::byte>;

// Host values as doubles; bf16 and f32 are rounded, integers truncated.
Bytes encode(const std::vector<double>& values, DType dtype);
std::vector<double> decode(const void* data, const TensorType& type);

// Values of inputs and states by name. Returns the values of the graph's outputs by name, and of every
// state (as "state:<name>") after the run.
std::map<std::string, std::vector<double>> run_graph(
    const Graph& graph, const KernelRegistry& registry, Device& device,
    const std::map<std::string, std::vector<double>>& feeds);

}  // namespace lockstep::testing
