// The kernels that lockstep_gpu_kernels times: ops at sizes as they are met in training.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/graph/op.h"

namespace lockstep::bench {

enum class CaseGroup {
  kBandwidth,    // limited by memory: compared with the rate of a copy
  kProduct,      // matrix products: compared with cuBLASLt's best algorithm
  kConvolution,  // compared with PyTorch's cuDNN
};

struct KernelCase {
  CaseGroup group;
  std::string name;  // what the table calls it, without sizes: "batch_norm + relu"
  std::shared_ptr<const Op> op;
  std::vector<TensorType> inputs;
  // Bytes that have to move beyond each input read once and each output written once; negative
  // where parts of an input are not read.
  double more_bytes = 0;
  std::int64_t integer_bound = 1000;  // integer inputs are in [0, integer_bound)
  std::vector<int> positive = {};  // inputs whose elements are positive: variances, second moments
  // What the programs that time the same elsewhere have to know: strides, padding; rows, columns,
  // inner, ...
  std::map<std::string, std::int64_t> numbers = {};
};

// `data` is f32 or bf16.
std::vector<KernelCase> bandwidth_cases(DType data);
std::vector<KernelCase> product_cases(DType data);
std::vector<KernelCase> convolution_cases(DType data);

}  // namespace lockstep::bench
