// A window that moves over the height and width of an image: the geometry of convolution and
// pooling.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "core/base/settings.h"

namespace lockstep {

enum class PaddingKind {
  kValid,     // none: the window stays inside
  kSame,      // ceil(input / stride) outputs, as TensorFlow and Keras: an odd rest goes to the end
  kExplicit,  // the same amount at both ends, as PyTorch
};

struct Padding2d {
  PaddingKind kind = PaddingKind::kValid;
  std::array<std::int64_t, 2> amount = {0, 0};  // of kExplicit; height, width

  std::string to_string() const;  // "valid", "same", "(1, 1)"
};

// Index 0 is the height, 1 the width.
struct Window2d {
  std::array<std::int64_t, 2> size = {1, 1};
  std::array<std::int64_t, 2> strides = {1, 1};
  std::array<std::int64_t, 2> dilation = {1, 1};
  Padding2d padding;

  // Throws bad_input where a number is not positive, or a padding negative or not less than the
  // dilated window.
  void check() const;
  // Positions of the window over `input` elements; bad_input where there is none.
  std::int64_t output(int axis, std::int64_t input) const;
  // Elements that the input lacks before its first and behind its last one.
  std::int64_t padding_before(int axis, std::int64_t input) const;
  std::int64_t padding_behind(int axis, std::int64_t input) const;
  // "strides=(2, 2) padding=same dilation=(1, 1)"; the size only where `with_size`.
  std::string to_string(bool with_size) const;

 private:
  // Input elements from the first to the last of one window.
  std::int64_t reach(int axis) const { return dilation[axis] * (size[axis] - 1) + 1; }
};

// padding = "valid", "same", an integer or a list of two.
Padding2d read_padding(Settings& settings, const Padding2d& fallback);

}  // namespace lockstep
