// Embedding: rows by number, and the sum of their gradients.
#include "ops/embedding/embedding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"
#include "tests/test_device.h"

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
  auto found = run_graph(graph, test_registry(), test_device(),
                         {{"table", {1, 2, 3, 4}},
                          {"ids", {1, -1, 2, 0}},
                          {"dy", {1, 1, 10, 10, 100, 100, 1000, 1000}}});
  const auto& y = found["y"];
  EXPECT_EQ(y[0], 3);
  EXPECT_EQ(y[7], 2);
  for (int i = 2; i < 6; ++i) EXPECT_TRUE(std::isnan(y[i])) << i;
  EXPECT_EQ(found["sums"], (std::vector<double>{1000, 1000, 1, 1}));
}

// 0.1 is not exact, so another order of the additions would show. No id is named often.
TEST(Embedding, GradientHasTheSameBitsAnywhere) {
  const EmbeddingBackwardOp op(2000);
  for (const std::int64_t dim : {64, 37}) {
    Tensors values(2);
    for (std::int64_t i = 0; i < 5000 * dim; ++i) values[0].push_back(0.1 * static_cast<double>(i % 97));
    for (std::int64_t i = 0; i < 5000; ++i) values[1].push_back(static_cast<double>(i * i % 1999));
    OpRun run{{{DType::kF32, {5000, dim}}, {DType::kI32, {5000}}}, {{DType::kF32, {2000, dim}}}};
    const Tensors found = run_op(op, run, test_registry(), test_device(), values);
    run.offset = 4;
    EXPECT_EQ(found, run_op(op, run, test_registry(), test_device(), values));
    KernelRegistry of_cpu;
    register_embedding_cpu(of_cpu);
    for (const int threads : {1, 3}) {
      CpuDevice device(threads);
      EXPECT_EQ(found, run_op(op, run, of_cpu, device, values)) << threads << " threads";
    }
  }
}

// Texts are filled up with one id, and others come often too. Whole numbers, whose sums are exact.
TEST(Embedding, GradientOfIdsThatComeOften) {
  struct Case {
    std::int64_t vocabulary, dim, count, often;
  };
  for (const auto& [vocabulary, dim, count, often] :
       {Case{1, 8, 3000, 1}, Case{3, 5, 33, 1}, Case{40, 260, 1000, 7}, Case{500, 4, 20011, 3}, Case{70000, 8, 300, 2},
        Case{9, 1, 64, 2}, Case{300, 36, 4096, 1}}) {
    SCOPED_TRACE(text(vocabulary, " ", dim, " ", count, " ", often));
    Tensors values(2), expected = {std::vector<double>(vocabulary * dim, 0.0)};
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t id = i % 3 == 0 ? i * 7919 % (vocabulary + 2) - 1 : i / 50 % often;
      values[1].push_back(static_cast<double>(id));
      for (std::int64_t j = 0; j < dim; ++j) {
        values[0].push_back(static_cast<double>((i + j) % 13 - 6));
        if (id >= 0 && id < vocabulary) expected[0][id * dim + j] += values[0].back();
      }
    }
    const EmbeddingBackwardOp op(vocabulary);
    const OpRun run{{{DType::kF32, {count, dim}}, {DType::kI32, {count}}}, {{DType::kF32, {vocabulary, dim}}}};
    EXPECT_EQ(run_op(op, run, test_registry(), test_device(), values), expected);
  }
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
