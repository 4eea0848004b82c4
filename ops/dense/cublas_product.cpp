#include "ops/dense/cublas_product.h"

#include <algorithm>
#include <optional>

#include "core/base/error.h"

namespace lockstep::cublas {
namespace {

constexpr std::size_t kMostWorkspace = std::size_t{32} << 20;  // what cuBLASLt's kernels for Hopper ask for
constexpr std::size_t kWorkspaceAlignment = 256;               // that it wants for its workspace
constexpr char kTrials[] = "trials of algorithms";

cudaDataType_t cuda_type(DType dtype) { return dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F; }

void describe(cublasLtMatrixLayout_t& out, const Matrix& matrix) {
  check_cublas(cublasLtMatrixLayoutCreate(&out, cuda_type(matrix.dtype), static_cast<std::uint64_t>(matrix.rows),
                                          static_cast<std::uint64_t>(matrix.columns), matrix.rows),
               "cublasLtMatrixLayoutCreate");
}

Algorithm read(const std::string& written) {
  const auto algorithm = Algorithm::from(written);
  require(algorithm.has_value(), "an algorithm of cuBLASLt that cannot be read: ", written);
  return *algorithm;
}

// How sums of pieces may be kept: see the header. In a workspace the type of an f32 result is as good as that of the sums.
std::uint32_t reductions(const Problem& problem) {
  std::uint32_t out = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  if (problem.to.dtype == DType::kF32) out |= CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
  return out;
}

// What is wanted of an algorithm.
class Preference {
 public:
  explicit Preference(const Problem& problem) {
    check_cublas(cublasLtMatmulPreferenceCreate(&wanted_), "cublasLtMatmulPreferenceCreate");
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMostWorkspace);
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions(problem));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(problem.a.alignment));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(problem.b.alignment));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(problem.to.alignment));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(problem.to.alignment));
  }
  ~Preference() { cublasLtMatmulPreferenceDestroy(wanted_); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;
  cublasLtMatmulPreference_t get() const { return wanted_; }

 private:
  template <typename Value>
  void set(cublasLtMatmulPreferenceAttributes_t what, const Value& value) {
    check_cublas(cublasLtMatmulPreferenceSetAttribute(wanted_, what, &value, sizeof value),
                 "cublasLtMatmulPreferenceSetAttribute");
  }

  cublasLtMatmulPreference_t wanted_ = nullptr;
};

}  // namespace

std::string Matrix::to_string() const {
  return text(name_of(dtype), '(', rows, ',', columns, transposed ? ")T/" : ")/", alignment);
}

std::string Problem::to_string() const {
  return text("matmul ", a.to_string(), ' ', b.to_string(), ' ', to.to_string(), " epilogue=", static_cast<int>(epilogue),
              " pieces=f32", tf32 ? " tf32" : "");
}

// ---- Product -------------------------------------------------------------------------------------

Product::Product(const Problem& problem) : problem_(problem) {
  const cublasComputeType_t compute = problem.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  check_cublas(cublasLtMatmulDescCreate(&what_, compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
  const cublasOperation_t transpose = CUBLAS_OP_T;
  if (problem.a.transposed) set(CUBLASLT_MATMUL_DESC_TRANSA, transpose);
  if (problem.b.transposed) set(CUBLASLT_MATMUL_DESC_TRANSB, transpose);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, problem.epilogue);
  if (problem.has_vector()) {
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, cuda_type(problem.to.dtype));
    // A recommendation is for a vector on a line of memory; where it lies is said before each run.
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, reinterpret_cast<const void*>(kMemoryAlignment));
  }
  describe(a_, problem.a);
  describe(b_, problem.b);
  describe(to_, problem.to);
}

Product::~Product() {
  cublasLtMatrixLayoutDestroy(a_);
  cublasLtMatrixLayoutDestroy(b_);
  cublasLtMatrixLayoutDestroy(to_);
  cublasLtMatmulDescDestroy(what_);
}

