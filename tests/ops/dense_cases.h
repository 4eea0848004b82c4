// The cases of the matrix product, for f32 and (in a program of its own) for bf16.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "ops/dense/dense.h"
#include "tests/ops/op_test.h"

namespace lockstep::testing {

inline double apply(const std::optional<Activation>& activation, double x) {
  if (!activation) return x;
  switch (activation->kind) {
    case ActivationKind::kRelu:
      return std::max(x, 0.0);
    case ActivationKind::kLeakyRelu:
      return x > 0 ? x : activation->negative_slope * x;
    case ActivationKind::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case ActivationKind::kTanh:
      return std::tanh(x);
    case ActivationKind::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case ActivationKind::kGeluApproximate:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  return x;
}

inline Tensors dense_reference(const Tensors& inputs, std::int64_t in, std::int64_t out,
                               const std::optional<Activation>& activation) {
  const std::int64_t rows = static_cast<std::int64_t>(inputs[0].size()) / in;
  std::vector<double> y(rows * out);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t o = 0; o < out; ++o) {
      double sum = inputs.size() == 3 ? inputs[2][o] : 0.0;
      for (std::int64_t i = 0; i < in; ++i) sum += inputs[0][r * in + i] * inputs[1][i * out + o];
      y[r * out + o] = apply(activation, sum);
    }
  }
  return {y};
}

inline OpCase dense_case(const Shape& x, std::int64_t out, bool bias = false,
                         std::optional<Activation> activation = {}) {
  const std::int64_t in = x[-1];
  OpCase c;
  c.name =
      text("dense ", x, " -> ", out, bias ? " bias " : " ", activation ? activation->name() : "");
  c.op = std::make_shared<DenseOp>(activation);
  c.inputs = {{DType::kF32, x, nullptr}, {DType::kF32, {in, out}, nullptr}};
  if (bias) c.inputs.push_back({DType::kF32, {out}, nullptr});
  c.keeps_f32 = {2};
  c.reference = [=](const Tensors& inputs) { return dense_reference(inputs, in, out, activation); };
  // The gradient of the weight is a sum over the rows.
  c.reduction_length = static_cast<double>(std::max(in, x.elements(0, x.rank() - 1)));
  c.bf16 = false;
  return c;
}

// The direct kernels, each way through oneDNN, and what surrounds their limits.
inline std::vector<OpCase> dense_cases() {
  std::vector<OpCase> cases = {
      dense_case({1, 1}, 1),         dense_case({1, 3}, 1),    dense_case({13, 10}, 1, true),
      dense_case({5, 7}, 3, true),   dense_case({2, 3, 5}, 4), dense_case({7}, 2, true),
      dense_case({1, 8}, 64),        dense_case({4, 17}, 64),  dense_case({3, 5}, 65),
      dense_case({33, 30}, 7, true), dense_case({16, 37}, 70), dense_case({9, 64}, 10, true),
      dense_case({1, 40}, 128, true), dense_case({5, 1}, 3, true), dense_case({37, 1}, 70),
      dense_case({1, 1}, 9, true)};
  OpCase empty = dense_case({0, 5}, 3, true);
  empty.gradient = false;  // it is zero everywhere
  cases.push_back(std::move(empty));
  for (const ActivationKind kind :
       {ActivationKind::kLeakyRelu, ActivationKind::kSigmoid, ActivationKind::kTanh}) {
    cases.push_back(dense_case({3, 4}, 5, true, Activation{kind}));
    cases.push_back(dense_case({3, 20}, 70, true, Activation{kind}));
    cases.push_back(dense_case({9, 50}, 10, false, Activation{kind}));
  }
  return cases;
}

// The gradients of weights and bias in one op: products with vectors, and by tiles, in pieces too.
inline std::vector<OpCase> bias_gradient_cases() {
  std::vector<OpCase> cases;
  for (const auto& [rows, in, out] : {std::array<std::int64_t, 3>{1, 1, 1},
                                      {1, 7, 40},
                                      {13, 10, 1},
                                      {70, 1, 33},
                                      {5, 7, 3},
                                      {16, 37, 70},
                                      {700, 20, 24},
                                      {40, 64, 128},
                                      {513, 24, 32},
                                      {0, 4, 3}}) {
    OpCase c;
    c.name = text("gradients of weights and bias, ", rows, " rows, ", in, " -> ", out);
    c.op = std::make_shared<DenseBackwardWeightsOp>(true);
    c.inputs = {{DType::kF32, {rows, in}, nullptr}, {DType::kF32, {rows, out}, nullptr}};
    c.reference = [=](const Tensors& inputs) {
      Tensors outputs{std::vector<double>(in * out, 0.0), std::vector<double>(out, 0.0)};
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t o = 0; o < out; ++o) {
          const double dy = inputs[1][r * out + o];
          outputs[1][o] += dy;
          for (std::int64_t i = 0; i < in; ++i) outputs[0][i * out + o] += inputs[0][r * in + i] * dy;
        }
      }
      return outputs;
    };
    c.reduction_length = static_cast<double>(rows);
    c.bf16 = false;
    c.gradient = false;
    cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace lockstep::testing
