// Most sizes are 200 MB to 1 GB: far more than the cache of the GPU holds, and long beside the
// launch.
#include <cmath>

#include "bench/gpu/kernel_case.h"
#include "core/builtin/builtin.h"
#include "ops/activation/activation.h"
#include "ops/batch_norm/batch_norm.h"
#include "ops/batch_norm/batch_norm_residual.h"
#include "ops/bias/bias.h"
#include "ops/binary/binary.h"
#include "ops/concat/concat.h"
#include "ops/dropout/dropout.h"
#include "ops/elementwise_chain/elementwise_chain.h"
#include "ops/embedding/embedding.h"
#include "ops/from_bytes/from_bytes.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/losses/cross_entropy_with_gradient.h"
#include "ops/losses/element_loss.h"
#include "ops/losses/softmax_cross_entropy.h"
#include "ops/optimizers/gradient_ops.h"
#include "ops/optimizers/update_ops.h"
#include "ops/pool2d/pool2d.h"
#include "ops/reduce/reduce.h"
#include "ops/softmax/softmax.h"

namespace lockstep::bench {
namespace {

using Cases = std::vector<KernelCase>;

TensorType f32(Shape shape) {
  return {DType::kF32, shape};
}

KernelCase of(std::string name, std::shared_ptr<const Op> op, std::vector<TensorType> inputs) {
  return {.group = CaseGroup::kBandwidth,
          .name = std::move(name),
          .op = std::move(op),
          .inputs = std::move(inputs)};
}

// The mean over all samples has to be known before the first is normalised, and the tensors are
// larger than any cache: what it is the mean of is read twice.
void add_batch_norm(Cases& out, DType data) {
  for (const Shape& shape :
       {Shape{256, 56, 56, 64}, Shape{256, 28, 28, 512}, Shape{256, 7, 7, 2048}}) {
    const TensorType x{data, shape}, channels = f32({shape[3]});
    for (const bool relu : {false, true}) {
      KernelCase forward = of(relu ? "batch_norm + relu" : "batch_norm",
                              std::make_shared<BatchNormOp>(1e-5, relu), {x, channels, channels});
      forward.more_bytes = static_cast<double>(x.bytes());
      out.push_back(forward);
      KernelCase backward = of(relu ? "batch_norm + relu, backward" : "batch_norm, backward",
                               std::make_shared<BatchNormBackwardOp>(1e-5, relu),
                               {x, x, channels, channels, channels, channels});
      backward.more_bytes = 2 * static_cast<double>(x.bytes());
      backward.positive = {5};
      out.push_back(backward);
    }
    KernelCase forward = of("batch_norm + add + relu", std::make_shared<BatchNormResidualOp>(1e-5, true),
                            {x, channels, channels, x});
    forward.more_bytes = static_cast<double>(x.bytes());
    out.push_back(forward);
    // What relu lets through is written for others, and read again with x.
    KernelCase backward = of("batch_norm + add + relu, backward", std::make_shared<BatchNormResidualBackwardOp>(1e-5),
                             {x, x, x, channels, channels, channels, channels, x});
    backward.more_bytes = 2 * static_cast<double>(x.bytes());
    backward.positive = {6};
    out.push_back(backward);
  }
}

void add_rows(Cases& out, DType data) {
  const TensorType wide{data, {65536, 1024}}, features = f32({1024});
  out.push_back(of("layer_norm", std::make_shared<LayerNormOp>(1e-5), {wide, features, features}));
  out.push_back(of("layer_norm, backward", std::make_shared<LayerNormBackwardOp>(1e-5),
                   {wide, wide, features}));
  out.push_back(of("bias", std::make_shared<BiasOp>(), {wide, features}));
  out.push_back(of("bias, backward", std::make_shared<BiasBackwardOp>(), {wide}));
}

// Softmax, losses and embeddings are f32 always.
void add_losses(Cases& out) {
  for (const Shape& shape : {Shape{65536, 1000}, Shape{4096, 32000}}) {
    const TensorType logits = f32(shape), labels{DType::kI32, {shape[0]}};
    out.push_back(of("softmax", std::make_shared<SoftmaxOp>(-1), {logits}));
    out.push_back(
        of("softmax, backward", std::make_shared<SoftmaxBackwardOp>(-1), {logits, logits}));
    const SoftmaxCrossEntropyOp loss(1.0 / static_cast<double>(shape[0]));
    out.push_back(of("softmax_cross_entropy", std::make_shared<SoftmaxCrossEntropyOp>(loss),
                     {logits, labels}));
    out.push_back(of("softmax_cross_entropy, backward",
                     std::make_shared<SoftmaxCrossEntropyBackwardOp>(loss),
                     {logits, labels, f32({})}));
    out.push_back(of("softmax_cross_entropy + backward", std::make_shared<CrossEntropyWithGradientOp>(loss),
                     {logits, labels}));
  }
  const TensorType prediction = f32({65536, 1024});
  const ElementLossOp squared(ElementLossKind::kSquared, 1.0 / 65536);
  out.push_back(
      of("mean_squared_error", std::make_shared<ElementLossOp>(squared), {prediction, prediction}));
  out.push_back(of("mean_squared_error, backward", std::make_shared<ElementLossBackwardOp>(squared),
                   {prediction, prediction, f32({})}));
}

void add_embedding(Cases& out) {
  constexpr std::int64_t kWords = 50257, kWidth = 768, kTokens = 131072;
  const TensorType table = f32({kWords, kWidth}), ids{DType::kI32, {128, 1024}},
                   y = f32({128, 1024, kWidth});
  KernelCase forward = of("embedding", std::make_shared<EmbeddingOp>(), {table, ids});
  // Rows that no id names are not read.
  const double unread = kWords * std::exp(-static_cast<double>(kTokens) / kWords);
  forward.more_bytes = -unread * kWidth * sizeof(float);
  KernelCase backward =
      of("embedding, backward", std::make_shared<EmbeddingBackwardOp>(kWords), {y, ids});
  forward.integer_bound = backward.integer_bound = kWords;
  out.push_back(forward);
  out.push_back(backward);
}

void add_elementwise(Cases& out, DType data) {
  const TensorType x{data, {64, 1024, 1024}};
  const Activation relu{ActivationKind::kRelu}, gelu{ActivationKind::kGelu};
  const auto add = std::make_shared<BinaryOp>(BinaryKind::kAdd, BinaryShapes::kSame);
  out.push_back(of("copy", std::make_shared<CopyOp>(), {x}));
  out.push_back(of("add", add, {x, x}));
  out.push_back(of("relu", std::make_shared<ActivationOp>(relu), {x}));
  out.push_back(of("relu, backward", std::make_shared<ActivationBackwardOp>(relu), {x, x}));
  out.push_back(of("gelu", std::make_shared<ActivationOp>(gelu), {x}));
  out.push_back(of("gelu, backward", std::make_shared<ActivationBackwardOp>(gelu), {x, x}));
  const std::vector<ChainStep> residual{{add, {0, 1}}, {std::make_shared<ActivationOp>(relu), {2}}};
  out.push_back(
      of("add + relu", std::make_shared<ElementwiseChainOp>(std::vector{x, x}, residual), {x, x}));
  const std::vector<ChainStep> back{{std::make_shared<AccumulateOp>(), {0, 1}},
                                    {std::make_shared<ActivationBackwardOp>(relu), {3, 2}}};
  out.push_back(of("add + relu, backward",
                   std::make_shared<ElementwiseChainOp>(std::vector{x, x, x}, back), {x, x, x}));
  out.push_back(of(data == DType::kF32 ? "cast to bf16" : "cast to f32",
                   std::make_shared<CastOp>(data == DType::kF32 ? DType::kBF16 : DType::kF32),
                   {x}));
  out.push_back(of("dropout", std::make_shared<DropoutOp>(0.5, 1, 1),
                   {{data, {65536, 1024}}, {DType::kI64, {}}, {DType::kI64, {65536}}}));
  out.push_back(
      of("concat", std::make_shared<ConcatOp>(-1), {{data, {65536, 512}}, {data, {65536, 512}}}));
}

void add_reductions(Cases& out, DType data) {
  const auto reduce = [&](const char* name, ReduceKind kind, std::vector<int> axes, Shape shape) {
    out.push_back(
        of(name, std::make_shared<ReduceOp>(kind, std::move(axes), false), {{data, shape}}));
  };
  reduce("reduce_sum, all", ReduceKind::kSum, {}, {64, 1024, 1024});
  reduce("reduce_sum, rows", ReduceKind::kSum, {1}, {65536, 1024});
  reduce("reduce_sum, columns", ReduceKind::kSum, {0}, {65536, 1024});
  reduce("reduce_max, rows", ReduceKind::kMax, {1}, {65536, 1024});
  reduce("global_average_pooling2d", ReduceKind::kMean, {1, 2}, {512, 14, 14, 1024});
}

void add_pooling(Cases& out, DType data) {
  const TensorType x{data, {256, 112, 112, 64}}, y{data, {256, 56, 56, 64}},
      places{DType::kU8, {256, 56, 56, 64}};
  const Window2d three{
      .size = {3, 3}, .strides = {2, 2}, .padding = {PaddingKind::kExplicit, {1, 1}}};
  const Window2d two{.size = {2, 2}, .strides = {2, 2}, .padding = {}};
  const auto add = [&](const char* name, std::shared_ptr<const Op> op,
                       std::vector<TensorType> inputs, int size) {
    KernelCase c = of(name, std::move(op), std::move(inputs));
    c.numbers = {{"size", size}, {"stride", 2}, {"padding", size / 3}};
    c.integer_bound = size * size;
    out.push_back(c);
  };
  add("max_pool2d 3x3", std::make_shared<MaxPool2dOp>(three), {x}, 3);
  add("max_pool2d 3x3, backward", std::make_shared<MaxPool2dBackwardOp>(three, 112, 112),
      {y, places}, 3);
  add("max_pool2d 2x2", std::make_shared<MaxPool2dOp>(two), {x}, 2);
  add("max_pool2d 2x2, backward", std::make_shared<MaxPool2dBackwardOp>(two, 112, 112), {y, places},
      2);
  add("average_pool2d 2x2", std::make_shared<AveragePool2dOp>(two), {x}, 2);
  add("average_pool2d 2x2, backward", std::make_shared<AveragePool2dBackwardOp>(two, 112, 112), {y},
      2);
}

// As many parameters as ResNet-50 has.
void add_updates(Cases& out) {
  constexpr std::int64_t kParameters = 25557032;
  const TensorType p = f32({kParameters}), one = f32({}), step{DType::kI64, {}};
  const std::vector<Segment> all{{0, kParameters}};
  const auto add = [&](const char* name, std::shared_ptr<const Op> op, int slots) {
    std::vector<TensorType> inputs(2 + slots, p);
    inputs.insert(inputs.end(), {one, step, one});
    KernelCase c = of(name, std::move(op), std::move(inputs));
    for (int i = 2; i < 2 + slots; ++i) c.positive.push_back(i);
    out.push_back(c);
  };
  add("adam",
      std::make_shared<AdamUpdateOp>(OptimizerOptions{.kind = "adam", .weight_decay = 0}, all), 2);
  add("adamw",
      std::make_shared<AdamUpdateOp>(OptimizerOptions{.kind = "adamw", .weight_decay = 0.01}, all),
      2);
  add("sgd", std::make_shared<SgdUpdateOp>(OptimizerOptions{.kind = "sgd", .weight_decay = 0}, all),
      0);
  add("sgd, momentum",
      std::make_shared<SgdUpdateOp>(
          OptimizerOptions{.kind = "sgd", .weight_decay = 1e-4, .momentum = 0.9}, all),
      1);
  std::vector<std::int64_t> begins;
  for (std::int64_t i = 0; i < kParameters; i += kNormBlock) begins.push_back(i);
  begins.push_back(kParameters);
  out.push_back(of("square_sums", std::make_shared<SquareSumsOp>(begins), {p}));
}

}  // namespace

std::vector<KernelCase> bandwidth_cases(DType data) {
  Cases out;
  add_elementwise(out, data);
  add_batch_norm(out, data);
  add_rows(out, data);
  add_reductions(out, data);
  add_pooling(out, data);
  if (data != DType::kF32) return out;
  add_losses(out);
  add_embedding(out);
  add_updates(out);
  const std::vector<double> shift{124, 117, 104}, scale{0.017, 0.018, 0.017};
  out.push_back(of("from_bytes", std::make_shared<FromBytesOp>(shift, scale),
                   {{DType::kU8, {256, 224, 224, 3}}}));
  return out;
}

}  // namespace lockstep::bench
