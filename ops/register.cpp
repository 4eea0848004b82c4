#include "ops/register.h"

#include "core/builtin/builtin.h"
#include "core/builtin/reorder.h"
#include "ops/activation/activation.h"
#include "ops/batch_norm/batch_norm.h"
#include "ops/batch_norm/batch_norm_residual.h"
#include "ops/bias/bias.h"
#include "ops/binary/binary.h"
#include "ops/concat/concat.h"
#include "ops/conv2d/conv2d.h"
#include "ops/dense/dense.h"
#include "ops/dropout/dropout.h"
#include "ops/elementwise_chain/elementwise_chain.h"
#include "ops/embedding/embedding.h"
#include "ops/from_bytes/from_bytes.h"
#include "ops/microbatch_sum/microbatch_sum.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/layers/activation.h"
#include "ops/layers/batch_normalization.h"
#include "ops/layers/conv2d.h"
#include "ops/layers/dense.h"
#include "ops/layers/dropout.h"
#include "ops/layers/embedding.h"
#include "ops/layers/layer_normalization.h"
#include "ops/layers/merge.h"
#include "ops/layers/pooling.h"
#include "ops/layers/reduction.h"
#include "ops/layers/reshape.h"
#include "ops/losses/cross_entropy_with_gradient.h"
#include "ops/losses/loss.h"
#include "ops/onnx/builtin_onnx.h"
#include "ops/optimizers/gradient_ops.h"
#include "ops/optimizers/optimizer.h"
#include "ops/pool2d/pool2d.h"
#include "ops/reduce/reduce.h"
#include "ops/softmax/softmax.h"

namespace lockstep {

void register_cpu_kernels(KernelRegistry& registry) {
  register_activation_cpu(registry);
  register_batch_norm_cpu(registry);
  register_batch_norm_residual_cpu(registry);
  register_bias_cpu(registry);
  register_binary_cpu(registry);
  register_builtin_cpu(registry);
  register_concat_cpu(registry);
  register_conv2d_cpu(registry);
  register_dense_cpu(registry);
  register_dropout_cpu(registry);
  register_elementwise_chain_cpu(registry);
  register_embedding_cpu(registry);
  register_from_bytes_cpu(registry);
  register_microbatch_sum_cpu(registry);
  register_gradient_ops_cpu(registry);
  register_layer_norm_cpu(registry);
  register_losses_cpu(registry);
  register_optimizers_cpu(registry);
  register_pool2d_cpu(registry);
  register_reduce_cpu(registry);
  register_reorder_cpu(registry);
  register_softmax_cpu(registry);
}

void register_onnx_converters(OnnxRegistry& registry) {
  register_activation_onnx(registry);
  register_batch_norm_onnx(registry);
  register_bias_onnx(registry);
  register_binary_onnx(registry);
  register_builtin_onnx(registry);
  register_concat_onnx(registry);
  register_conv2d_onnx(registry);
  register_dense_onnx(registry);
  register_embedding_onnx(registry);
  register_from_bytes_onnx(registry);
  register_layer_norm_onnx(registry);
  register_pool2d_onnx(registry);
  register_reduce_onnx(registry);
  register_softmax_onnx(registry);
}

std::vector<FusionPattern> room_fusions() {
  std::vector<FusionPattern> patterns;
  for (const std::vector<FusionPattern>& room :
       {batch_norm_fusions(), conv2d_fusions(), cross_entropy_fusions(), dense_fusions(), from_bytes_fusions(),
        pool2d_fusions()}) {
    patterns.insert(patterns.end(), room.begin(), room.end());
  }
  return patterns;
}

std::vector<FusionPattern> fusion_patterns(DeviceKind device) {
  std::vector<FusionPattern> patterns = room_fusions();
  auto add = [&](const std::vector<FusionPattern>& more) { patterns.insert(patterns.end(), more.begin(), more.end()); };
  if (device == DeviceKind::kCuda) add(dense_gradient_fusions());
  add(elementwise_chain_fusions());  // last: they take what the other rooms leave
  return patterns;
}

void register_layers(LayerRegistry& registry) {
  register_activation_layers(registry);
  register_batch_normalization_layer(registry);
  register_conv2d_layer(registry);
  register_dense_layer(registry);
  register_dropout_layer(registry);
  register_embedding_layer(registry);
  register_layer_normalization_layer(registry);
  register_merge_layers(registry);
  register_pooling_layers(registry);
  register_reduction_layers(registry);
  register_reshape_layers(registry);
}

}  // namespace lockstep
