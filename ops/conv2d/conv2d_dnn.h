// The convolution as graphs of cuDNN. Apart from the kernels and from the device, so that tests can make the plans of a GPU
// that is not there.
#pragma once

#include <memory>

#include "core/device/cuda_dnn_graph.h"
#include "ops/conv2d/conv2d_sizes.h"

namespace lockstep {

// Where plans come from.
struct DnnPlanner {
  cudnn::Target target;
  AlgorithmCache& cache;
  cudnn::PlanRules rules;
  cudnn::PlanTimer seconds = {};
};

using DnnPlan = std::unique_ptr<cudnn::ExecutionPlan>;  // null where cuDNN has nothing

// The tensors of a plan, in this order: x, weight (transposed), bias where there is one, y. x and y are dx and dy, or the
// weight is dw, where those are computed. Addresses of x, weight and y are multiples of convolution_alignment().
DnnPlan plan_convolution(DnnPlanner& planner, cudnn::Convolution kind, const ConvolutionSizes& sizes);

// Whether cuDNN has kernels that do both, bias and activation included. In bf16 they take a bias of bf16.
bool is_fused_by_dnn(const ConvolutionSizes& sizes, const ConvolutionEnd& end);
// REQUIRES: is_fused_by_dnn().
DnnPlan plan_fused_convolution(DnnPlanner& planner, const ConvolutionSizes& sizes, const ConvolutionEnd& end);

// Images of a batch begin at multiples of their size, wherever the batch is cut.
struct ConvolutionAlignment {
  std::int64_t x = 16, y = 16;  // bytes
};
ConvolutionAlignment convolution_alignment(const ConvolutionSizes& sizes);

}  // namespace lockstep
