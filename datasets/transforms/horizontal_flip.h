// Left and right of an image exchanged, with a probability: torchvision's RandomHorizontalFlip.
#pragma once

#include "datasets/transforms/transform.h"

namespace lockstep {

TransformPtr horizontal_flip(double probability = 0.5);
void register_horizontal_flip(TransformRegistry& registry);

}  // namespace lockstep
