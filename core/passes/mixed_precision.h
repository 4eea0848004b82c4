// Computes in bf16 what may be computed in bf16. States (parameters) stay f32: a cast stands
// between a parameter and its use, and the gradient of the cast brings the gradient back to f32.
// Scheme: Micikevicius et al., "Mixed precision training", ICLR 2018; bf16 needs no loss scaling.
//
// Before: a forward graph (with or without loss) in f32. After: ops follow their trait Precision;
// every graph output has the type it had. A graph without an op of Precision::kLow is left alone.
#pragma once

#include "core/graph/graph.h"

namespace lockstep {

Graph mixed_precision(const Graph& graph);

}  // namespace lockstep
