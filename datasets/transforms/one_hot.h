// Class numbers as vectors: one extent more at the end, 1 where the class is, 0 elsewhere. For inputs, and for targets of
// losses that take numbers. A number outside [0, classes) gives zeros only; the loader refuses such data before.
#pragma once

#include "datasets/transforms/transform.h"

namespace lockstep {

TransformPtr one_hot(std::int64_t classes);
void register_one_hot(TransformRegistry& registry);

}  // namespace lockstep