template <typename Value>
void Product::set(cublasLtMatmulDescAttributes_t what, const Value& value) const {
  check_cublas(cublasLtMatmulDescSetAttribute(what_, what, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
}

std::vector<std::string> Product::recommended(cublasLtHandle_t handle, std::size_t most) const {
  const Preference wanted(problem_);
  std::vector<cublasLtMatmulHeuristicResult_t> found(most);
  int count = 0;
  const cublasStatus_t code = cublasLtMatmulAlgoGetHeuristic(handle, what_, a_, b_, to_, to_, wanted.get(),
                                                             static_cast<int>(most), found.data(), &count);
  if (code != CUBLAS_STATUS_SUCCESS) return {};
  found.resize(static_cast<std::size_t>(count));
  std::vector<std::string> out;
  for (const cublasLtMatmulHeuristicResult_t& one : found) {
    if (one.state != CUBLAS_STATUS_SUCCESS || one.workspaceSize > kMostWorkspace) continue;
    Algorithm algorithm{one.workspaceSize};
    std::ranges::copy(one.algo.data, algorithm.words.begin());
    out.push_back(algorithm.to_string());
  }
  return out;
}

void Product::use(const std::string& algorithm) {
  const Algorithm used = read(algorithm);
  std::ranges::copy(used.words, algorithm_.data);
  workspace_ = used.workspace;
}

std::size_t Product::workspace_bytes() const { return workspace_ == 0 ? 0 : workspace_ + kWorkspaceAlignment; }

bool Product::takes(const void* a, const void* b, const void* to, const void* vector) const {
  const auto is_aligned = [](const void* data, std::int64_t alignment) {
    return reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(alignment) == 0;
  };
  return is_aligned(a, problem_.a.alignment) && is_aligned(b, problem_.b.alignment) &&
         is_aligned(to, problem_.to.alignment) && is_aligned(vector, kWidestAlignment);
}

void Product::run(cublasLtHandle_t handle, void* stream, const void* a, const void* b, void* to, const void* vector,
                  void* workspace) const {
  if (vector != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector);
  const auto begin = (reinterpret_cast<std::uintptr_t>(workspace) + kWorkspaceAlignment - 1) & -kWorkspaceAlignment;
  const float one = 1, zero = 0;
  check_cublas(cublasLtMatmul(handle, what_, &one, a, a_, b, b_, &zero, to, to_, to, to_, &algorithm_,
                              reinterpret_cast<void*>(begin), workspace_, static_cast<cudaStream_t>(stream)),
               "cublasLtMatmul");
}

int kind_of(const std::string& algorithm) {
  cublasLtMatmulAlgo_t described{};
  std::ranges::copy(read(algorithm).words, described.data);
  int id = 0;
  std::size_t written = 0;
  check_cublas(cublasLtMatmulAlgoConfigGetAttribute(&described, CUBLASLT_ALGO_CONFIG_ID, &id, sizeof id, &written),
               "cublasLtMatmulAlgoConfigGetAttribute");
  return id;
}

// ---- Trials --------------------------------------------------------------------------------------

TrialMemory::TrialMemory(CudaDevice& device, const Problem& problem) : device_(device) {
  const auto allocate = [&](std::size_t bytes) {
    return device.allocate(std::max<std::size_t>(1, bytes), MemoryKind::kPrivate, kTrials);
  };
  a_ = allocate(problem.a.bytes());
  b_ = allocate(problem.b.bytes());
  to_ = allocate(problem.to.bytes());
  vector_ = allocate(problem.vector_bytes());
  workspace_ = allocate(kMostWorkspace + kWorkspaceAlignment);
}

void TrialMemory::run(const Product& product) const {
  product.run(device_.blas(), device_.stream(StreamKind::kCompute), a_.data(), b_.data(), to_.data(),
              product.problem().has_vector() ? vector_.data() : nullptr, workspace_.data());
}

std::shared_ptr<const Product> make_product(CudaDevice& device, const Problem& problem) {
  auto product = std::make_shared<Product>(problem);
  std::optional<TrialMemory> memory;
  Proposals proposals;
  proposals.list = [&](std::size_t most) { return product->recommended(device.blas(), most); };
  proposals.seconds = [&](const std::string& algorithm) {
    if (!memory) memory.emplace(device, problem);
    product->use(algorithm);
    return device.seconds_of([&] { memory->run(*product); });
  };
  const std::string algorithm = device.algorithms()->choose(problem.to_string(), proposals);
  if (algorithm.empty()) return nullptr;
  product->use(algorithm);
  return product;
}

}  // namespace lockstep::cublas
