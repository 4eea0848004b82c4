#include "core/builtin/reorder.h"

#include "core/base/error.h"

namespace lockstep {

std::string ReorderOp::attributes() const {
  return text("to=", to_ ? to_->name() : std::string("row-major"));
}

std::vector<TensorType> ReorderOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1, "takes 1 input, got ", inputs.size());
  return {{inputs[0].dtype, inputs[0].shape, nullptr}};
}

ValueId reorder(Graph& graph, ValueId value, std::shared_ptr<const Layout> to) {
  const ValueId out = graph.add(std::make_shared<ReorderOp>(to), {value},
                                text(graph.value(value).name, "/", to ? to->name() : "row-major"));
  graph.set_layout(out, std::move(to));
  return out;
}

}  // namespace lockstep
