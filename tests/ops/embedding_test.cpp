// Embedding: rows by number, and the sum of their gradients.
#include "ops/embedding/embedding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "ops/register.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"

namespace lockstep::testing {
namespace {

OpCase case_of(std::int64_t vocabulary, std::int64_t dim, const Shape& ids) {
  return {.name = text(vocabulary, " x ", dim, " ids ", ids),
          .op = std::make_shared<EmbeddingOp>(),
          .inputs = {{DType::kF32, {vocabulary, dim}}, {DType::kI32, ids}},
          .reference =
              [=](const Tensors& in) {
                Tensors y(1);
                for (const double id : in[1]) {
                  for (std::int64_t j = 0; j < dim; ++j) {
                    y[0].push_back(in[0][static_cast<std::int64_t>(id) * dim + j]);
                  }
                }
                return y;
              },
          .integer_bound = vocabulary,
          .reduction_length = static_cast<double>(std::max<std::int64_t>(1, ids.elements())),
          .bf16 = false,
          .gradient = ids.elements() > 0};
}

TEST(Embedding, AgreesWithItsDefinition) {
  check_ops({case_of(1, 1, {1}), case_of(5, 3, {}), case_of(5, 3, {7}), case_of(11, 16, {2, 3}),
             case_of(3, 33, {2, 5, 2}), case_of(4, 2, {0, 6})});
}

TEST(Embedding, AnIdOutsideTheTableTouchesNoMemory) {
  Graph graph;
  const ValueId table = graph.state("table", {DType::kF32, {2, 2}});
  const ValueId ids = graph.input("ids", {DType::kI32, {4}});
  const ValueId dy = graph.input("dy", {DType::kF32, {4, 2}});
  graph.output("y", embedding(graph, table, ids));
  graph.output("sums", graph.add(std::make_shared<EmbeddingBackwardOp>(2), {dy, ids}));
  KernelRegistry registry;
  register_embedding_cpu(registry);
  CpuDevice device;
  auto found = run_graph(graph, registry, device,
                         {{"table", {1, 2, 3, 4}},
                          {"ids", {1, -1, 2, 0}},
                          {"dy", {1, 1, 10, 10, 100, 100, 1000, 1000}}});
  const auto& y = found["y"];
  EXPECT_EQ(y[0], 3);
  EXPECT_EQ(y[7], 2);
  for (int i = 2; i < 6; ++i) EXPECT_TRUE(std::isnan(y[i])) << i;
  EXPECT_EQ(found["sums"], (std::vector<double>{1000, 1000, 1, 1}));
}

// 0.1 is not exact, so another order of the additions would show.
TEST(Embedding, GradientHasTheSameBitsWithAnyThreads) {
  KernelRegistry registry;
  register_embedding_cpu(registry);
  const std::vector<TensorType> in = {{DType::kF32, {5000, 64}}, {DType::kI32, {5000}}};
  const std::vector<TensorType> out = {{DType::kF32, {2000, 64}}};
  std::vector<float> dy(5000 * 64), one(2000 * 64), three(2000 * 64);
  std::vector<std::int32_t> ids(5000);
  for (std::size_t i = 0; i < dy.size(); ++i) dy[i] = 0.1f * static_cast<float>(i % 97);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * i % 1999);
  const EmbeddingBackwardOp op(2000);
  void* from[] = {dy.data(), ids.data()};
  for (auto* to : {&one, &three}) {
    CpuDevice device(to == &one ? 1 : 3);
    void* sums = to->data();
    registry.make({op, in, out, device}).run({from, &sums, nullptr, nullptr});
  }
  EXPECT_EQ(one, three);
}

TEST(Embedding, RefusesIdsOfAnotherType) {
  Graph graph;
  const ValueId table = graph.state("table", {DType::kF32, {2, 2}});
  try {
    embedding(graph, table, graph.input("ids", {DType::kF32, {4}}), "words");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "words (embedding): ids are f32(4), expected i32 of at most 7 axes");
  }
}

}  // namespace
}  // namespace lockstep::testing
