#include "dist/exchange_ops.h"

#include "core/base/error.h"

namespace lockstep {

int ExchangePlan::leader(int node, int owner) const {
  if (nodes[owner] == node) return owner;
  std::vector<int> there;
  for (int r = 0; r < world_size(); ++r) {
    if (nodes[r] == node) there.push_back(r);
  }
  return there.at(owner % there.size());
}

std::string ExchangePlan::to_string() const {
  std::string out = text("microbatches=", microbatches, " rank=", rank, "/", world_size(), " chunks=");
  for (const Range& chunk : chunks) out += text("[", chunk.begin, ",", chunk.end, ")");
  return out;
}

namespace {

std::string described(const ExchangePlan& plan, std::int64_t elements) {
  return text(plan.to_string(), " elements=", elements);
}

void check_parts(const ExchangePlan& plan, std::int64_t elements, std::span<const TensorType> inputs) {
  const std::size_t parts = plan.parts_of(plan.rank).size();
  check_input(inputs.size() == parts, "takes ", parts, " partial sums, got ", inputs.size());
  for (const TensorType& type : inputs) {
    check_input(type.dtype == DType::kF32 && type.elements() == elements, "partial sum is ",
                type.to_string(), ", expected f32 with ", elements, " elements");
  }
}

}  // namespace

std::string TreeReduceOp::attributes() const { return described(plan_, elements_); }

std::vector<TensorType> TreeReduceOp::infer(std::span<const TensorType> inputs) const {
  check_parts(plan_, elements_, inputs);
  return {{DType::kF32, {plan_.chunk().size()}, nullptr}};
}

std::string TreeAllReduceOp::attributes() const { return described(plan_, elements_); }

std::vector<TensorType> TreeAllReduceOp::infer(std::span<const TensorType> inputs) const {
  check_parts(plan_, elements_, inputs);
  return {{DType::kF32, {elements_}, nullptr}};
}

std::string FastReduceOp::attributes() const { return described(plan_, elements_); }

std::vector<TensorType> FastReduceOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1 && inputs[0].dtype == DType::kF32 && inputs[0].elements() == elements_,
              "takes this rank's sum, f32 with ", elements_, " elements");
  return {{DType::kF32, {plan_.chunk().size()}, nullptr}};
}

std::string AllGatherOp::attributes() const { return described(plan_, elements_); }

std::vector<TensorType> AllGatherOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1 && inputs[0].elements() == plan_.chunk().size(),
              "takes this rank's chunk");
  return {{DType::kF32, {elements_}, nullptr}};
}

std::vector<TensorType> GatherStateOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 2 && inputs[1].elements() == plan_.chunk().size(),
              "takes the state and this rank's chunk of it");
  return {inputs[0]};
}

}  // namespace lockstep
