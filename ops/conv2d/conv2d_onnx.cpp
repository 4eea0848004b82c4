// Convolution as ONNX's Conv, whose weight is (out, in / groups, kh, kw).
#include "ops/activation/activation_onnx.h"
#include "ops/conv2d/conv2d.h"
#include "ops/onnx/converter.h"
#include "ops/window/window_onnx.h"

namespace lockstep {
namespace {

// (kh, kw, in, out) -> (out, in, kh, kw)
std::vector<float> outermost_out(const std::vector<float>& weight, const Shape& shape) {
  const std::int64_t window = shape[0] * shape[1], in = shape[2], out = shape[3];
  std::vector<float> result(weight.size());
  for (std::int64_t k = 0; k < window; ++k) {
    for (std::int64_t i = 0; i < in; ++i) {
      for (std::int64_t o = 0; o < out; ++o) {
        result[static_cast<std::size_t>((o * in + i) * window + k)] =
            weight[static_cast<std::size_t>((k * in + i) * out + o)];
      }
    }
  }
  return result;
}

void convert(OnnxNodeContext& to) {
  const auto& op = to.op_as<Conv2dOp>();
  const std::vector<float>* weight = to.constant_input(1);
  check_input(weight != nullptr, "cannot be written as ONNX: its weight \"", to.input_name(1), "\" is computed");
  const Shape shape = to.input_type(1).shape;
  Window2d window = op.convolution().window;
  window.size = {shape[0], shape[1]};
  std::vector<OnnxAttribute> attributes = window_onnx(window, to.input_type(0).shape);
  if (op.convolution().groups != 1) attributes.push_back({"group", op.convolution().groups});
  std::vector<std::string> inputs{
      to.input(0, OnnxLayout::kFirst),
      to.builder().constant(to.input_name(1), {shape[3], shape[2], shape[0], shape[1]}, outermost_out(*weight, shape))};
  if (to.inputs() == 3) inputs.push_back(to.input(2));
  const std::string y = to.add("Conv", std::move(inputs), std::move(attributes));
  to.output(0, activation_onnx(to, op.activation(), y), OnnxLayout::kFirst);
}

}  // namespace

void register_conv2d_onnx(OnnxRegistry& registry) {
  registry.add("conv2d", convert);
}

}  // namespace lockstep
