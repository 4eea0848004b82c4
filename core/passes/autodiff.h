// Reverse-mode differentiation: adds to a graph the nodes that compute gradients.
//
// Each node that lies between `with_respect_to` and `outputs` is asked once, in reverse order, for
// the cotangents of its inputs (Op::gradient); several cotangents of one value are summed in the
// order in which they arise, so the result is a pure function of the graph. Cost: one visit a node.
#pragma once

#include <span>
#include <vector>

#include "core/graph/graph.h"

namespace lockstep {

// REQUIRES: outputs and cotangents pair up with equal types.
// Returns the gradients in the order of `with_respect_to`; kNoValue where nothing depends on the
// value. Before: a verified graph. After: the same nodes followed by the gradient nodes. Nothing
// else changes.
std::vector<ValueId> differentiate(Graph& graph, std::span<const ValueId> outputs,
                                   std::span<const ValueId> cotangents,
                                   std::span<const ValueId> with_respect_to);

}  // namespace lockstep
