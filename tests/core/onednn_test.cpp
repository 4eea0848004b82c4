#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/builtin/reorder.h"
#include "core/kernel/onednn_kernel.h"
#include "tests/core/run_graph.h"

namespace lockstep::testing {
namespace {

KernelRegistry registry() {
  KernelRegistry made;
  register_reorder_cpu(made);
  return made;
}

std::vector<double> numbers(std::int64_t count) {
  std::vector<double> out(count);
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<double>(i + 1);
  return out;
}

TEST(OnednnLayout, KnowsItsNameItsSizeAndItsPadding) {
  const Shape whole{2, 3, 5, 32}, part{2, 3, 5, 20};
  const auto full = onednn::channel_blocked_layout(DType::kF32, whole, 16);
  EXPECT_EQ(full->name(), "aBcd16b");
  EXPECT_FALSE(full->padded());
  EXPECT_EQ(full->bytes(), 2u * 3 * 5 * 32 * 4);
  const auto padded = onednn::channel_blocked_layout(DType::kF32, part, 16);
  EXPECT_TRUE(padded->padded());
  EXPECT_EQ(padded->bytes(), full->bytes());
  EXPECT_FALSE(full->equals(*padded));
  EXPECT_FALSE(full->equals(*onednn::channel_blocked_layout(DType::kF32, whole, 8)));
  EXPECT_FALSE(full->equals(*onednn::channel_blocked_layout(DType::kBF16, whole, 16)));
  EXPECT_TRUE(full->equals(*onednn::channel_blocked_layout(DType::kF32, whole, 16)));
  EXPECT_EQ(onednn::channel_blocked_layout(DType::kF32, whole, 5), nullptr);
}

TEST(OnednnLayout, ChannelBlocksAreRecognised) {
  const Shape shape{2, 3, 5, 20};
  auto blocks_of = [&](std::shared_ptr<const Layout> layout) {
    return onednn::channel_blocks({DType::kF32, shape, std::move(layout)});
  };
  EXPECT_EQ(blocks_of(nullptr)->blocks, 1);
  EXPECT_EQ(blocks_of(nullptr)->block, 20);
  EXPECT_EQ(blocks_of(onednn::channel_blocked_layout(DType::kF32, shape, 16))->blocks, 2);
  EXPECT_EQ(blocks_of(onednn::channel_blocked_layout(DType::kF32, shape, 8))->blocks, 3);
  const auto plain = onednn::plain_images({DType::kF32, shape});
  const dnnl::memory::desc planes({2, 20, 3, 5}, dnnl::memory::data_type::f32,
                                  dnnl::memory::format_tag::nchw);
  const auto nchw = onednn::layout_of(plain, planes);
  EXPECT_EQ(nchw->name(), "abcd");
  EXPECT_FALSE(blocks_of(nchw).has_value());
  EXPECT_EQ(onednn::layout_of(plain, plain), nullptr);
}

TEST(Reorder, ThereAndBackAgain) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kU8}) {
    for (const std::int64_t channels : {1, 3, 16, 20}) {
      const TensorType type{dtype, {2, 2, 3, channels}};
      Graph graph;
      const ValueId x = graph.input("x", type);
      const auto wide = onednn::channel_blocked_layout(dtype, type.shape, 16);
      const auto narrow = onednn::channel_blocked_layout(dtype, type.shape, 8);
      const ValueId blocked = reorder(graph, x, wide);
      graph.output("y", reorder(graph, reorder(graph, blocked, narrow), nullptr));
      graph.verify();
      CpuDevice device;
      const auto in = numbers(type.elements());
      EXPECT_EQ(run_graph(graph, registry(), device, {{"x", in}}).at("y"), in) << type.to_string();
    }
  }
}

TEST(Reorder, BlocksHoldNeighbouringChannels) {
  const TensorType type{DType::kF32, {1, 2, 1, 20}};
  const auto layout = onednn::channel_blocked_layout(DType::kF32, type.shape, 16);
  const ReorderOp op(layout);
  CpuDevice device;
  const std::vector<TensorType> inputs{type}, outputs{{type.dtype, type.shape, layout}};
  const Kernel kernel = registry().make({op, inputs, outputs, device});
  std::vector<float> x(40), y(64, -1.0f);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
  void* in[] = {x.data()};
  void* out[] = {y.data()};
  std::vector<std::byte> workspace(kernel.workspace_bytes);
  kernel.run({in, out, workspace.data(), nullptr});
  for (int block = 0; block < 2; ++block) {
    for (int h = 0; h < 2; ++h) {
      for (int lane = 0; lane < 16; ++lane) {
        const int channel = block * 16 + lane;
        const float expected = channel < 20 ? x[h * 20 + channel] : 0.0f;
        EXPECT_EQ(y[(block * 2 + h) * 16 + lane], expected);
      }
    }
  }
}

TEST(Reorder, EqualOrdersAreCopied) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {3, 4}});
  graph.output("y", reorder(graph, x, nullptr));
  CpuDevice device;
  EXPECT_EQ(run_graph(graph, registry(), device, {{"x", numbers(12)}}).at("y"), numbers(12));
  EXPECT_EQ(graph.node(0).op->to_string(), "reorder[to=row-major]");
}

TEST(Onednn, RefusalIsBadInputWithItsWords) {
  try {
    onednn::checked("dense_cpu", []() -> int { throw dnnl::error(dnnl_unimplemented, "no such"); });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    const std::string message = error.what();
    EXPECT_TRUE(message.starts_with("dense_cpu: oneDNN ")) << message;
    EXPECT_NE(message.find("no such"), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace lockstep::testing
