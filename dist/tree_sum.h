// A kernel of the GPU that finishes the fixed tree over the parts of an exchange (dist/flat_exchange.h) in one pass. Part of
// the GPU's module.
#pragma once

#include "dist/flat_exchange.h"

namespace lockstep {

// Prepared once; the work of a run is queued by it.
class TreeSumKernel {
 public:
  // Throws bad_input where there are more parts than the kernel takes.
  explicit TreeSumKernel(const FlatSum& sum);
  void run(const Launch& launch) const;

 private:
  FlatSum sum_;
  StackProgram program_;
};

}  // namespace lockstep
