#include "ops/register.h"

#include "core/builtin/builtin.h"
#include "ops/activation/activation.h"
#include "ops/bias/bias.h"

namespace lockstep {

void register_cpu_kernels(KernelRegistry& registry) {
  register_builtin_cpu(registry);
  register_activation_cpu(registry);
  register_bias_cpu(registry);
}

std::vector<FusionPattern> fusion_patterns() {
  return {};
}

void register_layers(LayerRegistry&) {}

}  // namespace lockstep
