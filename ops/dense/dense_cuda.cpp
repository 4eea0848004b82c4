// CUDA kernels of the matrix products on cuBLASLt. Products with vectors and tiny ones, and whatever it has no algorithm for,
// are computed by the direct kernels.
//
// cuBLASLt counts by columns, so a row-major matrix is its transpose there: y = x · w is yᵀ = wᵀ · xᵀ, and no memory is moved.
// The algorithm is the first that cuBLASLt recommends for the shapes and for the alignment that every pointer is known to
// have (see alignment_of_rows): a pure function of GPU, versions and problem, so all workers compute the same bits. Memory
// that is aligned to less, which a Plan never has, takes the direct kernels too.
//
// Partial sums of algorithms that cut the depth are kept in f32: others of cuBLASLt would round them to the type of the result.
#include "ops/dense/dense_cuda.h"

#include <algorithm>
#include <sstream>

#include "core/device/cuda_device.h"

namespace lockstep {
namespace {

constexpr std::size_t kMostWorkspace = std::size_t{32} << 20;  // what cuBLASLt's kernels for Hopper ask for
constexpr std::size_t kWorkspaceAlignment = 256;               // that it wants for its workspace
constexpr std::int64_t kWidest = 16;                           // bytes: more alignment is of no use

// Multiply-adds, and depth, up to which a launch costs more than the product.
constexpr double kFewProducts = 1 << 15;
constexpr std::int64_t kShallow = 64;
// The same for the gradient of a bias beside its product.
constexpr double kBiasGradientCounts = 1 << 26;

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

// Parameters that fill whole lines of memory begin on a line (dist/buckets.h), and so do their gradients.
std::int64_t alignment_of_parameter(std::int64_t elements, DType dtype) {
  const bool whole_lines = elements * static_cast<std::int64_t>(sizeof(float)) % kMemoryAlignment == 0;
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
  // Of the bias that the epilogue adds, or of the gradient of a bias that it finds.
  DType bias = DType::kF32;
  std::int64_t bias_alignment = kWidest;
  bool tf32 = false;

  bool has_bias() const {
    return epilogue == CUBLASLT_EPILOGUE_BIAS || epilogue == CUBLASLT_EPILOGUE_RELU_BIAS ||
           epilogue == CUBLASLT_EPILOGUE_BGRADA;
  }
  std::string to_string() const {
    std::string out = text("matmul ", a.to_string(), ' ', b.to_string(), ' ', to.to_string());
    if (epilogue != CUBLASLT_EPILOGUE_DEFAULT) out += text(" epilogue=", static_cast<int>(epilogue));
    if (has_bias()) out += text(" bias=", name_of(bias), '/', bias_alignment);
    return out + (tf32 ? " tf32" : "");
  }
};

// The descriptions that cuBLASLt wants, freed with the object.
class Product {
 public:
  explicit Product(const Problem& problem) {
    const cublasComputeType_t compute = problem.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    check_cublas(cublasLtMatmulDescCreate(&what_, compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
    const cublasOperation_t transpose = CUBLAS_OP_T;
    if (problem.a.transposed) set(CUBLASLT_MATMUL_DESC_TRANSA, transpose);
    if (problem.b.transposed) set(CUBLASLT_MATMUL_DESC_TRANSB, transpose);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, problem.epilogue);
    if (problem.has_bias()) {
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, cuda_type(problem.bias));
      // cuBLASLt sees the alignment in an address; where the bias lies is said before each run.
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, reinterpret_cast<const void*>(problem.bias_alignment));
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

  // The first algorithm that cuBLASLt recommends, as text; empty where it has none.
  std::string recommended(cublasLtHandle_t handle, const Problem& problem) const {
    cublasLtMatmulPreference_t wanted = nullptr;
    check_cublas(cublasLtMatmulPreferenceCreate(&wanted), "cublasLtMatmulPreferenceCreate");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, const auto& value) {
      check_cublas(cublasLtMatmulPreferenceSetAttribute(wanted, what, &value, sizeof value),
                   "cublasLtMatmulPreferenceSetAttribute");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMostWorkspace);
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(problem.a.alignment));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(problem.b.alignment));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(problem.to.alignment));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(problem.to.alignment));
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    const cublasStatus_t code =
        cublasLtMatmulAlgoGetHeuristic(handle, what_, a_, b_, to_, to_, wanted, 1, &found, &count);
    cublasLtMatmulPreferenceDestroy(wanted);
    if (code != CUBLAS_STATUS_SUCCESS || count == 0 || found.state != CUBLAS_STATUS_SUCCESS) return {};
    std::string out;
    for (const std::uint64_t word : found.algo.data) out += text(out.empty() ? "" : " ", word);
    return out;
  }

  // Takes an algorithm from its text; false where it is none for this problem.
  bool use(cublasLtHandle_t handle, const std::string& algorithm) {
    std::istringstream in(algorithm);
    for (std::uint64_t& word : algorithm_.data) in >> word;
    if (in.fail()) return false;
    cublasLtMatmulHeuristicResult_t checked{};
    const cublasStatus_t code = cublasLtMatmulAlgoCheck(handle, what_, a_, b_, to_, to_, &algorithm_, &checked);
    workspace_ = checked.workspaceSize;
    return code == CUBLAS_STATUS_SUCCESS && workspace_ <= kMostWorkspace;
  }
  // The number of the algorithm: what kind of kernel it is.
  int kind() const {
    int id = 0;
    std::size_t written = 0;
    check_cublas(cublasLtMatmulAlgoConfigGetAttribute(&algorithm_, CUBLASLT_ALGO_CONFIG_ID, &id, sizeof id, &written),
                 "cublasLtMatmulAlgoConfigGetAttribute");
    return id;
  }
  // With room to begin where cuBLASLt wants it.
  std::size_t workspace_bytes() const { return workspace_ == 0 ? 0 : workspace_ + kWorkspaceAlignment; }

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

  cublasLtMatmulDesc_t what_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, to_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_{};
  std::size_t workspace_ = 0;
};

