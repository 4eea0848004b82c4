// Normally distributed numbers added to every element, after normalisation: Keras' GaussianNoise.
#pragma once

#include "datasets/transforms/transform.h"

namespace lockstep {

TransformPtr noise(double deviation);
void register_noise(TransformRegistry& registry);

}  // namespace lockstep
