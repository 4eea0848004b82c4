// The geometry of a window as attributes of ONNX's Conv and pooling.
#pragma once

#include <vector>

#include "ops/onnx/onnx_graph.h"
#include "ops/window/window.h"

namespace lockstep {

// kernel_shape, strides, pads and, where they are not 1, dilations, for an image
// (batch, height, width, channels).
inline std::vector<OnnxAttribute> window_onnx(const Window2d& window, const Shape& image) {
  using List = std::vector<std::int64_t>;
  std::vector<OnnxAttribute> out{{"kernel_shape", List(window.size.begin(), window.size.end())},
                                 {"strides", List(window.strides.begin(), window.strides.end())},
                                 {"pads", List{window.padding_before(0, image[1]), window.padding_before(1, image[2]),
                                               window.padding_behind(0, image[1]), window.padding_behind(1, image[2])}}};
  if (window.dilation != std::array<std::int64_t, 2>{1, 1}) {
    out.push_back({"dilations", List(window.dilation.begin(), window.dilation.end())});
  }
  return out;
}

}  // namespace lockstep
