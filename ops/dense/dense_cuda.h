// The CUDA kernels of the matrix products, and the steps that they are made of.
#pragma once

#include "ops/dense/dense.h"

namespace lockstep {

// Of any of the three ops: x is (rows, in), w is (in, out), y is (rows, out).
struct DenseSizes {
  DType dtype = DType::kF32;  // of x, w and y
  std::int64_t rows = 0, in = 0, out = 0;

  double products() const { return static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out); }
};
DenseSizes dense_sizes(const KernelRequest& request);

// What follows the product of the forward op: y = f(y + bias).
struct DenseEnd {
  bool has_bias = false;
  bool low_bias = false;  // it is bf16
  std::optional<Activation> activation;
};
DenseEnd dense_end(const KernelRequest& request);

// Parameters of so many elements fill whole lines of memory. Those begin on a line (dist/buckets.h), and so do their gradients.
inline bool fills_lines(std::int64_t elements) {
  return elements * static_cast<std::int64_t>(sizeof(float)) % static_cast<std::int64_t>(kMemoryAlignment) == 0;
}

// ---- Kernels that are all ours ---------------------------------------------------------------------

// For any sizes. They compute products with vectors and tiny ones, whatever cuBLASLt has no kernel for, and on the emulated
// GPU.
Kernel dense_direct_cuda(const KernelRequest& request);
Kernel dense_backward_data_direct_cuda(const KernelRequest& request);
Kernel dense_backward_weights_direct_cuda(const KernelRequest& request);
void register_dense_direct_cuda(KernelRegistry& registry);

// ---- Steps around cuBLASLt's products --------------------------------------------------------------

// y = f(y + bias) in place.
void launch_dense_end(const Launch& on, const DenseSizes& sizes, const DenseEnd& end, const void* bias, void* y);
// A bias in bf16 from f32.
void launch_low_bias(const Launch& on, const DenseSizes& sizes, const void* bias, void* to);
// db from dy, and the memory that it needs.
std::size_t bias_gradient_workspace(const DenseSizes& sizes);
void launch_bias_gradient(const Launch& on, const DenseSizes& sizes, const void* dy, void* db, void* workspace);

}  // namespace lockstep
