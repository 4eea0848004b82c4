// Matrix products and convolutions.
#include "bench/gpu/kernel_case.h"
#include "ops/conv2d/conv2d.h"
#include "ops/dense/dense.h"

namespace lockstep::bench {
namespace {

struct Product {
  std::int64_t batch, in, out;
};

// Squares, the layers of an MLP, and of a transformer.
constexpr Product kProducts[] = {
    {512, 512, 512},    {1024, 1024, 1024}, {2048, 2048, 2048}, {4096, 4096, 4096},
    {8192, 8192, 8192}, {256, 784, 1024},   {256, 1024, 1024},  {256, 1024, 10},
    {1024, 4096, 1024}, {8192, 1024, 4096}, {8192, 4096, 1024}, {2048, 768, 3072},
};

// As cuBLASLt sees it, with matrices by columns: D (rows, columns) = A (rows, inner) B (inner,
// columns).
KernelCase product(const char* name, std::shared_ptr<const Op> op, std::vector<TensorType> inputs,
                   std::int64_t rows, std::int64_t columns, std::int64_t inner, int transposed) {
  return {.group = CaseGroup::kProduct,
          .name = name,
          .op = std::move(op),
          .inputs = std::move(inputs),
          .numbers = {
              {"rows", rows}, {"columns", columns}, {"inner", inner}, {"transposed", transposed}}};
}

struct Layer {
  std::int64_t size, in, kernel, stride, out;
};

// The convolutions of ResNet-50 that take most of its time, on 128 images.
constexpr Layer kLayers[] = {
    {224, 3, 7, 2, 64},    {56, 64, 1, 1, 64},     {56, 64, 3, 1, 64},   {56, 64, 1, 1, 256},
    {56, 128, 3, 2, 128},  {28, 128, 3, 1, 128},   {28, 512, 1, 1, 128}, {14, 256, 3, 1, 256},
    {14, 256, 1, 1, 1024}, {14, 1024, 1, 2, 2048}, {7, 512, 3, 1, 512},
};

}  // namespace

// With bf16 data dw is f32, as in training.
std::vector<KernelCase> product_cases(DType data) {
  std::vector<KernelCase> out;
  for (const auto& [m, k, n] : kProducts) {
    const TensorType x{data, {m, k}}, w{data, {k, n}}, y{data, {m, n}}, b{DType::kF32, {n}};
    out.push_back(product("dense", std::make_shared<DenseOp>(), {x, w}, n, m, k, 0));
    KernelCase fused =
        product("dense + bias + relu", std::make_shared<DenseOp>(Activation{ActivationKind::kRelu}),
                {x, w, b}, n, m, k, 0);
    fused.numbers["epilogue"] = 1;
    out.push_back(fused);
    out.push_back(product("dense, backward data", std::make_shared<DenseBackwardDataOp>(), {y, w},
                          k, m, n, 1));
    out.push_back(product("dense, backward weights", std::make_shared<DenseBackwardWeightsOp>(),
                          {x, y}, n, k, m, 2));
  }
  return out;
}

std::vector<KernelCase> convolution_cases(DType data) {
  std::vector<KernelCase> out;
  for (const auto& [size, in, kernel, stride, filters] : kLayers) {
    constexpr std::int64_t kImages = 128;
    const std::int64_t padding = kernel / 2, result = (size + 2 * padding - kernel) / stride + 1;
    const Convolution convolution{
        .window = {.strides = {stride, stride},
                   .padding = {PaddingKind::kExplicit, {padding, padding}}}};
    const TensorType x{data, {kImages, size, size, in}},
        y{data, {kImages, result, result, filters}};
    const TensorType w{data, {kernel, kernel, in, filters}};
    const auto add = [&](const char* name, std::shared_ptr<const Op> op,
                         std::vector<TensorType> inputs) {
      out.push_back({.group = CaseGroup::kConvolution,
                     .name = name,
                     .op = std::move(op),
                     .inputs = std::move(inputs),
                     .numbers = {{"size", size},
                                 {"in", in},
                                 {"kernel", kernel},
                                 {"stride", stride},
                                 {"padding", padding},
                                 {"out", filters},
                                 {"images", kImages}}});
    };
    add("conv2d", std::make_shared<Conv2dOp>(convolution), {x, w});
    if (in > 3) {  // of the images themselves no gradient is taken
      add("conv2d, backward data", std::make_shared<Conv2dBackwardDataOp>(convolution, size, size),
          {y, w});
    }
    add("conv2d, backward weights",
        std::make_shared<Conv2dBackwardWeightsOp>(convolution, std::array{kernel, kernel}, false),
        {x, y});
  }
  return out;
}

}  // namespace lockstep::bench
