#include "ops/conv2d/conv2d_dnn.h"

#include <numeric>

namespace lockstep {
namespace {

constexpr std::int64_t kWidest = 16;  // bytes that kernels load at once

cudnnDataType_t type_of(DType dtype) { return dtype == DType::kF32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16; }

cudnn::Tensor tensor(DType dtype, const std::array<std::int64_t, 4>& dims, std::int64_t alignment) {
  return {type_of(dtype), dims, cudnn::channels_last(dims), alignment, false};
}

struct Tensors {
  cudnn::Tensor x, weight, y;
};

Tensors tensors_of(const ConvolutionSizes& s) {
  const ConvolutionAlignment alignment = convolution_alignment(s);
  return {tensor(s.dtype, {s.batch, s.in, s.input[0], s.input[1]}, alignment.x),
          tensor(s.dtype, {s.out, s.in_group(), s.kernel[0], s.kernel[1]}, kWidest),
          tensor(s.dtype, {s.batch, s.out, s.output[0], s.output[1]}, alignment.y)};
}

cudnn::ConvolutionGeometry geometry_of(const ConvolutionSizes& s) {
  return {s.before, s.behind, s.strides, s.dilation};
}

// A value of y's shape in f32, between two operations.
int sums(cudnn::OperationGraph& graph, cudnn::Tensor like) {
  like.type = CUDNN_DATA_FLOAT;
  like.alignment = kWidest;
  like.is_virtual = true;
  return graph.tensor(like);
}

// What a choice depends on.
std::string problem(const std::string& what, const ConvolutionSizes& sizes, const cudnn::PlanRules& rules) {
  return text(what, ' ', sizes.to_string(), rules.tensor_cores ? " tensor cores" : "", rules.transforms ? " transforms" : "",
              rules.compile ? " compile" : "", " workspace=", rules.most_workspace);
}

const char* name_of(cudnn::Convolution kind) {
  switch (kind) {
    case cudnn::Convolution::kForward:
      return "conv2d";
    case cudnn::Convolution::kBackwardData:
      return "conv2d_backward_data";
    case cudnn::Convolution::kBackwardFilter:
      return "conv2d_backward_weights";
  }
  broken_invariant("a convolution of no known kind");
}

}  // namespace

ConvolutionAlignment convolution_alignment(const ConvolutionSizes& s) {
  const auto of = [&](const std::array<std::int64_t, 2>& size, std::int64_t channels) {
    const std::int64_t bytes = size[0] * size[1] * channels * static_cast<std::int64_t>(size_of(s.dtype));
    return std::gcd(bytes, kWidest);
  };
  return {of(s.input, s.in), of(s.output, s.out)};
}

DnnPlan plan_convolution(DnnPlanner& planner, cudnn::Convolution kind, const ConvolutionSizes& sizes) {
  const Tensors t = tensors_of(sizes);
  cudnn::OperationGraph graph(planner.target);
  const int x = graph.tensor(t.x), weight = graph.tensor(t.weight), y = graph.tensor(t.y);
  graph.convolution(kind, geometry_of(sizes), x, weight, y);
  return cudnn::choose_plan(std::move(graph), planner.rules, planner.cache,
                            problem(name_of(kind), sizes, planner.rules), planner.seconds);
}

// Other patterns are compiled when the plan is made, which takes seconds, or run on slow general kernels.
bool is_fused_by_dnn(const ConvolutionSizes& sizes, const ConvolutionEnd& end) {
  if (!end.bias) return false;
  if (!end.activation) return sizes.dtype == DType::kF32;
  return end.activation->kind == ActivationKind::kRelu;
}

DnnPlan plan_fused_convolution(DnnPlanner& planner, const ConvolutionSizes& sizes, const ConvolutionEnd& end) {
  const Tensors t = tensors_of(sizes);
  cudnn::OperationGraph graph(planner.target);
  const int x = graph.tensor(t.x), weight = graph.tensor(t.weight);
  // Parameters begin at any multiple of their elements.
  const int bias = graph.tensor(tensor(sizes.dtype, {1, sizes.out, 1, 1}, static_cast<std::int64_t>(size_of(sizes.dtype))));
  const int y = graph.tensor(t.y), product = sums(graph, t.y);
  graph.convolution(cudnn::Convolution::kForward, geometry_of(sizes), x, weight, product);
  if (end.activation) {
    const int sum = sums(graph, t.y);
    graph.add(product, bias, sum);
    graph.activation(CUDNN_POINTWISE_RELU_FWD, sum, y);
  } else {
    graph.add(product, bias, y);
  }
  return cudnn::choose_plan(std::move(graph), planner.rules, planner.cache,
                            problem(end.activation ? "conv2d+bias+relu" : "conv2d+bias", sizes, planner.rules),
                            planner.seconds);
}

}  // namespace lockstep
