// Zeros in squares at random places of an image: T. DeVries, G. Taylor, "Improved regularization of convolutional neural
// networks with cutout", 2017. The middle of a square is uniform over the pixels; what lies outside the image is cut off.
#pragma once

#include "datasets/transforms/transform.h"

namespace lockstep {

struct CutoutOptions {
  std::int64_t size = 8;   // side of a square, in pixels
  std::int64_t holes = 1;  // squares
};

TransformPtr cutout(const CutoutOptions& options);
void register_cutout(TransformRegistry& registry);

}  // namespace lockstep
