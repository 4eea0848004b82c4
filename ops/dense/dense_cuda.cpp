// CUDA kernels of the matrix products on cuBLASLt. Where it has no algorithm, the direct ones compute.
//
// cuBLASLt counts by columns, so a row-major matrix is its transpose there: y = x · w is yᵀ = wᵀ · xᵀ, and no memory is moved.
// The algorithm is the first that cuBLASLt recommends for the shapes and for the alignment that every pointer is known to
// have (see alignment_of_rows): a pure function of GPU, versions and problem, so all workers compute the same bits. Memory that
// is aligned to less, which a Plan never has, takes the direct kernels.
#include "ops/dense/dense_cuda.h"

#include <algorithm>
#include <sstream>

#include "core/device/cuda_device.h"

namespace lockstep {
namespace {

constexpr std::size_t kMostWorkspace = std::size_t{32} << 20;  // what cuBLASLt's kernels for Hopper ask for
constexpr std::size_t kWorkspaceAlignment = 256;               // that it wants for its workspace
constexpr std::int64_t kWidest = 16;                           // bytes: more alignment is of no use

CudaDevice& cuda_device(const KernelRequest& request) {
  auto* device = dynamic_cast<CudaDevice*>(&request.device);
  require(device != nullptr, request.op.name(), ": cuBLASLt's kernels are asked for on ", request.device.name());
  return *device;
}

cudaDataType_t cuda_type(DType dtype) { return dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F; }

// Whatever row of the batch a microbatch begins with, its rows lie on multiples of this: what is certain for rows of
// `elements`.
std::int64_t alignment_of_rows(std::int64_t elements, DType dtype) {
  const std::int64_t bytes = elements * static_cast<std::int64_t>(size_of(dtype));
  return std::min(kWidest, bytes & -bytes);
}

// Parameters that fill whole lines of memory begin on a line (dist/buckets.h).
std::int64_t alignment_of_weight(const DenseSizes& sizes, DType dtype) {
  const bool whole_lines = sizes.in * sizes.out * static_cast<std::int64_t>(sizeof(float)) % kMemoryAlignment == 0;
  return whole_lines ? kWidest : static_cast<std::int64_t>(size_of(dtype));
}

// A matrix as cuBLASLt sees it: `rows` by `columns`, column after column.
struct Matrix {
  std::int64_t rows = 0, columns = 0;
  DType dtype = DType::kF32;
  bool transposed = false;  // before it is multiplied
  std::int64_t alignment = 0;

  std::string to_string() const {
    return text(name_of(dtype), '(', rows, ',', columns, transposed ? ")T/" : ")/", alignment);
  }
};

struct Problem {
  Matrix a, b, to;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  DType bias = DType::kF32;
  bool tf32 = false;

