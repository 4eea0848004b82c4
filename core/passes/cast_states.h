// Casts the parameters of a bucket to bf16 all at once. mixed_precision puts a cast between each parameter and its use; here
// the casts of the parts of one state become one cast of the whole, of which the uses see views: one launch for all, and the
// same bits. For devices on which a launch costs more than the elements that need not have been cast.
//
// Vectors that an op would round itself (Traits::may_be_low) are read from there as well, where they are aligned.
//
// Before: a graph that reads its parameters as views of states. After: the same, without casts of those views. A state of
// which less than half is cast, or one part only, is left alone.
#pragma once

#include "core/graph/graph.h"

namespace lockstep {

Graph cast_states(const Graph& graph);

}  // namespace lockstep
