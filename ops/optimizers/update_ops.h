// The update of each optimizer as one op; definitions in optimizer.h, which is how training uses
// them.
//
// Inputs: parameters f32(n), gradients f32(n), the slots f32(n) each, learning rate f32(), step
// i64(), gradient scale f32(). Parameters and slots are overwritten; the outputs are their new
// values, in that order.
#pragma once

#include <string>
#include <vector>

#include "core/graph/op.h"
#include "ops/optimizers/optimizer.h"

namespace lockstep {

// The names of the slots of an optimizer of that kind and those options.
std::vector<std::string> slots_of(const OptimizerOptions& options);

// What the updates have in common. `decay` are the segments where options.weight_decay acts.
class UpdateOp : public Op {
 public:
  UpdateOp(const OptimizerOptions& options, std::vector<Segment> decay)
      : options_(options),
        slots_(static_cast<int>(slots_of(options).size())),
        decay_(std::move(decay)) {}
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;

  const OptimizerOptions& options() const { return options_; }
  int slots() const { return slots_; }
  const std::vector<Segment>& decay_segments() const { return decay_; }

 protected:
  // The attributes that only this kind has: " momentum=0.9".
  virtual std::string own_attributes() const = 0;
  virtual double flops_per_element() const = 0;

 private:
  OptimizerOptions options_;
  int slots_;
  std::vector<Segment> decay_;
};

class SgdUpdateOp final : public UpdateOp {
 public:
  using UpdateOp::UpdateOp;
  std::string_view name() const override { return "sgd_update"; }

 protected:
  std::string own_attributes() const override;
  double flops_per_element() const override { return 8; }
};

// adam, and adamw (decoupled weight decay).
class AdamUpdateOp final : public UpdateOp {
 public:
  using UpdateOp::UpdateOp;
  std::string_view name() const override { return "adam_update"; }
  bool decoupled() const { return options().kind == "adamw"; }

 protected:
  std::string own_attributes() const override;
  double flops_per_element() const override { return 16; }
};

class RmspropUpdateOp final : public UpdateOp {
 public:
  using UpdateOp::UpdateOp;
  std::string_view name() const override { return "rmsprop_update"; }

 protected:
  std::string own_attributes() const override;
  double flops_per_element() const override { return 14; }
};

}  // namespace lockstep
