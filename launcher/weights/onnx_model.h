// The trained model of a run as an ONNX graph, with the results of `lockstep predict`: what a dataset holds goes in, and
// "output" comes out, and "probability" and "label" where the loss knows them.
#pragma once

#include "launcher/config.h"
#include "launcher/run_data.h"
#include "launcher/weights/weights.h"
#include "ops/onnx/onnx_graph.h"

namespace lockstep {

// Throws bad_input naming the layer and op, or the transform, that ONNX cannot say, and the tensors where the weights are
// not those of the model. `where` the weights are from is for the message.
OnnxGraph onnx_model(const Config& config, const RunData& data, const Weights& weights, const std::string& where);

}  // namespace lockstep
