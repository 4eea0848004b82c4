// Pooling layers of images. Words and defaults are those of Keras 3; an integer `padding` is
// PyTorch's.
#pragma once

#include <array>
#include <string>

#include "ops/layers/layer.h"

namespace lockstep {

struct Pooling2dOptions {
  std::array<std::int64_t, 2> pool_size = {2, 2};
  std::array<std::int64_t, 2> strides = {0, 0};  // 0: as pool_size
  std::string padding = "valid";                 // "valid" or "same", where there is no amount
  std::array<std::int64_t, 2> padding_amount = {-1,
                                                -1};  // the same at both ends; negative: not given
};

LayerPtr max_pooling2d(const Pooling2dOptions& options);
LayerPtr average_pooling2d(const Pooling2dOptions& options);
LayerPtr global_max_pooling2d();      // (batch, h, w, c) -> (batch, c)
LayerPtr global_average_pooling2d();  // the same

// [[layer]] type = "max_pooling2d" and the other names above
void register_pooling_layers(LayerRegistry& registry);

}  // namespace lockstep
