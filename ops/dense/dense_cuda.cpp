// CUDA kernels of the matrix products on cuBLASLt (cublas_product.h). Where it has no algorithm, the direct ones compute; and
// so they do on memory that is aligned to less than a Plan's.
#include "ops/dense/dense_cuda.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "ops/dense/cublas_product.h"

namespace lockstep {
namespace {

using cublas::Epilogue;
using cublas::make_product;
using cublas::Matrix;
using cublas::Problem;
using cublas::Product;
using cublas::WeightsChoice;

CudaDevice& cuda_device(const KernelRequest& request) {
  auto* device = dynamic_cast<CudaDevice*>(&request.device);
  require(device != nullptr, request.op.name(), ": cuBLASLt's kernels are asked for on ", request.device.name());
  return *device;
}

// Whatever row of the batch a microbatch begins with, its rows lie on multiples of this: what is certain for rows of
// `elements`.
std::int64_t alignment_of_rows(std::int64_t elements, DType dtype) {
  const std::int64_t bytes = elements * static_cast<std::int64_t>(size_of(dtype));
  return std::min(cublas::kWidestAlignment, bytes & -bytes);
}

bool is_empty(const DenseSizes& sizes) { return sizes.rows == 0 || sizes.in == 0 || sizes.out == 0; }

Matrix rows_of(const DenseSizes& sizes, std::int64_t elements) {
  return {elements, sizes.rows, sizes.dtype, false, alignment_of_rows(elements, sizes.dtype)};
}
Matrix weight_of(const DenseSizes& sizes, DType dtype) {
  const auto element = static_cast<std::int64_t>(size_of(dtype));
  return {sizes.out, sizes.in, dtype, false, fills_lines(sizes.in * sizes.out) ? cublas::kWidestAlignment : element};
}
Matrix transposed(Matrix matrix) {
  matrix.transposed = true;
  return matrix;
}
Problem product_of(const CudaDevice& device, const Matrix& a, const Matrix& b, const Matrix& to) {
  return {a, b, to, device.options().tf32 && a.dtype == DType::kF32};
}

std::size_t aligned(std::size_t bytes) { return (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment; }

// ---- dense ---------------------------------------------------------------------------------------

cublasLtEpilogue_t name_of(const Epilogue& epilogue) {
  if (!epilogue.activation) return epilogue.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  if (*epilogue.activation == ActivationKind::kRelu) {
    return epilogue.bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
  }
  return epilogue.bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
}

// With the first epilogue for which cuBLASLt has an algorithm; null where it has none at all.
std::pair<std::shared_ptr<const Product>, Epilogue> forward_product(CudaDevice& device, const DenseSizes& sizes,
                                                                    const DenseEnd& end) {
  Problem problem =
      product_of(device, weight_of(sizes, sizes.dtype), rows_of(sizes, sizes.in), rows_of(sizes, sizes.out));
  for (const Epilogue& epilogue : cublas::epilogues_of(sizes, end)) {
    problem.epilogue = name_of(epilogue);
    if (auto product = make_product(device, problem)) return {std::move(product), epilogue};
  }
  return {};
}

Kernel dense_cuda(const KernelRequest& request) {
  const DenseSizes sizes = dense_sizes(request);
  Kernel direct = dense_direct_cuda(request);
  if (is_empty(sizes)) return direct;
  CudaDevice& device = cuda_device(request);
  const DenseEnd end = dense_end(request);
  const auto [product, epilogue] = forward_product(device, sizes, end);
  if (product == nullptr) return direct;
  const bool to_low = epilogue.bias && sizes.dtype == DType::kBF16 && !end.low_bias;
  DenseEnd rest = end;
  if (epilogue.bias) rest.has_bias = false;
  if (epilogue.activation) rest.activation.reset();
  const bool ends_apart = rest.has_bias || rest.activation;
  const std::size_t low_bias = aligned(product->workspace_bytes());
  const auto run = [=, &device, product = product, epilogue = epilogue, run_direct = direct.run](const Launch& on) {
    const void* bias = epilogue.bias ? on.inputs[2] : nullptr;
    if (!product->takes(on.inputs[1], on.inputs[0], on.outputs[0], to_low ? nullptr : bias)) return run_direct(on);
    if (to_low) {
      void* const low = static_cast<std::byte*>(on.workspace) + low_bias;
      launch_low_bias(on, sizes, bias, low);
      bias = low;
    }
    product->run(device.blas(), on.stream, on.inputs[1], on.inputs[0], on.outputs[0], bias, on.workspace);
    if (ends_apart) launch_dense_end(on, sizes, rest, rest.has_bias ? on.inputs[2] : nullptr, on.outputs[0]);
  };
  return {text("dense_cuda (cuBLASLt", epilogue.bias ? ", bias" : "", epilogue.activation ? ", " : "",
               epilogue.activation ? end.activation->name() : "", ")"),
          run,
          std::max(direct.workspace_bytes,
                   low_bias + (to_low ? static_cast<std::size_t>(sizes.out) * size_of(DType::kBF16) : 0))};
}

// ---- Gradients -----------------------------------------------------------------------------------

Kernel dense_backward_data_cuda(const KernelRequest& request) {
  const DenseSizes sizes = dense_sizes(request);
  if (is_empty(sizes)) return dense_backward_data_direct_cuda(request);
  CudaDevice& device = cuda_device(request);
  const auto product = make_product(device, product_of(device, transposed(weight_of(sizes, sizes.dtype)),
                                                       rows_of(sizes, sizes.out), rows_of(sizes, sizes.in)));
  const Kernel direct = dense_backward_data_direct_cuda(request);
  if (product == nullptr) return direct;
  const auto run = [=, &device, run_direct = direct.run](const Launch& on) {
    if (!product->takes(on.inputs[1], on.inputs[0], on.outputs[0], nullptr)) return run_direct(on);
    product->run(device.blas(), on.stream, on.inputs[1], on.inputs[0], on.outputs[0], nullptr, on.workspace);
  };
  return {"dense_backward_data_cuda (cuBLASLt)", run, std::max(product->workspace_bytes(), direct.workspace_bytes)};
}

constexpr double kShort = 1 << 30;  // multiply-adds: some microseconds

struct WeightsProduct {
  std::shared_ptr<const Product> product;  // null where cuBLASLt has none
  bool together = false;                   // with the gradient of the bias
};

// The product for the gradient of the weights alone, or for that of the bias too, whichever is chosen. Unless it is measured,
// they come together where that is sure to save more than it costs: cuBLASLt's fastest kernels do not have every epilogue, so
// where both are of one family, and the product takes no longer than a few launches. Not in TF32: whether the sums for the
// bias would be of rounded elements is not said.
WeightsProduct weights_product(CudaDevice& device, const DenseSizes& sizes, bool bias) {
  const Problem alone =
      product_of(device, rows_of(sizes, sizes.out), transposed(rows_of(sizes, sizes.in)), weight_of(sizes, DType::kF32));
  if (!bias || alone.tf32 || !fills_lines(sizes.out)) return {make_product(device, alone)};
  Problem both = alone;
  both.epilogue = CUBLASLT_EPILOGUE_BGRADA;  // A is dy
  const auto together = std::make_shared<Product>(both), apart = std::make_shared<Product>(alone);
  const auto use = [&](const WeightsChoice& choice) {
    const auto& product = choice.together ? together : apart;
    product->use(choice.algorithm);
    return product;
  };
  std::optional<cublas::TrialMemory> memory;
  Memory sums;
  Proposals proposals;
  proposals.list = [&](std::size_t most) {
    const auto t = together->recommended(device.blas(), most), a = apart->recommended(device.blas(), most);
    const bool same_kind = !t.empty() && !a.empty() && cublas::kind_of(t.front()) == cublas::kind_of(a.front());
    return cublas::weights_choices(t, a, same_kind && sizes.products() <= kShort, most);
  };
  proposals.seconds = [&](const std::string& written) {
    if (!memory) {
      memory.emplace(device, both);
      sums = device.allocate(bias_gradient_workspace(sizes), MemoryKind::kPrivate, "trials of algorithms");
    }
    const auto choice = WeightsChoice::from(written);
    const auto product = use(choice);
    const Launch on{nullptr, nullptr, nullptr, device.stream(StreamKind::kCompute)};
    return device.seconds_of([&] {
      memory->run(*product);
      if (!choice.together) launch_bias_gradient(on, sizes, memory->a(), memory->vector(), sums.data());
    });
  };
  const std::string chosen = device.algorithms()->choose(text(both.to_string(), " or apart"), proposals);
  if (chosen.empty()) return {};
  const auto choice = WeightsChoice::from(chosen);
  return {use(choice), choice.together};
}

Kernel dense_backward_weights_cuda(const KernelRequest& request) {
  const DenseSizes sizes = dense_sizes(request);
  Kernel direct = dense_backward_weights_direct_cuda(request);
  if (is_empty(sizes)) return direct;
  CudaDevice& device = cuda_device(request);
  const bool bias = request.op_as<DenseBackwardWeightsOp>().bias();
  const auto [product, together] = weights_product(device, sizes, bias);
  if (product == nullptr) return direct;
  const bool apart = bias && !together;
  const std::size_t sums = aligned(product->workspace_bytes());
  const auto run = [=, &device, product = product, together = together, run_direct = direct.run](const Launch& on) {
    void* const db = together ? on.outputs[1] : nullptr;
    if (!product->takes(on.inputs[1], on.inputs[0], on.outputs[0], db)) return run_direct(on);
    product->run(device.blas(), on.stream, on.inputs[1], on.inputs[0], on.outputs[0], db, on.workspace);
    if (apart) {
      launch_bias_gradient(on, sizes, on.inputs[1], on.outputs[1], static_cast<std::byte*>(on.workspace) + sums);
    }
  };
  return {text("dense_backward_weights_cuda (cuBLASLt", together ? ", bias)" : ")", apart ? ", bias" : ""), run,
          std::max(direct.workspace_bytes, sums + (apart ? bias_gradient_workspace(sizes) : 0))};
}

}  // namespace

void register_dense_cuda(KernelRegistry& registry) {
  registry.add("dense", DeviceKind::kCuda, {dense_cuda, nullptr});
  registry.add("dense_backward_data", DeviceKind::kCuda, {dense_backward_data_cuda, nullptr});
  registry.add("dense_backward_weights", DeviceKind::kCuda, {dense_backward_weights_cuda, nullptr});
}

}  // namespace lockstep
