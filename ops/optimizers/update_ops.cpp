#include "ops/optimizers/update_ops.h"

#include "core/base/error.h"
#include "ops/attributes.h"

namespace lockstep {
namespace {

void check_scalar(const TensorType& type, DType dtype, const char* what) {
  check_input(type.dtype == dtype && type.shape.rank() == 0, what, " is ", type.to_string(),
              ", expected ", name_of(dtype), "()");
}

}  // namespace

std::vector<std::string> slots_of(const OptimizerOptions& options) {
  std::vector<std::string> slots;
  if (options.kind == "adam" || options.kind == "adamw") return {"m", "v"};
  if (options.kind == "rmsprop") {
    slots.push_back("square");
    if (options.centered) slots.push_back("average");
  }
  if (options.momentum != 0) slots.push_back("momentum");
  return slots;
}

std::string UpdateOp::attributes() const {
  std::string out = own_attributes();
  if (options_.clip_value > 0) out += " clip_value=" + exact(options_.clip_value);
  if (options_.weight_decay == 0) return out;
  out += " weight_decay=" + exact(options_.weight_decay) + " in";
  for (const Segment& segment : decay_) out += text(" [", segment.begin, ", ", segment.end, ")");
  return out;
}

std::vector<TensorType> UpdateOp::infer(std::span<const TensorType> inputs) const {
  const auto expected = static_cast<std::size_t>(5 + slots_);
  check_input(inputs.size() == expected, "takes parameters, gradients, ", slots_,
              " slots, learning rate, step and gradient scale, got ", inputs.size(), " inputs");
  const TensorType flat{DType::kF32, inputs[0].shape, nullptr};
  check_input(flat.shape.rank() == 1, "parameters are ", inputs[0].to_string(),
              ", expected f32(n)");
  for (int i = 0; i < 2 + slots_; ++i) {
    check_input(inputs[i] == flat, "input ", i, " is ", inputs[i].to_string(), ", expected ",
                flat.to_string());
  }
  check_scalar(inputs[expected - 3], DType::kF32, "learning rate");
  check_scalar(inputs[expected - 2], DType::kI64, "step");
  check_scalar(inputs[expected - 1], DType::kF32, "gradient scale");
  std::int64_t end = 0;
  for (const Segment& segment : decay_) {
    check_input(
        segment.begin >= end && segment.begin <= segment.end && segment.end <= flat.elements(),
        "decay segment [", segment.begin, ", ", segment.end,
        ") is out of order or does not lie in ", flat.to_string());
    end = segment.end;
  }
  return std::vector<TensorType>(1 + slots_, flat);
}

Traits UpdateOp::traits() const {
  std::uint32_t mutates = 1u;
  for (int slot = 0; slot < slots_; ++slot) mutates |= 1u << (2 + slot);
  return {.mutates = mutates};
}

double UpdateOp::flops(std::span<const TensorType> inputs, std::span<const TensorType>) const {
  return flops_per_element() * static_cast<double>(inputs[0].elements());
}

std::string SgdUpdateOp::own_attributes() const {
  std::string out = "momentum=" + exact(options().momentum);
  if (options().nesterov) out += " nesterov=true";
  return out;
}

std::string AdamUpdateOp::own_attributes() const {
  return "beta_1=" + exact(options().beta_1) + " beta_2=" + exact(options().beta_2) +
         " epsilon=" + exact(options().epsilon) + (decoupled() ? " decoupled=true" : "");
}

std::string RmspropUpdateOp::own_attributes() const {
  return "rho=" + exact(options().rho) + " momentum=" + exact(options().momentum) +
         " epsilon=" + exact(options().epsilon) + (options().centered ? " centered=true" : "");
}

}  // namespace lockstep
