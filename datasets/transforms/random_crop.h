// A part of an image at a random place, after zeros were put around it: torchvision's RandomCrop. Samples that are
// evaluated get the part in the middle.
#pragma once

#include "datasets/transforms/transform.h"

namespace lockstep {

struct RandomCropOptions {
  std::int64_t padding = 0;           // pixels of zeros on each side
  std::int64_t height = 0, width = 0;  // of the part; 0: as the image
};

TransformPtr random_crop(const RandomCropOptions& options);
void register_random_crop(TransformRegistry& registry);

}  // namespace lockstep
