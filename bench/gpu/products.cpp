// The best that cuBLASLt can do for the matrix products of lockstep_gpu_kernels: of all algorithms
// that its heuristic proposes the fastest, timed like the kernels.
//
//   lockstep_gpu_products [--precision f32|bf16|tf32] [--name PART] [--first NUMBER]
//
// Prints a line for each case with "seconds" of the best, "first" of the heuristic's first, and how
// many were tried.
#include <cublasLt.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "bench/gpu/buffers.h"
#include "bench/gpu/case_list.h"
#include "bench/gpu/launch_timer.h"
#include "core/base/error.h"

namespace lockstep::bench {
namespace {

constexpr int kCandidates = 24;
constexpr int kFinalists = 3;
constexpr std::size_t kWorkspace = std::size_t{64} << 20;

void check(cublasStatus_t code, const char* call) {
  if (code != CUBLAS_STATUS_SUCCESS) environment_failed(call, ": ", cublasLtGetStatusString(code));
}

cudaDataType_t cuda_type(DType dtype) {
  return dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F;
}

// Descriptors of a case: D (rows, columns) = A (rows, inner) B (inner, columns), all by columns.
class Product {
 public:
  Product(cublasLtHandle_t handle, const ListedCase& listed) : handle_(handle), c_(listed.what) {
    const std::int64_t rows = c_.numbers.at("rows"), columns = c_.numbers.at("columns"),
                       inner = c_.numbers.at("inner");
    const std::int64_t transposed = c_.numbers.at("transposed");  // 0: none, 1: A, 2: B
    swapped_ = transposed != 2;                                   // A is the second input of the op
    const DType data = c_.inputs[0].dtype, result = c_.op->infer(c_.inputs)[0].dtype;
    const auto compute =
        listed.precision == "tf32" ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    check(cublasLtMatmulDescCreate(&operation_, compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
    const cublasOperation_t yes = CUBLAS_OP_T, no = CUBLAS_OP_N;
    set(CUBLASLT_MATMUL_DESC_TRANSA, transposed == 1 ? yes : no);
    set(CUBLASLT_MATMUL_DESC_TRANSB, transposed == 2 ? yes : no);
    layout(a_, data, transposed == 1 ? inner : rows, transposed == 1 ? rows : inner);
    layout(b_, data, transposed == 2 ? columns : inner, transposed == 2 ? inner : columns);
    layout(d_, result, rows, columns);
    if (with_bias()) set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_RELU_BIAS);
  }
  ~Product() {
    for (const cublasLtMatrixLayout_t layout : {a_, b_, d_}) cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulDescDestroy(operation_);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  std::vector<cublasLtMatmulHeuristicResult_t> candidates(void* any_bias) {
    set_bias(any_bias);
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                               &kWorkspace, sizeof kWorkspace),
          "cublasLtMatmulPreferenceSetAttribute");
    std::vector<cublasLtMatmulHeuristicResult_t> out(kCandidates);
    int found = 0;
    const cublasStatus_t code = cublasLtMatmulAlgoGetHeuristic(
        handle_, operation_, a_, b_, d_, d_, preference, kCandidates, out.data(), &found);
    cublasLtMatmulPreferenceDestroy(preference);
    check(code, "cublasLtMatmulAlgoGetHeuristic");
    out.resize(found);
    return out;
  }

  void launch(const Launch& on, const cublasLtMatmulAlgo_t& algorithm) {
    const float one = 1, zero = 0;
    if (with_bias()) set_bias(on.inputs[2]);
    check(
        cublasLtMatmul(handle_, operation_, &one, on.inputs[swapped_ ? 1 : 0], a_,
                       on.inputs[swapped_ ? 0 : 1], b_, &zero, on.outputs[0], d_, on.outputs[0], d_,
                       &algorithm, on.workspace, kWorkspace, static_cast<cudaStream_t>(on.stream)),
        "cublasLtMatmul");
  }

 private:
  bool with_bias() const { return c_.inputs.size() > 2; }
  template <typename T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check(cublasLtMatmulDescSetAttribute(operation_, attribute, &value, sizeof value),
          "cublasLtMatmulDescSetAttribute");
  }
  // The library takes a bias of the type of D. Only its time counts here, so the memory of an f32
  // one will do.
  void set_bias(void* bias) {
    if (with_bias()) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
  static void layout(cublasLtMatrixLayout_t& out, DType dtype, std::int64_t rows,
                     std::int64_t columns) {
    check(cublasLtMatrixLayoutCreate(&out, cuda_type(dtype), rows, columns, rows),
          "cublasLtMatrixLayoutCreate");
  }

  cublasLtHandle_t handle_;
  const KernelCase& c_;
  bool swapped_ = false;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, d_ = nullptr;
};

void time_best(const Gpu& gpu, cublasLtHandle_t handle, Filler& filler, const Memory& workspace,
               const ListedCase& listed, Json& line) {
  Device& device = *gpu.device;
  const Buffers buffers(device, filler, listed.what);
  void* stream = device.stream(StreamKind::kCompute);
  Product product(handle, listed);
  const Launch first = buffers.launch(0, workspace.data(), stream);
  const auto candidates =
      product.candidates(listed.what.inputs.size() > 2 ? first.inputs[2] : nullptr);
  const auto seconds = [&](const cublasLtMatmulAlgo_t& algorithm, const TimerOptions& options) {
    const auto launch = [&](std::int64_t i) {
      product.launch(buffers.launch(i, workspace.data(), stream), algorithm);
    };
    return time_launches(device, buffers.sets(), launch, options).seconds;
  };
  std::vector<std::pair<double, std::size_t>> ranking;  // by a short look
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].state != CUBLAS_STATUS_SUCCESS) continue;
    ranking.emplace_back(
        seconds(candidates[i].algo, {.samples = 1, .sample_seconds = 5e-4, .recording_seconds = 0}),
        i);
  }
  check_input(!ranking.empty(), "cuBLASLt has no algorithm");
  line["first"] = ranking.front().first;
  std::ranges::sort(ranking);
  double best = 1e9;
  for (std::size_t i = 0; i < std::min<std::size_t>(kFinalists, ranking.size()); ++i) {
    best = std::min(best, seconds(candidates[ranking[i].second].algo, {}));
  }
  line["seconds"] = best;
  line["tried"] = ranking.size();
}

void run(CaseChoice choice) {
  choice.only = "product";
  const Gpu gpu = open_gpu(false);
  Filler filler(*gpu.device);
  const Memory workspace =
      gpu.device->allocate(kWorkspace, MemoryKind::kPrivate, "workspace of a benchmark");
  cublasLtHandle_t handle = nullptr;
  check(cublasLtCreate(&handle), "cublasLtCreate");
  for (const ListedCase& listed : chosen_cases(choice)) {
    Json line = described(listed);
    try {
      time_best(gpu, handle, filler, workspace, listed, line);
    } catch (const std::exception& error) {
      line["error"] = error.what();
    }
    print(line);
  }
  cublasLtDestroy(handle);
}

}  // namespace
}  // namespace lockstep::bench

int main(int argc, char** argv) try {
  lockstep::bench::run(lockstep::bench::read_choice(argc, argv));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "lockstep_gpu_products: %s\n", error.what());
  return 1;
}
