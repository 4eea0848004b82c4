// Optimizers: one update of a flat shard of parameters from its gradients, in place.
//
//   auto optimizer = Optimizer::make({.kind = "adamw", .weight_decay = 0.01});
//   std::vector<ValueId> moments = ...;  // a state f32(n) of zeros for each of optimizer->slots()
//   optimizer->build(graph, parameters, gradients, moments, learning_rate, step, scale, decay);
//
// The words are Keras', the definitions and defaults PyTorch's (torch.optim), to rounding. With g
// the gradient after scaling and clipping, p the parameter, r the learning rate, t = step + 1, and
// d the weight decay (0 outside the decay segments):
//
//   sgd      g += d p
//            v = momentum v + g
//            p -= r v, or with nesterov p -= r (g + momentum v); without momentum p -= r g
//            Keras keeps r inside v, which differs while r changes.
//   adam     g += d p
//            m = b1 m + (1 - b1) g
//            v = b2 v + (1 - b2) g^2
//            p -= r / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + epsilon)
//            Keras adds epsilon to sqrt(v) before the correction by 1 - b2^t, has 1e-7 as default,
//            and its weight_decay is that of adamw.
//   adamw    p *= 1 - r d, then adam with d = 0. Loshchilov & Hutter, ICLR 2019.
//   rmsprop  g += d p
//            s = rho s + (1 - rho) g^2
//            a = rho a + (1 - rho) g if centered, else a = 0
//            u = g / (sqrt(s - a^2) + epsilon)
//            b = momentum b + u, p -= r b; without momentum p -= r u
//            Keras takes the root of s + epsilon and has rho = 0.9 as default.
//
// Weight decay acts in the decay segments only, so biases and parameters of normalisation are
// spared. Where the gradient scale is NaN or infinite an update changes nothing: the last good
// state stays.
//
// An Optimizer is immutable: it may be used by several threads and for several graphs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/settings.h"
#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

// Elements [begin, end) of a shard.
struct Segment {
  std::int64_t begin = 0, end = 0;
  bool operator==(const Segment&) const = default;
};

struct OptimizerOptions {
  std::string kind = "adam";  // one of Optimizer::kinds()
  double weight_decay = -1;   // < 0: the kind's default, 0.01 for adamw, else 0
  double momentum = 0.0;      // sgd, rmsprop
  bool nesterov = false;      // sgd
  double beta_1 = 0.9;        // adam, adamw
  double beta_2 = 0.999;      // adam, adamw
  double rho = 0.99;          // rmsprop
  bool centered = false;      // rmsprop
  double epsilon = 1e-8;      // adam, adamw, rmsprop
  double clip_value = 0.0;    // limits each element of g to [-clip_value, clip_value]; 0: no limit
};

class Optimizer {
 public:
  // Reads "optimizer" of [train], a word or a table ([train.optimizer] type = "sgd" momentum = 0.9
  // ...), and "clip_value" of [train].
  static std::unique_ptr<Optimizer> make(Settings& train);
  // Throws bad_input for an unknown kind or an impossible value.
  static std::unique_ptr<Optimizer> make(const OptimizerOptions& options);
  static std::vector<std::string> kinds();

  const std::string& kind() const { return options_.kind; }
  // As used: weight_decay is never negative.
  const OptimizerOptions& options() const { return options_; }
  // Names of the moments, each as large as the parameters and zero at the start: {"m", "v"} for
  // adam.
  std::vector<std::string> slots() const;

  // Adds the update and returns the new values of the parameters and of the slots, in the same
  // memory.
  //   parameters, slots   states f32(n)
  //   gradients           f32(n)
  //   learning_rate       f32()
  //   step                i64(), updates done before this one
  //   gradient_scale      f32(), multiplies the gradients (see gradient_ops.h)
  // `decay_segments`: where weight decay acts; in order, not overlapping, within [0, n).
  std::vector<ValueId> build(Graph& graph, ValueId parameters, ValueId gradients,
                             const std::vector<ValueId>& slots, ValueId learning_rate, ValueId step,
                             ValueId gradient_scale,
                             const std::vector<Segment>& decay_segments) const;

 private:
  explicit Optimizer(OptimizerOptions options) : options_(std::move(options)) {}

  OptimizerOptions options_;
};

// Kernels of the updates.
void register_optimizers_cpu(KernelRegistry& registry);
void register_optimizers_cuda(KernelRegistry& registry);

}  // namespace lockstep
