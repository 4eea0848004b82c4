// Sum, mean and maximum over axes as ONNX.
#include "ops/onnx/converter.h"
#include "ops/reduce/reduce.h"

namespace lockstep {
namespace {

std::string reduced_onnx(OnnxNodeContext& to, const std::string& x, const std::vector<std::int64_t>& axes,
                         bool keepdims) {
  const OnnxAttribute keep{"keepdims", std::int64_t{keepdims}};
  switch (to.op_as<ReduceOp>().kind()) {
    case ReduceKind::kSum: {  // its axes became an input in opset 13
      const Shape shape{static_cast<std::int64_t>(axes.size())};
      return to.add("ReduceSum", {x, to.builder().constant(to.name() + "/axes", shape, axes)}, {keep});
    }
    case ReduceKind::kMean:
      return to.add("ReduceMean", {x}, {{"axes", axes}, keep});
    case ReduceKind::kMax:
      return to.add("ReduceMax", {x}, {{"axes", axes}, keep});
  }
  broken_invariant("a reduction of no known kind");
}

void convert(OnnxNodeContext& to) {
  const int rank = to.input_type(0).shape.rank();
  const std::vector<bool> reduced = to.op_as<ReduceOp>().reduced(to.input_type(0).shape);
  const bool keepdims = to.output_type(0).shape.rank() == rank;
  const OnnxLayout layout = reduced.at(0) ? OnnxLayout::kLast : to.layout_of(0);
  std::vector<std::int64_t> axes;
  for (int axis = 0; axis < rank; ++axis) {
    if (reduced[static_cast<std::size_t>(axis)]) axes.push_back(onnx_axis(axis, rank, layout));
  }
  const std::string y = reduced_onnx(to, to.input(0, layout), axes, keepdims);
  // Without the channels, what is left is in Lockstep's order.
  to.output(0, y, keepdims || !reduced.back() ? layout : OnnxLayout::kLast);
}

}  // namespace

void register_reduce_onnx(OnnxRegistry& registry) {
  for (const char* name : {"reduce_sum", "reduce_mean", "reduce_max"}) registry.add(name, convert);
}

}  // namespace lockstep
