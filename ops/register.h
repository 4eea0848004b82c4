// The lists of everything in ops/: one line an op, one line a layer.
#pragma once

#include "core/kernel/kernel.h"
#include "core/passes/fuse.h"
#include "ops/layers/layer.h"

namespace lockstep {

class OnnxRegistry;

void register_cpu_kernels(KernelRegistry& registry);
// Part of the GPU's module, which exports it as lockstep_register_cuda_kernels(KernelRegistry*).
void register_cuda_kernels(KernelRegistry& registry);
// Those of them that need no library.
void register_own_cuda_kernels(KernelRegistry& registry);
// How ops are written as ONNX (ops/onnx/converter.h).
void register_onnx_converters(OnnxRegistry& registry);
// The fusion patterns that ops declare, in the order in which they are tried: those that join named ops, and then chains
// of whatever is left. A GPU has some of its own: what saves a launch.
std::vector<FusionPattern> room_fusions();
std::vector<FusionPattern> fusion_patterns(DeviceKind device = DeviceKind::kCpu);
void register_layers(LayerRegistry& registry);

}  // namespace lockstep
