// Matrix products on cuBLASLt: what is multiplied, which of the library's algorithms does it, and running it.
//
// cuBLASLt counts by columns, so a row-major matrix is its transpose there: y = x · w is yᵀ = wᵀ · xᵀ, and no memory is moved.
//
// An algorithm is found for the shapes and for the alignment that every pointer is known to have, by one of the rules of
// core/device/algorithm_cache.h. By the rule `first` it is a pure function of GPU, versions and problem. Algorithms that cut
// the depth into pieces are taken only where the sums of the pieces are kept in f32 and added in a step of its own: others
// round them to the type of the result, or add them in place, in an order that is not promised.
#pragma once

#include <cublasLt.h>

#include <memory>
#include <string>
#include <vector>

#include "core/base/dtype.h"
#include "core/device/cuda_device.h"
#include "ops/dense/cublas_choices.h"

namespace lockstep::cublas {

inline constexpr std::int64_t kWidestAlignment = 16;  // bytes: more is of no use

// A matrix as cuBLASLt sees it: `rows` by `columns`, column after column.
struct Matrix {
  std::int64_t rows = 0, columns = 0;
  DType dtype = DType::kF32;
  bool transposed = false;     // before it is multiplied
  std::int64_t alignment = 0;  // of its address, in bytes; at most kWidestAlignment

  std::size_t bytes() const { return static_cast<std::size_t>(rows * columns) * size_of(dtype); }
  std::string to_string() const;
};

// to = a · b, and what the epilogue does with it.
struct Problem {
  Matrix a, b, to;
  bool tf32 = false;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;

  // The epilogue's vector, of an element for each row of `to` and of its type: the bias that is added, or the gradient of a
  // bias, the sums of the rows of a. cuBLASLt has no other type for these products (CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE in
  // cublasLt.h): no f32 bias where the result is bf16.
  bool has_vector() const { return (epilogue & (CUBLASLT_EPILOGUE_BIAS | CUBLASLT_EPILOGUE_BGRADA)) != 0; }
  std::size_t vector_bytes() const {
    return has_vector() ? static_cast<std::size_t>(to.rows) * size_of(to.dtype) : 0;
  }
  std::string to_string() const;
};

// A problem in the descriptions that cuBLASLt wants, and the algorithm for it.
class Product {
 public:
  explicit Product(const Problem& problem);
  ~Product();
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  const Problem& problem() const { return problem_; }
  // The algorithms that cuBLASLt recommends, the best by its own estimate first; at most `most`. Empty where it has none.
  std::vector<std::string> recommended(cublasLtHandle_t handle, std::size_t most) const;

  // Takes an algorithm, one of recommended(). REQUIRES, as for what is below: it is one.
  void use(const std::string& algorithm);
  // With room to begin where cuBLASLt wants it.
  std::size_t workspace_bytes() const;
  // Whether memory lies where the algorithm expects it. `vector`: see Problem; null where there is none.
  bool takes(const void* a, const void* b, const void* to, const void* vector) const;
  // The gradient of a bias is written to `vector`.
  void run(cublasLtHandle_t handle, void* stream, const void* a, const void* b, void* to, const void* vector,
           void* workspace) const;

 private:
  template <typename Value>
  void set(cublasLtMatmulDescAttributes_t what, const Value& value) const;

  const Problem problem_;
  cublasLtMatmulDesc_t what_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, to_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_{};
  std::size_t workspace_ = 0;
};

// Which of the library's families of kernels an algorithm is of. REQUIRES: it is one of Product::recommended().
int kind_of(const std::string& algorithm);

// Memory of the size of a problem, all zero, to run its algorithms on.
class TrialMemory {
 public:
  TrialMemory(CudaDevice& device, const Problem& problem);
  // On the compute stream.
  void run(const Product& product) const;
  void* a() const { return a_.data(); }
  void* vector() const { return vector_.data(); }

 private:
  CudaDevice& device_;
  Memory a_, b_, to_, vector_, workspace_;
};

// Ready to run; null where cuBLASLt has no algorithm.
std::shared_ptr<const Product> make_product(CudaDevice& device, const Problem& problem);

}  // namespace lockstep::cublas
