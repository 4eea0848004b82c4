// A matrix product as ONNX: Gemm for (batch, features), else MatMul and Add.
#include "ops/activation/activation_onnx.h"
#include "ops/dense/dense.h"
#include "ops/onnx/converter.h"

namespace lockstep {
namespace {

void convert(OnnxNodeContext& to) {
  const bool is_matrix = to.input_type(0).shape.rank() == 2, has_bias = to.inputs() == 3;
  std::vector<std::string> inputs{to.input(0), to.input(1)};
  if (is_matrix && has_bias) inputs.push_back(to.input(2));
  std::string y = to.add(is_matrix ? "Gemm" : "MatMul", std::move(inputs));
  if (!is_matrix && has_bias) y = to.add("Add", {y, to.input(2)});
  to.output(0, activation_onnx(to, to.op_as<DenseOp>().activation(), y));
}

}  // namespace

void register_dense_onnx(OnnxRegistry& registry) {
  registry.add("dense", convert);
}

}  // namespace lockstep