// Ready to run; null where cuBLASLt has no algorithm.
std::shared_ptr<const Product> make_product(CudaDevice& device, Problem problem) {
  problem.tf32 = device.options().tf32 && problem.a.dtype == DType::kF32;
  auto product = std::make_shared<Product>(problem);
  AlgorithmCache& known = device.algorithms();
  const std::string name = problem.to_string();
  const auto recommended = [&] { return product->recommended(device.blas(), problem); };
  const std::string algorithm = known.choose(name, recommended);
  if (algorithm.empty()) return nullptr;
  if (product->use(device.blas(), algorithm)) return product;
  known.keep(name, recommended());  // a file of choices may hold anything
  return product->use(device.blas(), *known.find(name)) ? product : nullptr;
}

// `depth`: elements behind each sum.
bool prefers_direct(const DenseSizes& s, std::int64_t depth) {
  return s.rows <= 1 || s.in <= 1 || s.out <= 1 || (s.products() <= kFewProducts && depth <= kShallow);
}

Matrix rows_of(const DenseSizes& sizes, std::int64_t elements) {
  return {elements, sizes.rows, sizes.dtype, false, alignment_of_rows(elements, sizes.dtype)};
}
Matrix weight_of(const DenseSizes& sizes, DType dtype) {
  return {sizes.out, sizes.in, dtype, false, alignment_of_parameter(sizes.in * sizes.out, dtype)};
}
Matrix transposed(Matrix matrix) {
  matrix.transposed = true;
  return matrix;
}

