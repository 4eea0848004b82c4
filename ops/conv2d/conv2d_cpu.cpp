// CPU kernels of the convolution: oneDNN's, in the formats that it likes best (see layouts) or
// row-major.
//
// Left to oneDNN, f32 activations lie in blocks of 16 channels (8 without AVX-512). One core with
// AVX-512, oneDNN 2.6, 32 images, forward: 3x32x32 -> 32 takes 0.52 ms in blocks and 0.56 ms as
// NHWC, 32x15x15 -> 64 takes 1.26 ms in blocks by Winograd's method, 1.78 ms in blocks and 2.04 ms
// as NHWC. Row-major weights cost a factor of two to four: they are reordered once a step.
#include <cstring>

#include "core/kernel/onednn_kernel.h"
#include "ops/conv2d/conv2d.h"
#include "ops/onednn_activation.h"

namespace lockstep {
namespace {

using dnnl::memory;
using onednn::input;
using onednn::output;
using onednn::plain_desc;

using Forward = dnnl::convolution_forward;
using BackwardData = dnnl::convolution_backward_data;
using BackwardWeights = dnnl::convolution_backward_weights;

// Winograd's method on fewer channels than a block multiplies zeros: oneDNN chooses it for 3
// channels, where it is five times slower.
constexpr std::int64_t kWinogradChannels = 16;

// (kh, kw, in / groups, out) with oneDNN's axes: (out, in, kh, kw), or (groups, out, in, kh, kw).
memory::desc plain_weight(DType dtype, const Shape& w, std::int64_t groups) {
  const std::int64_t in = w[2], out = w[3];
  if (groups == 1) {
    return plain_desc(dtype, {out, in, w[0], w[1]}, {1, out, w[1] * in * out, in * out});
  }
  const std::int64_t share = out / groups;
  return plain_desc(dtype, {groups, share, in, w[0], w[1]},
                    {share, 1, out, w[1] * in * out, in * out});
}

// One convolution as oneDNN sees it. `x`, `weight` and `y` are plain, in the formats of the types,
// or any.
struct Problem {
  dnnl::algorithm algorithm;
  memory::desc x, weight, y;
  std::optional<memory::desc> bias;
  memory::dims strides, dilation, before, behind;

  Problem with_any_format() const {
    Problem out = *this;
    out.x = onednn::any_format(x);
    out.weight = onednn::any_format(weight);
    out.y = onednn::any_format(y);
    return out;
  }

  Forward::primitive_desc forward(const dnnl::primitive_attr& attributes) const {
    constexpr auto kKind = dnnl::prop_kind::forward_training;
    return bias ? onednn::make_primitive_desc<Forward>(attributes, kKind, algorithm, x, weight,
                                                       *bias, y, strides, dilation, before, behind)
                : onednn::make_primitive_desc<Forward>(attributes, kKind, algorithm, x, weight, y,
                                                       strides, dilation, before, behind);
  }

  BackwardData::primitive_desc backward_data() const {
    return onednn::make_backward_desc<BackwardData>(onednn::attributes(), hint(), algorithm, x,
                                                    weight, y, strides, dilation, before, behind);
  }

  BackwardWeights::primitive_desc backward_weights() const {
    return bias ? onednn::make_backward_desc<BackwardWeights>(onednn::attributes(), hint(),
                                                              algorithm, x, weight, *bias, y,
                                                              strides, dilation, before, behind)
                : onednn::make_backward_desc<BackwardWeights>(onednn::attributes(), hint(),
                                                              algorithm, x, weight, y, strides,
                                                              dilation, before, behind);
  }

