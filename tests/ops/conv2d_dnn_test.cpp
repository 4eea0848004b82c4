// The convolution's plans on cuDNN, made for GPUs that are only described: graphs, rules and the cache of choices. Whether
// they compute what they should is for conv2d_test on a GPU.
#include "ops/conv2d/conv2d_dnn.h"

#include <gtest/gtest.h>

#include "tests/ops/conv2d_cases.h"

namespace lockstep {
namespace {

using cudnn::Convolution;

// An H100 and an A100, as cuDNN describes them.
std::string description(int capability, int multiprocessors, int shared_memory, const char* name) {
  return text(R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,)",
              R"("multiProcessorCount":)", multiprocessors, R"(,"warpSize":32,"maxSharedMemoryPerBlock":49152,)",
              R"("maxSharedMemoryPerBlockOptin":)", shared_memory, R"(,"reservedSharedMemoryPerBlock":1024,)",
              R"("maxRegistersPerSM":65536,"maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,)",
              R"("pciDeviceId":0,"isTccDriver":0,"supportCoopLaunch":1,"totalGlobalMem":84987740160,)",
              R"("smClockRateKHz":1980000,"memClockRateKHz":2619000,"l2CacheSize":52428800,"cudaDeviceId":0,)",
              R"("deviceVer":)", capability, R"(,"driverVer":13000,"deviceName":")", name, R"("})");
}

const cudnn::Descriptor& h100() {
  static const cudnn::Descriptor gpu = cudnn::described_gpu(description(900, 132, 232448, "NVIDIA H100 80GB HBM3"));
  return gpu;
}
const cudnn::Descriptor& a100() {
  static const cudnn::Descriptor gpu = cudnn::described_gpu(description(800, 108, 166912, "NVIDIA A100-SXM4-80GB"));
  return gpu;
}

ConvolutionSizes sizes_of(const testing::ConvolutionShape& shape, DType dtype) {
  ConvolutionSizes out;
  Window2d window = shape.convolution.window;
  window.size = {shape.kernel_height, shape.kernel_width};
  out.dtype = dtype;
  out.batch = shape.batch;
  out.in = shape.in;
  out.out = shape.out;
  out.groups = shape.convolution.groups;
  out.input = {shape.height, shape.width};
  out.kernel = window.size;
  out.strides = window.strides;
  out.dilation = window.dilation;
  for (int axis = 0; axis < 2; ++axis) {
    out.output[axis] = window.output(axis, out.input[axis]);
    out.before[axis] = window.padding_before(axis, out.input[axis]);
    out.behind[axis] = window.padding_behind(axis, out.input[axis]);
  }
  return out;
}

lockstep::Convolution convolution(std::int64_t stride, PaddingKind padding, std::int64_t groups = 1) {
  lockstep::Convolution out;
  out.window.strides = {stride, stride};
  out.window.padding.kind = padding;
  out.groups = groups;
  return out;
}

// Those of the op tests, and of networks.
std::vector<testing::ConvolutionShape> all_shapes() {
  std::vector<testing::ConvolutionShape> out = testing::convolution_shapes();
  const auto same = PaddingKind::kSame, valid = PaddingKind::kValid;
  out.push_back({"ResNet-50, first", 64, 224, 224, 3, 7, 7, 64, convolution(2, same)});
  out.push_back({"ResNet-50, 3x3", 64, 56, 56, 64, 3, 3, 64, convolution(1, same)});
  out.push_back({"ResNet-50, 3x3, stride 2", 64, 56, 56, 128, 3, 3, 128, convolution(2, same)});
  out.push_back({"ResNet-50, 1x1", 64, 56, 56, 64, 1, 1, 256, convolution(1, same)});
  out.push_back({"ResNet-50, 1x1, stride 2", 64, 56, 56, 256, 1, 1, 512, convolution(2, same)});
  out.push_back({"ResNet-18 for CIFAR", 128, 32, 32, 64, 3, 3, 64, convolution(1, same)});
  out.push_back({"Keras CNN, first", 128, 28, 28, 1, 3, 3, 32, convolution(1, valid)});
  out.push_back({"Keras CNN, second", 128, 13, 13, 32, 3, 3, 64, convolution(1, valid)});
  out.push_back({"ResNeXt", 32, 56, 56, 128, 3, 3, 128, convolution(1, same, 32)});
  out.push_back({"MobileNet", 32, 56, 56, 128, 3, 3, 128, convolution(1, same, 128)});
  return out;
}

