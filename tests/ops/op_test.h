// One list of cases for an op, run on the device that the test program was given (tests/test_device.h): the kernel against a naive loop in double, and
// the gradient against central differences of that loop with a random cotangent.
//
//   OpCase{.name = "odd", .op = std::make_shared<ReluOp>(),
//          .inputs = {{DType::kF32, {3, 5}}}, .reference = relu_reference}
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/graph/op.h"

namespace lockstep::testing {

using Tensors = std::vector<std::vector<double>>;

struct OpCase {
  std::string name;
  std::shared_ptr<const Op> op;
  std::vector<TensorType> inputs = {};  // floating inputs are f32 here; the bf16 run changes them itself
  // Outputs from inputs, both row-major in double: a naive loop.
  std::function<Tensors(const Tensors&)> reference = {};
  // Random inputs are uniform in [low, high); integer inputs in [0, integer_bound).
  double low = -1.0, high = 1.0;
  std::int64_t integer_bound = 10;
  // Values to use instead of random ones, by input; an empty vector means random.
  Tensors values = {};
  // Additions behind one output element: tolerances grow with its square root.
  double reduction_length = 1;
  bool bf16 = true;       // also run with bf16 data
  // Inputs that stay f32 in the bf16 run (parameters of normalisation, scalars).
  std::vector<int> keeps_f32 = {};
  bool gradient = true;   // also check the gradient of every floating input that receives one
  // Inputs that receive no gradient (targets, statistics); checked to be none.
  std::vector<int> no_gradient = {};
  double difference_step = 1e-3;  // of the central differences; values are kept off kinks by `keep_off`
  // Inputs are moved away from these points (kinks of relu, ...) by at least 2 * difference_step.
  std::vector<double> keep_off = {};
};

// Forward in f32, forward in bf16 (where asked), and gradient in both, on test_device(). Failures are GoogleTest failures with the case's name.
void check_op(const OpCase& test_case);
void check_ops(const std::vector<OpCase>& cases);

// Relative tolerance from type and reduction length: the one table of the op tests.
double tolerance(DType dtype, double reduction_length);

}  // namespace lockstep::testing
