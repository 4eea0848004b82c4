#include "ops/elementwise_chain/elementwise_chain.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "ops/activation/activation.h"
#include "ops/bias/bias.h"
#include "ops/binary/binary.h"

namespace lockstep {
namespace {

template <typename T>
bool is(const Op& op) {
  return dynamic_cast<const T*>(&op) != nullptr;
}

bool is_floating_data(const TensorType& type) {
  return type.dtype == DType::kF32 || type.dtype == DType::kBF16;
}

// nullopt: neither of the three.
std::optional<ChainInput> kind_of(const TensorType& input, const Shape& result) {
  if (input.elements() == result.elements()) return ChainInput::kFull;
  if (input.elements() == 1) return ChainInput::kScalar;
  if (input.shape.rank() >= 1 && result.rank() >= 1 && input.shape[-1] == result[-1] &&
      input.elements() == input.shape[-1]) {
    return ChainInput::kVector;
  }
  return std::nullopt;
}

// Whether the op, with these types, can be a member of a chain whose result has the shape of its
// own.
bool can_be_member(const Op& op, std::span<const TensorType> inputs, const TensorType& output) {
  const bool known = is<ActivationOp>(op) || is<ActivationBackwardOp>(op) || is<BinaryOp>(op) ||
                     is<ScaleOp>(op) || is<BiasOp>(op) || is<AccumulateOp>(op) || is<CastOp>(op);
  if (!known || !is_floating_data(output) || output.elements() == 0) return false;
  return std::ranges::all_of(inputs, [&](const TensorType& input) {
    return is_floating_data(input) && input.layout == nullptr && kind_of(input, output.shape);
  });
}

}  // namespace

// ---- The op ------------------------------------------------------------------------------------

ElementwiseChainOp::ElementwiseChainOp(std::vector<TensorType> inputs, std::vector<ChainStep> steps)
    : inputs_(std::move(inputs)), steps_(std::move(steps)) {
  require(!steps_.empty() && steps_.size() <= kMostSteps && inputs_.size() <= kMostInputs,
          "elementwise_chain: ", steps_.size(), " steps on ", inputs_.size(), " inputs");
  traits_ = {.elementwise = true, .keeps_zero = true, .precision = Precision::kAsIs};
  std::vector<TensorType> values = inputs_;
  for (const ChainStep& step : steps_) {
    std::vector<TensorType> operands;
    for (const int i : step.operands) operands.push_back(values.at(i));
    results_.push_back(step.op->infer(operands).at(0));
    require(can_be_member(*step.op, operands, results_.back()) &&
                results_.back().shape == results_[0].shape,
            "elementwise_chain: ", step.op->to_string(), " cannot be a step");
    values.push_back(results_.back());
    traits_.elementwise &= step.op->traits().elementwise;
    traits_.keeps_zero &= step.op->traits().keeps_zero;
  }
  traits_.keeps_zero &= traits_.elementwise;
  const TensorType& output = results_.back();
  const bool fits =
      !inputs_.empty() && inputs_[0].dtype == output.dtype && inputs_[0].shape == output.shape;
  traits_.may_overwrite = fits ? 0 : -1;
}

std::string ElementwiseChainOp::attributes() const {
  const int count = static_cast<int>(inputs_.size());
  std::string out;
  for (std::size_t k = 0; k < steps_.size(); ++k) {
    out += text(k > 0 ? " " : "", "t", k, "=", steps_[k].op->to_string(), "(");
    for (std::size_t i = 0; i < steps_[k].operands.size(); ++i) {
      const int at = steps_[k].operands[i];
      out += i > 0 ? ", " : "";
      out += at < count ? text("x", at) : text("t", at - count);
    }
    out += ")";
  }
  return out;
}

std::vector<TensorType> ElementwiseChainOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == inputs_.size(), "takes ", inputs_.size(), " inputs, got ",
              inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    check_input(inputs[i].dtype == inputs_[i].dtype && inputs[i].shape == inputs_[i].shape,
                "input ", i, " is ", inputs[i].to_string(), ", expected ", inputs_[i].to_string());
  }
  return {results_.back()};
}

double ElementwiseChainOp::flops(std::span<const TensorType>, std::span<const TensorType>) const {
  double sum = 0;
  for (std::size_t k = 0; k < steps_.size(); ++k) {
    std::vector<TensorType> operands;
    for (const int i : steps_[k].operands) {
      const auto at = static_cast<std::size_t>(i);
      operands.push_back(at < inputs_.size() ? inputs_[at] : results_[at - inputs_.size()]);
    }
    sum += steps_[k].op->flops(operands, std::span(&results_[k], 1));
  }
  return sum;
}

