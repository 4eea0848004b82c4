// Synthetic images: x u8 (n, height, width, channels), y i32. Class k (sample mod K) is a pattern
// of stripes that lie in the direction pi k / K, with a phase drawn for each image and shifted from
// channel to channel, so no single pixel tells the class; noise is added to each pixel.
#pragma once

#include "datasets/synthesize/kind.h"

namespace lockstep {

SyntheticKind images_kind();

}  // namespace lockstep
