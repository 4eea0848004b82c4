// The cases of the convolution tests: f32 in conv2d_test, bf16 in conv2d_bf16_test (a processor may
// lack it).
#pragma once

#include <vector>

#include "ops/conv2d/conv2d.h"
#include "tests/ops/op_test.h"

namespace lockstep::testing {

struct ConvolutionShape {
  const char* name;
  std::int64_t batch, height, width, in, kernel_height, kernel_width, out;
  Convolution convolution;
};

inline std::vector<ConvolutionShape> convolution_shapes() {
  const Padding2d same{PaddingKind::kSame, {0, 0}}, one{PaddingKind::kExplicit, {1, 1}};
  auto made = [](std::int64_t stride, std::int64_t dilation, Padding2d padding,
                 std::int64_t groups) {
    Convolution convolution;
    convolution.window.strides = {stride, stride};
    convolution.window.dilation = {dilation, dilation};
    convolution.window.padding = padding;
    convolution.groups = groups;
    return convolution;
  };
  return {{"one pixel", 1, 1, 1, 1, 1, 1, 1, made(1, 1, {}, 1)},
          {"valid", 2, 5, 6, 3, 3, 3, 4, made(1, 1, {}, 1)},
          {"same", 1, 5, 5, 2, 3, 3, 3, made(1, 1, same, 1)},
          {"same, stride 2, even", 2, 6, 6, 3, 3, 3, 5, made(2, 1, same, 1)},
          {"explicit padding, stride 2", 1, 7, 5, 1, 3, 3, 2, made(2, 1, one, 1)},
          {"dilation", 2, 7, 7, 2, 3, 3, 3, made(1, 2, {}, 1)},
          {"groups", 2, 5, 5, 4, 3, 3, 6, made(1, 1, one, 2)},
          {"depthwise", 1, 5, 5, 3, 3, 3, 3, made(1, 1, same, 3)},
          {"flat kernel", 2, 4, 6, 2, 1, 3, 3, made(1, 1, {}, 1)},
          {"sixteen channels", 2, 4, 4, 16, 3, 3, 16, made(1, 1, same, 1)}};
}

inline std::vector<OpCase> convolution_cases(bool with_bias) {
  std::vector<OpCase> cases;
  for (const ConvolutionShape& s : convolution_shapes()) {
    Window2d window = s.convolution.window;
    window.size = {s.kernel_height, s.kernel_width};
    const Convolution convolution = s.convolution;
    const std::int64_t groups = convolution.groups, in = s.in / groups, out = s.out / groups;
    auto reference = [=](const Tensors& t) {
      const std::int64_t oh = window.output(0, s.height), ow = window.output(1, s.width);
      std::vector<double> y(s.batch * oh * ow * s.out);
      for (std::int64_t n = 0; n < s.batch; ++n)
        for (std::int64_t i = 0; i < oh; ++i)
          for (std::int64_t j = 0; j < ow; ++j)
            for (std::int64_t o = 0; o < s.out; ++o) {
              double sum = with_bias ? t[2][o] : 0.0;
              for (std::int64_t a = 0; a < s.kernel_height; ++a)
                for (std::int64_t b = 0; b < s.kernel_width; ++b) {
                  const std::int64_t h = i * window.strides[0] -
                                         window.padding_before(0, s.height) +
                                         a * window.dilation[0];
                  const std::int64_t w = j * window.strides[1] - window.padding_before(1, s.width) +
                                         b * window.dilation[1];
                  if (h < 0 || w < 0 || h >= s.height || w >= s.width) continue;
                  for (std::int64_t c = 0; c < in; ++c) {
                    const std::int64_t channel = o / out * in + c;
                    sum += t[0][((n * s.height + h) * s.width + w) * s.in + channel] *
                           t[1][((a * s.kernel_width + b) * in + c) * s.out + o];
                  }
                }
              y[((n * oh + i) * ow + j) * s.out + o] = sum;
            }
      return Tensors{y};
    };
    OpCase c;
    c.name = s.name;
    c.op = std::make_shared<Conv2dOp>(convolution);
    c.inputs = {{DType::kF32, {s.batch, s.height, s.width, s.in}, nullptr},
                {DType::kF32, {s.kernel_height, s.kernel_width, in, s.out}, nullptr}};
    if (with_bias) c.inputs.push_back({DType::kF32, {s.out}, nullptr});
    c.keeps_f32 = {2};
    c.reference = reference;
    c.reduction_length = static_cast<double>(s.batch * s.height * s.width);
    c.bf16 = false;
    cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace lockstep::testing
