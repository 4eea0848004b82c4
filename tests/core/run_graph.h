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

// How an op is run by itself.
struct OpRun {
  std::vector<TensorType> inputs, outputs;
  bool in_place = false;    // the first output is computed in the memory of the first input
  std::size_t offset = 0;   // every tensor begins so many bytes behind aligned memory
};

// The values of the outputs.
std::vector<std::vector<double>> run_op(const Op& op, const OpRun& run, const KernelRegistry& registry, Device& device,
                                        const std::vector<std::vector<double>>& values);

}  // namespace lockstep::testing
