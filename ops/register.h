// The lists of everything in ops/: one line an op, one line a layer.
#pragma once

#include "core/kernel/kernel.h"
#include "core/passes/fuse.h"
#include "ops/layers/layer.h"

namespace lockstep {

void register_cpu_kernels(KernelRegistry& registry);
// The fusion patterns that ops declare, in the order in which they are tried.
std::vector<FusionPattern> fusion_patterns();
void register_layers(LayerRegistry& registry);

}  // namespace lockstep