struct Mode {
  const char* name;
  DType dtype;
  bool tensor_cores;
};
constexpr Mode kModes[] = {{"f32", DType::kF32, false}, {"tf32", DType::kF32, true}, {"bf16", DType::kBF16, true}};
constexpr Convolution kKinds[] = {Convolution::kForward, Convolution::kBackwardData, Convolution::kBackwardFilter};

DnnPlanner planner(const cudnn::Descriptor& gpu, AlgorithmCache& cache, const Mode& mode) {
  cudnn::PlanRules rules;
  rules.tensor_cores = mode.tensor_cores;
  return {{nullptr, &gpu}, cache, rules};
}

TEST(Conv2dDnn, HasPlansForAllShapesAndTypes) {
  for (const cudnn::Descriptor* gpu : {&h100(), &a100()}) {
    AlgorithmCache cache("a GPU");
    for (const auto& shape : all_shapes()) {
      for (const Mode& mode : kModes) {
        DnnPlanner plans = planner(*gpu, cache, mode);
        const ConvolutionSizes sizes = sizes_of(shape, mode.dtype);
        for (const Convolution kind : kKinds) {
          SCOPED_TRACE(text(shape.name, ' ', mode.name, ' ', static_cast<int>(kind), gpu == &h100() ? " H100" : " A100"));
          const DnnPlan plan = plan_convolution(plans, kind, sizes);
          ASSERT_NE(plan, nullptr);
          EXPECT_LE(plan->workspace_bytes(), plans.rules.most_workspace);
          const DnnPlan again = plan_convolution(plans, kind, sizes);  // from the cache
          ASSERT_NE(again, nullptr);
          EXPECT_EQ(again->engine(), plan->engine());
          EXPECT_EQ(again->workspace_bytes(), plan->workspace_bytes());
        }
      }
    }
  }
}

TEST(Conv2dDnn, TheFastestOfAllProposalsIsTaken) {
  AlgorithmCache cache("a GPU");
  cache.take_fastest(true);
  cache.measure_for(100);
  DnnPlanner plans = planner(h100(), cache, kModes[2]);
  const ConvolutionSizes sizes = sizes_of(all_shapes().back(), DType::kBF16);
  // The higher an engine's number, the faster it is said to be.
  std::map<const cudnn::ExecutionPlan*, double> tried;
  plans.seconds = [&](const cudnn::ExecutionPlan& plan) {
    return tried[&plan] = 1.0 / (1.0 + static_cast<double>(plan.engine()));
  };
  const DnnPlan plan = plan_convolution(plans, Convolution::kForward, sizes);
  ASSERT_NE(plan, nullptr);
  ASSERT_GT(tried.size(), 1u);
  double least = 1;
  for (const auto& [one, seconds] : tried) least = std::min(least, seconds);
  EXPECT_LE(1.0 / (1.0 + static_cast<double>(plan->engine())), least / 0.95);
  tried.clear();
  const DnnPlan again = plan_convolution(plans, Convolution::kForward, sizes);
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->engine(), plan->engine());
  EXPECT_TRUE(tried.empty());
}

