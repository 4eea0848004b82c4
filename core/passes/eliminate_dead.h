// Removes nodes whose results nobody reads.
//
// Before: any verified graph. After: every node has an effect (it overwrites or communicates) or
// leads to an output or to such a node; order and names of the rest are as they were. Inputs and
// states stay.
#pragma once

#include "core/graph/graph.h"

namespace lockstep {

Graph eliminate_dead(const Graph& graph);

}  // namespace lockstep