 private:
  // The forward primitive of any format: backward primitives want to see one. Its weight has the
  // type of x, where the gradient of the weight is f32.
  Forward::primitive_desc hint() const {
    Problem forward = with_any_format();
    forward.weight = memory::desc(onednn::format_of(weight).dims, onednn::element_type(x),
                                  memory::format_tag::any);
    forward.bias.reset();
    return forward.forward(onednn::attributes());
  }
};

// From row-major types; bias where its gradient or addition is part of the primitive.
Problem plain_problem(const Convolution& convolution, const TensorType& x, const TensorType& weight,
                      const TensorType& y, const TensorType* bias) {
  Window2d window = convolution.window;
  window.size = {weight.shape[0], weight.shape[1]};
  const bool winograd = convolution.winograd && x.dtype == DType::kF32 && convolution.groups == 1 &&
                        x.shape[3] >= kWinogradChannels && y.shape[3] >= kWinogradChannels;
  Problem out;
  out.algorithm =
      winograd ? dnnl::algorithm::convolution_auto : dnnl::algorithm::convolution_direct;
  out.x = onednn::plain_images(x);
  out.weight = plain_weight(weight.dtype, weight.shape, convolution.groups);
  out.y = onednn::plain_images(y);
  if (bias != nullptr) out.bias = plain_desc(*bias);
  for (int axis = 0; axis < 2; ++axis) {
    const std::int64_t extent = x.shape[1 + axis];
    out.strides.push_back(window.strides[axis]);
    out.dilation.push_back(window.dilation[axis] - 1);  // oneDNN counts the gaps
    out.before.push_back(window.padding_before(axis, extent));
    out.behind.push_back(window.padding_behind(axis, extent));
  }
  return out;
}

// The same with the formats that the values have.
Problem placed(Problem problem, const TensorType& x, const TensorType& weight,
               const TensorType& y) {
  problem.x = onednn::desc_of(x, problem.x);
  problem.weight = onednn::desc_of(weight, problem.weight);
  problem.y = onednn::desc_of(y, problem.y);
  return problem;
}

bool has_elements(const KernelRequest& request) {
  for (const TensorType& type : request.inputs) {
    if (type.elements() == 0) return false;
  }
  return true;
}

// No images: the gradients of the weights are zero, and the others have no elements.
Kernel zero_kernel(const KernelRequest& request) {
  std::vector<std::size_t> bytes;
  for (const TensorType& type : request.outputs) bytes.push_back(type.bytes());
  return {text(request.op.name(), "_cpu (no images)"), [=](const Launch& launch) {
            for (std::size_t i = 0; i < bytes.size(); ++i) {
              if (bytes[i] > 0) std::memset(launch.outputs[i], 0, bytes[i]);
            }
          }};
}

// What oneDNN answers when it may choose; nothing where it has no such kernel (making one will say
// so).
template <typename Ask>
std::optional<LayoutChoice> choice_of(const KernelRequest& request, const Ask& ask) {
  if (!has_elements(request)) return std::nullopt;
  try {
    return ask();
  } catch (const dnnl::error&) {
    return std::nullopt;
  }
}

// ---- conv2d ------------------------------------------------------------------------------------

struct ForwardRequest {
  explicit ForwardRequest(const KernelRequest& request)
      : plain(plain_problem(request.op_as<Conv2dOp>().convolution(), request.inputs[0],
                            request.inputs[1], request.outputs[0],
                            request.inputs.size() == 3 ? &request.inputs[2] : nullptr)),
        attributes(onednn::attributes()) {
    append_activation(attributes, request.op_as<Conv2dOp>().activation());
  }
  Problem plain;
  dnnl::primitive_attr attributes;
};

std::optional<LayoutChoice> conv2d_layouts(const KernelRequest& request) {
  return choice_of(request, [&] {
    const ForwardRequest r(request);
    const auto desc = r.plain.with_any_format().forward(r.attributes);
    LayoutChoice out;
    out.inputs = {onednn::layout_of(r.plain.x, desc.src_desc()),
                  onednn::layout_of(r.plain.weight, desc.weights_desc())};
    out.inputs.resize(request.inputs.size());
    out.outputs = {onednn::layout_of(r.plain.y, desc.dst_desc())};
    return out;
  });
}

Kernel conv2d_cpu(const KernelRequest& request) {
  if (!has_elements(request)) return zero_kernel(request);
  const ForwardRequest r(request);
  const Problem problem = placed(r.plain, request.inputs[0], request.inputs[1], request.outputs[0]);
  const auto desc = onednn::checked("conv2d_cpu", [&] { return problem.forward(r.attributes); });
  std::vector<onednn::KernelArgument> arguments{input(DNNL_ARG_SRC, problem.x, 0),
                                                input(DNNL_ARG_WEIGHTS, problem.weight, 1),
                                                output(DNNL_ARG_DST, problem.y, 0)};
  if (problem.bias) arguments.push_back(input(DNNL_ARG_BIAS, *problem.bias, 2));
  return onednn::make_kernel<Forward>("conv2d_cpu", desc, arguments);
}

// ---- conv2d_backward_data ----------------------------------------------------------------------

Problem backward_data_problem(const KernelRequest& request) {
  return plain_problem(request.op_as<Conv2dBackwardDataOp>().convolution(), request.outputs[0],
                       request.inputs[1], request.inputs[0], nullptr);
}

std::optional<LayoutChoice> conv2d_backward_data_layouts(const KernelRequest& request) {
  return choice_of(request, [&] {
    const Problem plain = backward_data_problem(request);
    const auto desc = plain.with_any_format().backward_data();
    return LayoutChoice{{onednn::layout_of(plain.y, desc.diff_dst_desc()),
                         onednn::layout_of(plain.weight, desc.weights_desc())},
                        {onednn::layout_of(plain.x, desc.diff_src_desc())}};
  });
}

Kernel conv2d_backward_data_cpu(const KernelRequest& request) {
  if (!has_elements(request)) return zero_kernel(request);
  const Problem problem = placed(backward_data_problem(request), request.outputs[0],
                                 request.inputs[1], request.inputs[0]);
  const auto desc =
      onednn::checked("conv2d_backward_data_cpu", [&] { return problem.backward_data(); });
  return onednn::make_kernel<BackwardData>(
      "conv2d_backward_data_cpu", desc,
      {input(DNNL_ARG_DIFF_DST, problem.y, 0), input(DNNL_ARG_WEIGHTS, problem.weight, 1),
       output(DNNL_ARG_DIFF_SRC, problem.x, 0)});
}

// ---- conv2d_backward_weights -------------------------------------------------------------------

Problem backward_weights_problem(const KernelRequest& request) {
  const auto& op = request.op_as<Conv2dBackwardWeightsOp>();
  return plain_problem(op.convolution(), request.inputs[0], request.outputs[0], request.inputs[1],
                       op.with_bias() ? &request.outputs[1] : nullptr);
}

std::optional<LayoutChoice> conv2d_backward_weights_layouts(const KernelRequest& request) {
  return choice_of(request, [&] {
    const Problem plain = backward_weights_problem(request);
    const auto desc = plain.with_any_format().backward_weights();
    LayoutChoice out{{onednn::layout_of(plain.x, desc.src_desc()),
                      onednn::layout_of(plain.y, desc.diff_dst_desc())},
                     {onednn::layout_of(plain.weight, desc.diff_weights_desc())}};
    out.outputs.resize(request.outputs.size());
    return out;
  });
}

Kernel conv2d_backward_weights_cpu(const KernelRequest& request) {
  if (!has_elements(request)) return zero_kernel(request);
  const Problem problem = placed(backward_weights_problem(request), request.inputs[0],
                                 request.outputs[0], request.inputs[1]);
  const auto desc =
      onednn::checked("conv2d_backward_weights_cpu", [&] { return problem.backward_weights(); });
  std::vector<onednn::KernelArgument> arguments{input(DNNL_ARG_SRC, problem.x, 0),
                                                input(DNNL_ARG_DIFF_DST, problem.y, 1),
                                                output(DNNL_ARG_DIFF_WEIGHTS, problem.weight, 0)};
  if (problem.bias) arguments.push_back(output(DNNL_ARG_DIFF_BIAS, *problem.bias, 1));
  return onednn::make_kernel<BackwardWeights>("conv2d_backward_weights_cpu", desc, arguments);
}

}  // namespace

void register_conv2d_cpu(KernelRegistry& registry) {
  registry.add("conv2d", DeviceKind::kCpu, {conv2d_cpu, conv2d_layouts});
  registry.add("conv2d_backward_data", DeviceKind::kCpu,
               {conv2d_backward_data_cpu, conv2d_backward_data_layouts});
  registry.add("conv2d_backward_weights", DeviceKind::kCpu,
               {conv2d_backward_weights_cpu, conv2d_backward_weights_layouts});
}

}  // namespace lockstep