TEST(Conv2dDnn, BiasAndReluAreFused) {
  AlgorithmCache cache("a GPU");
  const Activation relu{ActivationKind::kRelu}, tanh{ActivationKind::kTanh};
  for (const auto& shape : all_shapes()) {
    for (const Mode& mode : kModes) {
      SCOPED_TRACE(text(shape.name, ' ', mode.name));
      DnnPlanner plans = planner(h100(), cache, mode);
      const ConvolutionSizes sizes = sizes_of(shape, mode.dtype);
      EXPECT_NE(plan_fused_convolution(plans, sizes, {true, false, relu}), nullptr);
      EXPECT_FALSE(is_fused_by_dnn(sizes, {false, false, relu}));
      EXPECT_FALSE(is_fused_by_dnn(sizes, {true, false, tanh}));
      EXPECT_EQ(is_fused_by_dnn(sizes, {true, false, std::nullopt}), mode.dtype == DType::kF32);
      if (mode.dtype == DType::kF32) {
        EXPECT_NE(plan_fused_convolution(plans, sizes, {true, false, std::nullopt}), nullptr);
      }
    }
  }
}

TEST(Conv2dDnn, TheRulesChangeTheChoice) {
  AlgorithmCache cache("a GPU");
  const ConvolutionSizes sizes = sizes_of({"", 32, 56, 56, 64, 3, 3, 64, convolution(1, PaddingKind::kSame)}, DType::kF32);
  DnnPlanner exact = planner(h100(), cache, kModes[0]), rounded = planner(h100(), cache, kModes[1]);
  const DnnPlan with_f32 = plan_convolution(exact, Convolution::kForward, sizes);
  const DnnPlan with_tf32 = plan_convolution(rounded, Convolution::kForward, sizes);
  ASSERT_TRUE(with_f32 != nullptr && with_tf32 != nullptr);
  EXPECT_NE(with_f32->engine(), with_tf32->engine());
  exact.rules.most_workspace = 0;
  const DnnPlan small = plan_convolution(exact, Convolution::kForward, sizes);
  ASSERT_NE(small, nullptr);
  EXPECT_EQ(small->workspace_bytes(), 0u);
  EXPECT_EQ(cache.size(), 3u);
}

// A file may hold what another cuDNN, or nobody, has written.
TEST(Conv2dDnn, AChoiceThatCannotBeIsMadeAnew) {
  AlgorithmCache cache("a GPU");
  const ConvolutionSizes sizes = sizes_of(all_shapes()[1], DType::kF32);
  DnnPlanner plans = planner(h100(), cache, kModes[0]);
  ASSERT_NE(plan_convolution(plans, Convolution::kForward, sizes), nullptr);
  AlgorithmCache seen("a GPU");
  for (const char* broken : {"engine", "100000", "-1", "0 9999=1", "0 2=", "0 2=1 x"}) {
    SCOPED_TRACE(broken);
    AlgorithmCache other("a GPU");
    DnnPlanner again = planner(h100(), other, kModes[0]);
    const DnnPlan first = plan_convolution(again, Convolution::kForward, sizes);
    const std::string problem = text("conv2d ", sizes.to_string(), " workspace=", again.rules.most_workspace);
    ASSERT_NE(other.find(problem), nullptr);
    const std::string choice = *other.find(problem);
    other.keep(problem, broken);
    ASSERT_NE(plan_convolution(again, Convolution::kForward, sizes), nullptr);
    EXPECT_EQ(*other.find(problem), choice);
    other.keep(problem, "");
    EXPECT_EQ(plan_convolution(again, Convolution::kForward, sizes), nullptr);
  }
}

// Odd images are where a batch may be cut at odd addresses.
TEST(Conv2dDnn, AlignmentIsThatOfTheImages) {
  const auto of = [](std::int64_t height, std::int64_t width, std::int64_t channels, DType dtype) {
    ConvolutionSizes sizes;
    sizes.dtype = dtype;
    sizes.input = {height, width};
    sizes.in = channels;
    sizes.output = {1, 1};
    sizes.out = 64;
    return convolution_alignment(sizes).x;
  };
  EXPECT_EQ(of(5, 5, 3, DType::kF32), 4);
  EXPECT_EQ(of(5, 5, 3, DType::kBF16), 2);
  EXPECT_EQ(of(6, 5, 3, DType::kF32), 8);
  EXPECT_EQ(of(28, 28, 1, DType::kBF16), 16);
  EXPECT_EQ(of(224, 224, 3, DType::kF32), 16);
}

}  // namespace
}  // namespace lockstep
