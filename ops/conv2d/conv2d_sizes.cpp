#include "ops/conv2d/conv2d_sizes.h"

#include <limits>

#include "core/builtin/transposed_layout.h"

namespace lockstep {

std::string ConvolutionSizes::to_string() const {
  const auto pair = [](const std::array<std::int64_t, 2>& values) { return text('(', values[0], ", ", values[1], ')'); };
  return text(name_of(dtype), " batch=", batch, " in=", in, " out=", out, " groups=", groups, " input=", pair(input),
              " kernel=", pair(kernel), " strides=", pair(strides), " dilation=", pair(dilation), " before=", pair(before),
              " behind=", pair(behind));
}

namespace {

ConvolutionSizes sizes_of(const KernelRequest& request, const Convolution& convolution, const Shape& x,
                          const Shape& weight, const TensorType& y) {
  ConvolutionSizes out;
  out.dtype = y.dtype;
  out.batch = x[0];
  out.in = x[3];
  out.out = y.shape[3];
  out.groups = convolution.groups;
  Window2d window = convolution.window;
  window.size = {weight[0], weight[1]};
  out.kernel = window.size;
  out.strides = window.strides;
  out.dilation = window.dilation;
  for (int axis = 0; axis < 2; ++axis) {
    out.input[axis] = x[1 + axis];
    out.output[axis] = y.shape[1 + axis];
    out.before[axis] = window.padding_before(axis, x[1 + axis]);
    out.behind[axis] = window.padding_behind(axis, x[1 + axis]);
    // Places of an image, in padding as well, are 32-bit numbers in the kernels.
    const double reach = static_cast<double>(out.input[axis]) + static_cast<double>(out.dilation[axis]) * out.kernel[axis] +
                         static_cast<double>(out.output[axis]) * out.strides[axis];
    check_input(reach < std::numeric_limits<std::int32_t>::max() / 2, request.op.name(), ": images of ", x, " are too large");
  }
  return out;
}

}  // namespace

ConvolutionSizes convolution_sizes(const KernelRequest& request) {
  if (const auto* op = dynamic_cast<const Conv2dOp*>(&request.op)) {
    return sizes_of(request, op->convolution(), request.inputs[0].shape, request.inputs[1].shape, request.outputs[0]);
  }
  if (const auto* op = dynamic_cast<const Conv2dBackwardDataOp*>(&request.op)) {
    return sizes_of(request, op->convolution(), request.outputs[0].shape, request.inputs[1].shape, request.inputs[0]);
  }
  const auto& op = request.op_as<Conv2dBackwardWeightsOp>();
  return sizes_of(request, op.convolution(), request.inputs[0].shape, request.outputs[0].shape, request.inputs[1]);
}

ConvolutionEnd convolution_end(const KernelRequest& request) {
  ConvolutionEnd out;
  out.bias = request.inputs.size() == 3;
  out.low_bias = out.bias && request.inputs[2].dtype == DType::kBF16;
  out.activation = request.op_as<Conv2dOp>().activation();
  return out;
}

std::optional<LayoutChoice> conv2d_layouts_cuda(const KernelRequest& request) {
  if (convolution_sizes(request).empty()) return std::nullopt;
  LayoutChoice out;
  out.inputs.resize(request.inputs.size());
  out.outputs.resize(request.outputs.size());
  if (dynamic_cast<const Conv2dBackwardWeightsOp*>(&request.op) == nullptr) {
    out.inputs[1] = transposed(request.inputs[1]).layout;
  } else if (request.inputs[0].dtype == DType::kF32) {
    out.outputs[0] = transposed(request.outputs[0]).layout;
  } else {
    return std::nullopt;  // bf16 is converted at the end in any case, and transposed on the way
  }
  return out;
}

}  // namespace lockstep
