// The ops of core/builtin as ONNX.
#pragma once

#include "ops/onnx/converter.h"

namespace lockstep {

void register_builtin_onnx(OnnxRegistry& registry);

}  // namespace lockstep
