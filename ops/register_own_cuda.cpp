// The CUDA kernels of the rooms that need no library. Part of the GPU's module, and of the emulated device of the tests.
#include "core/builtin/builtin.h"
#include "core/builtin/reorder.h"
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
#include "ops/microbatch_sum/microbatch_sum.h"
#include "ops/optimizers/gradient_ops.h"
#include "ops/optimizers/optimizer.h"
#include "ops/pool2d/pool2d.h"
#include "ops/reduce/reduce.h"
#include "ops/register.h"
#include "ops/softmax/softmax.h"

namespace lockstep {

void register_own_cuda_kernels(KernelRegistry& registry) {
  register_builtin_cuda(registry);
  register_reorder_cuda(registry);
  register_activation_cuda(registry);
  register_batch_norm_cuda(registry);
  register_batch_norm_residual_cuda(registry);
  register_bias_cuda(registry);
  register_binary_cuda(registry);
  register_concat_cuda(registry);
  register_dropout_cuda(registry);
  register_elementwise_chain_cuda(registry);
  register_embedding_cuda(registry);
  register_from_bytes_cuda(registry);
  register_layer_norm_cuda(registry);
  register_element_loss_cuda(registry);
  register_gradient_ops_cuda(registry);
  register_microbatch_sum_cuda(registry);
  register_optimizers_cuda(registry);
  register_softmax_cross_entropy_cuda(registry);
  register_cross_entropy_with_gradient_cuda(registry);
  register_pool2d_cuda(registry);
  register_reduce_cuda(registry);
  register_softmax_cuda(registry);
}

}  // namespace lockstep
