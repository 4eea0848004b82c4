// An image turned about its middle by a random angle. Values between pixels are interpolated linearly along both axes;
// outside the image lie zeros. (torchvision's RandomRotation with bilinear interpolation.)
#pragma once

#include "datasets/transforms/transform.h"

namespace lockstep {

// The angle is uniform in [-degrees, degrees].
TransformPtr rotation(double degrees);
void register_rotation(TransformRegistry& registry);

}  // namespace lockstep