std::size_t aligned(std::size_t bytes) { return (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment; }

bool is_multiple(const void* address, std::int64_t alignment) {
  return reinterpret_cast<std::uintptr_t>(address) % static_cast<std::uintptr_t>(alignment) == 0;
}

// What the addresses of a launch are multiples of.
struct Alignments {
  std::int64_t first, second, output, bias = 1;  // of inputs, outputs[0], and the bias or its gradient

  bool fit(const Launch& on, const void* bias_place) const {
    return is_multiple(on.inputs[0], first) && is_multiple(on.inputs[1], second) && is_multiple(on.outputs[0], output) &&
           is_multiple(bias_place, bias);
  }
};

// ---- dense ---------------------------------------------------------------------------------------

// What of the end of a dense op is left to cuBLASLt.
struct Epilogue {
  bool bias = false, relu = false;
  bool rounds_bias = false;  // an f32 bias, to bf16
  cublasLtEpilogue_t name() const {
    if (bias) return relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
    return relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT;
  }
};

// In the order in which they are tried. Relu alone is of no use where the bias comes after it.
std::vector<Epilogue> epilogues_of(const DenseSizes& sizes, const DenseEnd& end) {
  const bool relu = end.activation && end.activation->kind == ActivationKind::kRelu;
  std::vector<Epilogue> out;
  if (end.has_bias) {
    out.push_back({true, relu});
    if (sizes.dtype == DType::kBF16 && !end.low_bias) out.push_back({true, relu, true});
  } else if (relu) {
    out.push_back({false, true});
  }
  out.push_back({});
  return out;
}

struct DenseProduct {
  std::shared_ptr<const Product> product;  // null where there is none
  Epilogue epilogue;
  std::int64_t bias_alignment = 1;  // of the bias in its place
};

DenseProduct find_dense_product(CudaDevice& device, const DenseSizes& sizes, const DenseEnd& end) {
  const bool low = end.low_bias;
  for (const Epilogue& epilogue : epilogues_of(sizes, end)) {
    Problem problem{weight_of(sizes, sizes.dtype), rows_of(sizes, sizes.in), rows_of(sizes, sizes.out), epilogue.name()};
    problem.bias = low || epilogue.rounds_bias ? DType::kBF16 : DType::kF32;
    // One that is rounded lies in the workspace.
    if (!epilogue.rounds_bias) problem.bias_alignment = alignment_of_parameter(sizes.out, problem.bias);
    const std::int64_t in_place = epilogue.bias && !epilogue.rounds_bias ? problem.bias_alignment : 1;
    if (auto product = make_product(device, problem)) return {std::move(product), epilogue, in_place};
  }
  return {};
}

Kernel dense_cuda(const KernelRequest& request) {
  const DenseSizes sizes = dense_sizes(request);
  Kernel direct = dense_direct_cuda(request);
  if (prefers_direct(sizes, sizes.in)) return direct;
  CudaDevice& device = cuda_device(request);
  const DenseEnd end = dense_end(request);
  const auto [product, epilogue, bias_alignment] = find_dense_product(device, sizes, end);
  if (product == nullptr) return direct;
  DenseEnd left = end;  // to do in place after the product
  if (epilogue.bias) left.has_bias = false;
  if (epilogue.relu) left.activation.reset();
  const bool ends_apart = left.has_bias || left.activation;
  const Alignments alignments{rows_of(sizes, sizes.in).alignment, weight_of(sizes, sizes.dtype).alignment,
                              rows_of(sizes, sizes.out).alignment, bias_alignment};
  const std::size_t low_bias = aligned(product->workspace_bytes());
  std::size_t bytes = std::max(low_bias, direct.workspace_bytes);
  if (epilogue.rounds_bias) {
    bytes = std::max(bytes, low_bias + static_cast<std::size_t>(sizes.out) * size_of(DType::kBF16));
  }
  const auto run = [=, &device, product = product, epilogue = epilogue, run_direct = direct.run](const Launch& on) {
    const void* bias = end.has_bias ? on.inputs[2] : nullptr;
    if (!alignments.fit(on, bias)) return run_direct(on);
    const void* added = epilogue.bias ? bias : nullptr;
    if (epilogue.rounds_bias) {
      void* const low = static_cast<std::byte*>(on.workspace) + low_bias;
      launch_low_bias(on, sizes, bias, low);
      added = low;
    }
    product->run(device.blas(), on.stream, on.inputs[1], on.inputs[0], on.outputs[0], added, on.workspace);
    if (ends_apart) launch_dense_end(on, sizes, left, bias, on.outputs[0]);
  };
  return {text("dense_cuda (cuBLASLt ", product->kind(), epilogue.bias ? ", bias" : "", epilogue.relu ? ", relu" : "", ")"),
          run, bytes};
}

// ---- Gradients -----------------------------------------------------------------------------------

Kernel dense_backward_data_cuda(const KernelRequest& request) {
  const DenseSizes sizes = dense_sizes(request);
  Kernel direct = dense_backward_data_direct_cuda(request);
  if (prefers_direct(sizes, sizes.out)) return direct;
  CudaDevice& device = cuda_device(request);
  const Problem problem{transposed(weight_of(sizes, sizes.dtype)), rows_of(sizes, sizes.out), rows_of(sizes, sizes.in)};
  const auto product = make_product(device, problem);
  if (product == nullptr) return direct;
  const Alignments alignments{problem.b.alignment, problem.a.alignment, problem.to.alignment};
  const auto run = [=, &device, run_direct = direct.run](const Launch& on) {
    if (!alignments.fit(on, nullptr)) return run_direct(on);
    product->run(device.blas(), on.stream, on.inputs[1], on.inputs[0], on.outputs[0], nullptr, on.workspace);
  };
  return {text("dense_backward_data_cuda (cuBLASLt ", product->kind(), ")"), run,
          std::max(product->workspace_bytes(), direct.workspace_bytes)};
}

// The product that gives the gradient of the bias as well; null where there is none, or where it would be another kind of
// kernel than that of the product alone: cuBLASLt's fastest do not have every epilogue.
std::shared_ptr<const Product> with_bias_gradient(CudaDevice& device, const DenseSizes& sizes, Problem problem,
                                                  const Product* plain) {
  problem.epilogue = CUBLASLT_EPILOGUE_BGRADA;  // A is dy
  problem.bias_alignment = alignment_of_parameter(sizes.out, DType::kF32);
  auto product = make_product(device, problem);
  if (product == nullptr || plain == nullptr || product->kind() == plain->kind()) return product;
  return sizes.products() <= kBiasGradientCounts ? product : nullptr;
}

Kernel dense_backward_weights_cuda(const KernelRequest& request) {
  const DenseSizes sizes = dense_sizes(request);
  Kernel direct = dense_backward_weights_direct_cuda(request);
  if (prefers_direct(sizes, sizes.rows)) return direct;
  CudaDevice& device = cuda_device(request);
  const Problem problem{rows_of(sizes, sizes.out), transposed(rows_of(sizes, sizes.in)), weight_of(sizes, DType::kF32)};
  std::shared_ptr<const Product> product = make_product(device, problem);
  const bool bias = request.op_as<DenseBackwardWeightsOp>().bias();
  Alignments alignments{problem.b.alignment, problem.a.alignment, problem.to.alignment};
  bool in_product = false;
  if (bias) {
    if (auto both = with_bias_gradient(device, sizes, problem, product.get())) {
      product = std::move(both);
      alignments.bias = alignment_of_parameter(sizes.out, DType::kF32);
      in_product = true;
    }
  }
  if (product == nullptr) return direct;
  const bool apart = bias && !in_product;
  // After the product, in the same workspace.
  const std::size_t sums = apart ? bias_gradient_workspace(sizes) : 0;
  const auto run = [=, &device, run_direct = direct.run](const Launch& on) {
    void* const db = bias ? on.outputs[1] : nullptr;
    if (!alignments.fit(on, db)) return run_direct(on);
    void* const found = in_product ? db : nullptr;
    product->run(device.blas(), on.stream, on.inputs[1], on.inputs[0], on.outputs[0], found, on.workspace);
    if (apart) launch_bias_gradient(on, sizes, on.inputs[1], db, on.workspace);
  };
  const char* const end = in_product ? ", bias)" : (apart ? "), bias" : ")");
  return {text("dense_backward_weights_cuda (cuBLASLt ", product->kind(), end), run,
          std::max({product->workspace_bytes(), sums, direct.workspace_bytes})};
}

}  // namespace

void register_dense_cuda(KernelRegistry& registry) {
  registry.add("dense", DeviceKind::kCuda, {dense_cuda, nullptr});
  registry.add("dense_backward_data", DeviceKind::kCuda, {dense_backward_data_cuda, nullptr});
  registry.add("dense_backward_weights", DeviceKind::kCuda, {dense_backward_weights_cuda, nullptr});
}

}  // namespace lockstep
