// What happens to a sample between the dataset and the model, as ONNX: the shape that the configuration gives it, transforms
// of all samples, normalisation. So an exported model takes what a dataset holds.
#pragma once

#include <string>
#include <vector>

#include "launcher/run_data.h"
#include "ops/onnx/onnx_builder.h"

namespace lockstep {

// Adds the inputs of the run as inputs of the graph, and the nodes that prepare them. Returns the names of what the model
// reads, in order, of the types that data.model_inputs says. Throws bad_input naming a transform that ONNX cannot say.
std::vector<std::string> add_onnx_inputs(OnnxBuilder& builder, const Windows& windows, const RunData& data);

}  // namespace lockstep
