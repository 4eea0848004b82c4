// Gives values the memory layouts that their kernels like best, and inserts reorders where two
// neighbours disagree. On the CPU this lets oneDNN keep weights and activations in its blocked
// formats.
//
// Before: a verified graph, all row-major. After: a kernel that asked for layouts has them;
// elementwise nodes take the layout of their inputs; everything else, and every graph output, is
// row-major. A value is reordered at most once to each layout, so weights are reordered once a step
// however many microbatches use them. Values do not change.
#pragma once

#include <functional>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

// Adds the node that changes the layout of `value` to `layout` (null: row-major).
using ReorderBuilder =
    std::function<ValueId(Graph&, ValueId value, std::shared_ptr<const Layout> layout)>;

Graph choose_layouts(const Graph& graph, const KernelRegistry& registry, Device& device,
                     const ReorderBuilder& reorder);

}  // namespace lockstep