ChainInput ElementwiseChainOp::input_kind(std::size_t i) const {
  return *kind_of(inputs_.at(i), results_.back().shape);
}

// ---- Fusion ------------------------------------------------------------------------------------

namespace {

// The nodes of a chain that ends in the root of the site.
class Growth {
 public:
  explicit Growth(const FusionSite& site) : site_(site) { members_.push_back(site.root); }

  std::optional<Fusion> grow() {
    if (!is_member(site_.node())) return std::nullopt;
    // Breadth first; a node that is taken in appends its own producers to the work.
    for (std::size_t next = 0; next < members_.size(); ++next) {
      for (const ValueId value : site_.graph.node(members_[next]).inputs) {
        if (can_take_in(value, members_[next])) members_.push_back(producer_of(value));
      }
    }
    if (members_.size() < 2) return std::nullopt;
    return fusion();
  }

 private:
  NodeId producer_of(ValueId value) const { return site_.graph.value(value).producer; }
  const Shape& shape() const { return site_.graph.type(site_.node().outputs[0]).shape; }

  bool is_member(const Node& node) const {
    const auto inputs = site_.graph.types(node.inputs);
    return node.outputs.size() == 1 &&
           can_be_member(*node.op, inputs, site_.graph.type(node.outputs[0]));
  }

  bool can_take_in(ValueId value, NodeId reader) const {
    if (!site_.only_read_by(value, reader)) return false;
    const Node& node = site_.graph.node(producer_of(value));
    if (site_.graph.type(value).shape != shape() || !is_member(node)) return false;
    if (std::ranges::find(members_, producer_of(value)) != members_.end()) return false;
    return members_.size() < ElementwiseChainOp::kMostSteps &&
           inputs_with(producer_of(value)) <= ElementwiseChainOp::kMostInputs;
  }

  // How many inputs the chain would have with one more member.
  std::size_t inputs_with(NodeId another) const {
    std::vector<NodeId> members = members_;
    members.push_back(another);
    std::set<ValueId> inputs;
    for (const NodeId id : members) {
      for (const ValueId value : site_.graph.node(id).inputs) inputs.insert(value);
    }
    for (const NodeId id : members) inputs.erase(site_.graph.node(id).outputs[0]);
    return inputs.size();
  }

  Fusion fusion() {
    std::ranges::sort(members_);  // the order of the graph
    std::map<ValueId, int> results;
    for (const NodeId id : members_) {
      results.emplace(site_.graph.node(id).outputs[0], static_cast<int>(results.size()));
    }
    const std::vector<ValueId> inputs = ordered_inputs(results);
    std::vector<ChainStep> steps;
    for (const NodeId id : members_) {
      const Node& node = site_.graph.node(id);
      ChainStep step{node.op, {}};
      for (const ValueId value : node.inputs) {
        const auto result = results.find(value);
        const auto input = std::ranges::find(inputs, value) - inputs.begin();
        step.operands.push_back(result == results.end()
                                    ? static_cast<int>(input)
                                    : static_cast<int>(inputs.size()) + result->second);
      }
      steps.push_back(std::move(step));
    }
    std::vector<NodeId> absorbed(members_.begin(), members_.end() - 1);
    return {std::make_shared<ElementwiseChainOp>(site_.graph.types(inputs), std::move(steps)),
            inputs, site_.node().outputs, std::move(absorbed)};
  }

  // Each input once; one that the result may be computed in comes first.
  std::vector<ValueId> ordered_inputs(const std::map<ValueId, int>& results) const {
    std::vector<ValueId> inputs;
    for (const NodeId id : members_) {
      for (const ValueId value : site_.graph.node(id).inputs) {
        if (results.contains(value) || std::ranges::find(inputs, value) != inputs.end()) continue;
        inputs.push_back(value);
      }
    }
    const TensorType& output = site_.graph.type(site_.node().outputs[0]);
    std::ranges::stable_partition(inputs,
                                  [&](ValueId value) { return site_.graph.type(value) == output; });
    return inputs;
  }

  const FusionSite& site_;
  std::vector<NodeId> members_;
};

}  // namespace

std::vector<FusionPattern> elementwise_chain_fusions() {
  return {{"elementwise_chain", [](const FusionSite& site) { return Growth(site).grow(); }}};
}

}  // namespace lockstep
