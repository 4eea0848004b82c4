// Small ops with CPU kernels for the tests of graph, passes and plans: they compute something
// simple in double, for f32 and bf16 data, and show every trait that the core knows.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/builtin/builtin.h"
#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep::testing {

// The elements in reversed order, behind `padding` elements that are not of the tensor.
class ReversedLayout final : public Layout {
 public:
  ReversedLayout(const TensorType& type, int padding);
  std::size_t bytes() const override { return bytes_; }
  bool padded() const override { return padding_ > 0; }
  bool equals(const Layout& other) const override;
  std::string name() const override;  // "reversed", "reversed+3"

 private:
  std::size_t bytes_;
  int padding_;
};

// y = x reversed, or whatever order `layout` is; the tests' ReorderBuilder.
ValueId toy_reorder(Graph& graph, ValueId x, std::shared_ptr<const Layout> layout);

// Elementwise on inputs of one type; all take the memory of an input where they may.
ValueId toy_add(Graph& graph, ValueId a, ValueId b, const std::string& name = "");       // a + b
ValueId toy_multiply(Graph& graph, ValueId a, ValueId b, const std::string& name = "");  // a b
ValueId toy_scale(Graph& graph, ValueId x, double factor, const std::string& name = "");
ValueId toy_shift(Graph& graph, ValueId x, double by, const std::string& name = "");  // not 0 at 0
// a factor + by in one op: what a scale and a shift fuse to.
ValueId toy_affine(Graph& graph, ValueId x, double factor, double by, const std::string& name = "");
// x w with Precision::kLow; the gradient of w is f32 whatever the type of w.
ValueId toy_weigh(Graph& graph, ValueId x, ValueId w, const std::string& name = "");

// y[i] = (y[i - 1] + x[i]) / 2: not elementwise, needs workspace, Precision::kFull. Its kernel
// likes ReversedLayout with `padding` for x and y, and takes any.
ValueId toy_smooth(Graph& graph, ValueId x, int padding = 0, const std::string& name = "");
// (x + 1, x - 1): two outputs.
std::vector<ValueId> toy_split(Graph& graph, ValueId x, const std::string& name = "");
// The mean of all elements, f32(); with a gradient.
ValueId toy_mean(Graph& graph, ValueId x, const std::string& name = "");
// parameter -= gradient / 4, in place; with a moment also moment = (moment + gradient) / 2 in
// place. Returns the new values of what was overwritten.
std::vector<ValueId> toy_update(Graph& graph, ValueId parameter, ValueId gradient,
                                ValueId moment = kNoValue, const std::string& name = "");
// The same values, but the op says that it has side effects (and communicates).
ValueId toy_send(Graph& graph, ValueId x, const std::string& name = "");
// Overwrites a state on the communication stream, in 20 ms: adds one.
ValueId toy_gather(Graph& graph, ValueId state, const std::string& name = "");

// The types that make the printed graphs short.
TensorType f32(Shape shape);
TensorType bf16(Shape shape);

// Kernels of all toy ops and of the builtin ops.
KernelRegistry toy_registry();

// toy_scale followed by toy_shift becomes toy_affine.
struct ToyScaleShift {
  double factor = 1, by = 0;
};
// What the op of the node does where it is a toy_scale (by = 0) or toy_shift (factor = 1).
ToyScaleShift scale_shift_of(const Op& op);
std::shared_ptr<const Op> toy_affine_op(double factor, double by);

}  // namespace lockstep::testing
