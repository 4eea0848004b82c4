// What is decided around cuBLASLt's matrix products without asking a GPU. Apart from the rest, so that tests need none.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ops/dense/dense_cuda.h"

namespace lockstep::cublas {

// An algorithm of cuBLASLt, which may be kept as bytes for the same version of the library (cublasLt.h). Its text, for
// core/device/algorithm_cache.h: "WORKSPACE WORD WORD ...", in decimal.
struct Algorithm {
  std::uint64_t workspace = 0;  // bytes
  std::array<std::uint64_t, 8> words{};

  std::string to_string() const;
  // Nothing where the text is not exactly that.
  static std::optional<Algorithm> from(const std::string& written);
  bool operator==(const Algorithm&) const = default;
};

// What of the end of a dense op, y = f(product + bias), cuBLASLt computes with the product. A kernel does the rest.
struct Epilogue {
  bool bias = false;
  std::optional<ActivationKind> activation = {};  // kRelu or kGeluApproximate
  bool operator==(const Epilogue&) const = default;
};

// Those that are of use, in the order in which cuBLASLt is asked for them: all that it may do, the bias alone, nothing.
//
//   bias      Of the type of y: an f32 bias is rounded for a bf16 product, into aligned memory. In its own place it has to
//             begin on a line, as those do that fill lines (dist/buckets.h).
//   relu      where nothing comes before it that is left to the kernel.
//   gelu      The approximate one: cuBLASLt does not say which it computes, but PyTorch has this one for where it cannot use
//             the epilogue (aten/src/ATen/native/cuda/Blas.cpp). How exactly is not said either: bf16 only, which is rounded more.
std::vector<Epilogue> epilogues_of(const DenseSizes& sizes, const DenseEnd& end);

// How the gradients of weight and bias are computed: both in the product, or that of the bias by a kernel after it. Its text:
// "together ALGORITHM", "apart ALGORITHM".
struct WeightsChoice {
  bool together = false;
  std::string algorithm;

  std::string to_string() const;
  // REQUIRES: such a text.
  static WeightsChoice from(const std::string& written);
  bool operator==(const WeightsChoice&) const = default;
};

// The choices, at most `most`, from the algorithms for both and for the product alone, each list with the best first. They take
// turns.
std::vector<std::string> weights_choices(const std::vector<std::string>& together, const std::vector<std::string>& apart,
                                         bool together_first, std::size_t most);

}  // namespace lockstep::cublas
