// Losses: from predictions and targets to the one number that training makes small.
//
//   auto loss = Loss::make({.kind = "softmax_cross_entropy", .label_smoothing = 0.1});
//   ValueId value = loss->build(graph, logits, labels, kNoValue, 1.0 / global_batch);
//
// A loss is  scale * sum over the samples i of w_i * l_i,  an f32 scalar. l_i is the mean over the
// elements of the sample (over its positions for sequences), w_i its weight (1 without weights).
// With scale = 1 / (samples in the global batch) that is Keras' "sum_over_batch_size" and, without
// weights, PyTorch's "mean"; the parts of several microbatches add up to it.
//
//   kind                   prediction x             target t
//   mean_squared_error     (batch, ...)             the same, f32 or i32
//   mean_absolute_error    (batch, ...)             the same, f32 or i32
//   binary_cross_entropy   (batch, ...) logits      the same, f32 or i32, in [0, 1]
//   softmax_cross_entropy  (batch, ..., classes)    (batch, ...) i32 class numbers, or
//                          logits                   (batch, ..., classes) f32 shares of the classes
//
//   kind                   l_i, the mean of
//   mean_squared_error     (x - t)^2
//   mean_absolute_error    |x - t|, with gradient 0 at x = t
//   binary_cross_entropy   -t log p - (1 - t) log(1 - p), p = sigmoid(x)
//   softmax_cross_entropy  -log softmax(x)[t]; with shares -sum_k t_k log softmax(x)_k
//
// A target may have more or fewer extents of 1 at its end: (batch) and (batch, 1) are the same.
//
// Label smoothing s, as Keras: a class target becomes (1 - s) * one_hot + s / classes, a binary one
// t * (1 - s) + s / 2. (PyTorch's CrossEntropyLoss agrees; its binary loss has no smoothing.)
//
// The cross-entropies are computed from logits without overflow for finite logits of any size. A
// class number outside [0, classes) gives a loss of NaN and touches no memory outside the row.
//
// A Loss is immutable: it may be used by several threads and for several graphs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/settings.h"
#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

struct LossOptions {
  std::string kind;              // one of Loss::kinds()
  double label_smoothing = 0.0;  // in [0, 1); cross-entropies only
};

class Loss {
 public:
  // Reads "loss" and, for the cross-entropies, "label_smoothing" of [train].
  static std::unique_ptr<Loss> make(Settings& train);
  // Throws bad_input for an unknown kind or an impossible option.
  static std::unique_ptr<Loss> make(const LossOptions& options);
  static std::vector<std::string> kinds();

  const std::string& kind() const { return options_.kind; }
  const LossOptions& options() const { return options_; }
  // The targets are classes or yes/no: accuracy and its relatives make sense.
  bool classification() const;
  // The element type of the targets as the loss likes it best: kI32 for class numbers, else kF32.
  DType target_type() const;
  // Whether build() takes targets of that type: kF32, and kI32 as class numbers or as numbers.
  bool takes_target(DType dtype) const;

  // Adds the loss and returns it, f32(). `weights` is f32(batch) or kNoValue. Throws bad_input
  // where prediction, target and weights do not fit together. The gradient goes to the prediction
  // only.
  ValueId build(Graph& graph, ValueId prediction, ValueId target, ValueId weights,
                double scale) const;

 private:
  explicit Loss(LossOptions options) : options_(std::move(options)) {}

  LossOptions options_;
};

// Kernels of all losses and their gradients.
void register_losses_cpu(KernelRegistry& registry);

}  // namespace lockstep
