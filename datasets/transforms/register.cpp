// All transforms there are.
#include "datasets/transforms/cutout.h"
#include "datasets/transforms/horizontal_flip.h"
#include "datasets/transforms/noise.h"
#include "datasets/transforms/one_hot.h"
#include "datasets/transforms/random_crop.h"
#include "datasets/transforms/rotation.h"

namespace lockstep {

void register_transforms(TransformRegistry& registry) {
  register_cutout(registry);
  register_horizontal_flip(registry);
  register_noise(registry);
  register_one_hot(registry);
  register_random_crop(registry);
  register_rotation(registry);
}

}  // namespace lockstep
