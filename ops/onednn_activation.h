// An activation as the last thing that a oneDNN primitive does to its result.
#pragma once

#include <optional>

#include "core/device/onednn.h"
#include "ops/activation/activation.h"

namespace lockstep {

// oneDNN's relu makes 0 of NaN, where ours and PyTorch's keep it; the others keep it as well.
inline void append_activation(dnnl::primitive_attr& attributes,
                              const std::optional<Activation>& activation) {
  if (!activation) return;
  using Algorithm = dnnl::algorithm;
  dnnl::post_ops post_ops;
  switch (activation->kind) {
    case ActivationKind::kRelu:
      onednn::append_eltwise(post_ops, Algorithm::eltwise_relu, 0.0f, 0.0f);
      break;
    case ActivationKind::kLeakyRelu:
      onednn::append_eltwise(post_ops, Algorithm::eltwise_relu,
                             static_cast<float>(activation->negative_slope), 0.0f);
      break;
    case ActivationKind::kSigmoid:
      onednn::append_eltwise(post_ops, Algorithm::eltwise_logistic, 0.0f, 0.0f);
      break;
    case ActivationKind::kTanh:
      onednn::append_eltwise(post_ops, Algorithm::eltwise_tanh, 0.0f, 0.0f);
      break;
    case ActivationKind::kGelu:
      onednn::append_eltwise(post_ops, Algorithm::eltwise_gelu_erf, 0.0f, 0.0f);
      break;
    case ActivationKind::kGeluApproximate:
      onednn::append_eltwise(post_ops, Algorithm::eltwise_gelu_tanh, 0.0f, 0.0f);
      break;
  }
  attributes.set_post_ops(post_ops);
}

}  // namespace lockstep
