// Pooling as ONNX. The positions of the maxima are for the gradient and not there.
#include "ops/onnx/converter.h"
#include "ops/pool2d/pool2d.h"
#include "ops/window/window_onnx.h"

namespace lockstep {
namespace {

void convert_max(OnnxNodeContext& to) {
  const Window2d& window = to.op_as<MaxPool2dOp>().window();
  const std::string x = to.input(0, OnnxLayout::kFirst);
  to.output(0, to.add("MaxPool", {x}, window_onnx(window, to.input_type(0).shape)), OnnxLayout::kFirst);
}

void convert_average(OnnxNodeContext& to) {
  const Window2d& window = to.op_as<AveragePool2dOp>().window();
  check_input(window.dilation == std::array<std::int64_t, 2>{1, 1},
              "cannot be written as ONNX: its opset ", kOnnxOpset, " has no dilation of mean pooling");
  const std::string x = to.input(0, OnnxLayout::kFirst);
  to.output(0, to.add("AveragePool", {x}, window_onnx(window, to.input_type(0).shape)), OnnxLayout::kFirst);
}

}  // namespace

void register_pool2d_onnx(OnnxRegistry& registry) {
  registry.add("max_pool2d", convert_max);
  registry.add("average_pool2d", convert_average);
}

}  // namespace lockstep