  std::string to_string() const {
    return text("matmul ", a.to_string(), ' ', b.to_string(), ' ', to.to_string(), " epilogue=", static_cast<int>(epilogue),
                " bias=", name_of(bias), tf32 ? " tf32" : "");
  }
};

// The descriptions that cuBLASLt wants, freed with the object.
class Product {
 public:
  explicit Product(const Problem& problem)
      : a_alignment_(problem.a.alignment), b_alignment_(problem.b.alignment), to_alignment_(problem.to.alignment) {
    const cublasComputeType_t compute = problem.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    check_cublas(cublasLtMatmulDescCreate(&what_, compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
    const cublasOperation_t transpose = CUBLAS_OP_T;
    if (problem.a.transposed) set(CUBLASLT_MATMUL_DESC_TRANSA, transpose);
    if (problem.b.transposed) set(CUBLASLT_MATMUL_DESC_TRANSB, transpose);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, problem.epilogue);
    if (has_bias(problem)) {
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, cuda_type(problem.bias));
      // A recommendation is for a bias on a line of memory; where it lies is said before each run.
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, reinterpret_cast<const void*>(kMemoryAlignment));
    }
    describe(a_, problem.a);
    describe(b_, problem.b);
    describe(to_, problem.to);
  }
  ~Product() {
    cublasLtMatrixLayoutDestroy(a_);
    cublasLtMatrixLayoutDestroy(b_);
    cublasLtMatrixLayoutDestroy(to_);
    cublasLtMatmulDescDestroy(what_);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  static bool has_bias(const Problem& problem) {
    return problem.epilogue == CUBLASLT_EPILOGUE_BIAS || problem.epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
  }

  // The first algorithm that cuBLASLt recommends, as text; empty where it has none.
  std::string recommended(cublasLtHandle_t handle, const Problem& problem) const {
    cublasLtMatmulPreference_t wanted = nullptr;
    check_cublas(cublasLtMatmulPreferenceCreate(&wanted), "cublasLtMatmulPreferenceCreate");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, const auto& value) {
      check_cublas(cublasLtMatmulPreferenceSetAttribute(wanted, what, &value, sizeof value),
                   "cublasLtMatmulPreferenceSetAttribute");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMostWorkspace);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(problem.a.alignment));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(problem.b.alignment));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(problem.to.alignment));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(problem.to.alignment));
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    const cublasStatus_t code =
        cublasLtMatmulAlgoGetHeuristic(handle, what_, a_, b_, to_, to_, wanted, 1, &found, &count);
    cublasLtMatmulPreferenceDestroy(wanted);
    if (code != CUBLAS_STATUS_SUCCESS || count == 0) return {};
    std::string out = std::to_string(found.workspaceSize);
    for (const std::uint64_t word : found.algo.data) out += text(' ', word);
    return out;
  }

  // Takes an algorithm from its text. REQUIRES: it is not empty.
  void use(const std::string& algorithm) {
    std::istringstream in(algorithm);
    in >> workspace_;
    for (std::uint64_t& word : algorithm_.data) in >> word;
    require(!in.fail(), "an algorithm of cuBLASLt that cannot be read: ", algorithm);
  }
  // With room to begin where cuBLASLt wants it.
  std::size_t workspace_bytes() const { return workspace_ == 0 ? 0 : workspace_ + kWorkspaceAlignment; }

  // Whether memory lies where the algorithm expects it.
  bool takes(const void* a, const void* b, const void* to, const void* bias) const {
    const auto is_aligned = [](const void* data, std::int64_t alignment) {
      return reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(alignment) == 0;
    };
    return is_aligned(a, a_alignment_) && is_aligned(b, b_alignment_) && is_aligned(to, to_alignment_) &&
           is_aligned(bias, kWidest);
  }

  void run(cublasLtHandle_t handle, void* stream, const void* a, const void* b, void* to, const void* bias,
           void* workspace) const {
    if (bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    const auto begin = (reinterpret_cast<std::uintptr_t>(workspace) + kWorkspaceAlignment - 1) & -kWorkspaceAlignment;
    const float one = 1, zero = 0;
    check_cublas(cublasLtMatmul(handle, what_, &one, a, a_, b, b_, &zero, to, to_, to, to_, &algorithm_,
                                reinterpret_cast<void*>(begin), workspace_, static_cast<cudaStream_t>(stream)),
                 "cublasLtMatmul");
  }

 private:
  template <typename Value>
  void set(cublasLtMatmulDescAttributes_t what, const Value& value) const {
    check_cublas(cublasLtMatmulDescSetAttribute(what_, what, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  }
  static void describe(cublasLtMatrixLayout_t& out, const Matrix& matrix) {
    check_cublas(cublasLtMatrixLayoutCreate(&out, cuda_type(matrix.dtype), static_cast<std::uint64_t>(matrix.rows),
                                            static_cast<std::uint64_t>(matrix.columns), matrix.rows),
                 "cublasLtMatrixLayoutCreate");
  }

  const std::int64_t a_alignment_, b_alignment_, to_alignment_;
  cublasLtMatmulDesc_t what_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, to_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_{};
  std::size_t workspace_ = 0;
};

// Ready to run; null where cuBLASLt has no algorithm.
std::shared_ptr<const Product> make_product(CudaDevice& device, Problem problem) {
  problem.tf32 = device.options().tf32 && problem.a.dtype == DType::kF32;
  auto product = std::make_shared<Product>(problem);
  const auto list = [&](std::size_t) {
    const std::string first = product->recommended(device.blas(), problem);
    return first.empty() ? std::vector<std::string>{} : std::vector{first};
  };
  const std::string algorithm = device.algorithms()->choose(problem.to_string(), {.list = list});
  if (algorithm.empty()) return nullptr;
  product->use(algorithm);
  return product;
}

bool is_empty(const DenseSizes& sizes) { return sizes.rows == 0 || sizes.in == 0 || sizes.out == 0; }

Matrix rows_of(const DenseSizes& sizes, std::int64_t elements) {
  return {elements, sizes.rows, sizes.dtype, false, alignment_of_rows(elements, sizes.dtype)};
}
Matrix weight_of(const DenseSizes& sizes, DType dtype) {
  return {sizes.out, sizes.in, dtype, false, alignment_of_weight(sizes, dtype)};
}
Matrix transposed(Matrix matrix) {
  matrix.transposed = true;
  return matrix;
}

std::size_t aligned(std::size_t bytes) { return (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment; }

// ---- dense ---------------------------------------------------------------------------------------

// What cuBLASLt does itself after the product: a bias that begins on a line, and relu.
cublasLtEpilogue_t epilogue_of(const DenseSizes& sizes, const DenseEnd& end) {
  const bool bias = end.has_bias && (sizes.out % (kMemoryAlignment / sizeof(float)) == 0 || sizes.dtype == DType::kBF16);
  const bool relu = end.activation && end.activation->kind == ActivationKind::kRelu && bias == end.has_bias;
  if (bias) return relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
  return relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT;
}

Kernel dense_cuda(const KernelRequest& request) {
  const DenseSizes sizes = dense_sizes(request);
  if (is_empty(sizes)) return dense_direct_cuda(request);
  CudaDevice& device = cuda_device(request);
  DenseEnd end = dense_end(request);
  const cublasLtEpilogue_t epilogue = epilogue_of(sizes, end);
  const auto product = make_product(
      device, {weight_of(sizes, sizes.dtype), rows_of(sizes, sizes.in), rows_of(sizes, sizes.out), epilogue, sizes.dtype});
  const Kernel direct = dense_direct_cuda(request);
  if (product == nullptr) return direct;
  const bool fused_bias = epilogue == CUBLASLT_EPILOGUE_BIAS || epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
  const bool fused_relu = epilogue == CUBLASLT_EPILOGUE_RELU || epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
  const bool to_low = fused_bias && sizes.dtype == DType::kBF16 && !end.low_bias;
  if (fused_bias) end.has_bias = false;
  if (fused_relu) end.activation.reset();
  const bool ends_apart = end.has_bias || end.activation;
  const std::size_t low_bias = aligned(product->workspace_bytes());
  const auto run = [=, &device, run_direct = direct.run](const Launch& on) {
    const void* bias = fused_bias ? on.inputs[2] : nullptr;
    if (!product->takes(on.inputs[1], on.inputs[0], on.outputs[0], to_low ? nullptr : bias)) return run_direct(on);
    if (to_low) {
      void* const low = static_cast<std::byte*>(on.workspace) + low_bias;
      launch_low_bias(on, sizes, bias, low);
      bias = low;
    }
    product->run(device.blas(), on.stream, on.inputs[1], on.inputs[0], on.outputs[0], bias, on.workspace);
    if (ends_apart) launch_dense_end(on, sizes, end, end.has_bias ? on.inputs[2] : nullptr, on.outputs[0]);
  };
  return {text("dense_cuda (cuBLASLt", fused_bias ? ", bias" : "", fused_relu ? ", relu" : "", ")"), run,
          std::max(direct.workspace_bytes,
                   low_bias + (to_low ? static_cast<std::size_t>(sizes.out) * size_of(DType::kBF16) : 0))};
}

// ---- Gradients -----------------------------------------------------------------------------------

Kernel dense_backward_data_cuda(const KernelRequest& request) {
  const DenseSizes sizes = dense_sizes(request);
  if (is_empty(sizes)) return dense_backward_data_direct_cuda(request);
  CudaDevice& device = cuda_device(request);
  const auto product = make_product(device, {transposed(weight_of(sizes, sizes.dtype)), rows_of(sizes, sizes.out),
                                             rows_of(sizes, sizes.in)});
  const Kernel direct = dense_backward_data_direct_cuda(request);
  if (product == nullptr) return direct;
  const auto run = [=, &device, run_direct = direct.run](const Launch& on) {
    if (!product->takes(on.inputs[1], on.inputs[0], on.outputs[0], nullptr)) return run_direct(on);
    product->run(device.blas(), on.stream, on.inputs[1], on.inputs[0], on.outputs[0], nullptr, on.workspace);
  };
  return {"dense_backward_data_cuda (cuBLASLt)", run, std::max(product->workspace_bytes(), direct.workspace_bytes)};
}

Kernel dense_backward_weights_cuda(const KernelRequest& request) {
  const DenseSizes sizes = dense_sizes(request);
  if (is_empty(sizes)) return dense_backward_weights_direct_cuda(request);
  CudaDevice& device = cuda_device(request);
  const auto product = make_product(device, {rows_of(sizes, sizes.out), transposed(rows_of(sizes, sizes.in)),
                                             weight_of(sizes, DType::kF32)});
  const Kernel direct = dense_backward_weights_direct_cuda(request);
  if (product == nullptr) return direct;
  const bool bias = request.op_as<DenseBackwardWeightsOp>().bias();
  const std::size_t sums = aligned(product->workspace_bytes());
  const auto run = [=, &device, run_direct = direct.run](const Launch& on) {
    if (!product->takes(on.inputs[1], on.inputs[0], on.outputs[0], nullptr)) return run_direct(on);
    product->run(device.blas(), on.stream, on.inputs[1], on.inputs[0], on.outputs[0], nullptr, on.workspace);
    if (bias) {
      launch_bias_gradient(on, sizes, on.inputs[1], on.outputs[1], static_cast<std::byte*>(on.workspace) + sums);
    }
  };
  return {text("dense_backward_weights_cuda (cuBLASLt", bias ? ", bias)" : ")"), run,
          std::max(direct.workspace_bytes, sums + (bias ? bias_gradient_workspace(sizes) : 0))};
}

}  // namespace

void register_dense_cuda(KernelRegistry& registry) {
  registry.add("dense", DeviceKind::kCuda, {dense_cuda, nullptr});
  registry.add("dense_backward_data", DeviceKind::kCuda, {dense_backward_data_cuda, nullptr});
  registry.add("dense_backward_weights", DeviceKind::kCuda, {dense_backward_weights_cuda, nullptr});
}

}  // namespace lockstep
