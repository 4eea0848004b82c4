// The ONNX export: files are those that ONNX Runtime was given once, and its results are those of Lockstep's own
// prediction.
//
// After a change that is meant to change the files:
//   build/release/tests/onnx_test --gtest_also_run_disabled_tests --gtest_filter='*WriteFixtures*'
//   python3 tests/references/onnx_outputs.py tests/fixtures/onnx
#include <gtest/gtest.h>
#include <onnx/checker.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "core/base/error.h"
#include "core/base/hdf5/hdf5.h"
#include "launcher/evaluation_detail.h"
#include "launcher/weights/onnx_file.h"
#include "launcher/weights/onnx_model.h"
#include "ops/onnx/converter.h"
#include "tests/core/temporary_directory.h"
#include "tests/launcher/message.h"
#include "tests/launcher/weights/onnx_models.h"

namespace lockstep {
namespace {

using testing::OnnxCase;

const std::string kFixtures = std::string(LOCKSTEP_SOURCE_DIR) + "/tests/fixtures/onnx/";

OnnxGraph graph_of(Training& training) {
  return onnx_model(training.config(), training.data(), testing::weights_of(training), "test");
}

std::string bytes_of(const OnnxCase& one) {
  const auto training = one.training();
  return onnx_bytes(graph_of(**training), {.name = one.name});
}

onnx::ModelProto parsed(const std::string& bytes) {
  onnx::ModelProto model;
  EXPECT_TRUE(model.ParseFromString(bytes));
  return model;
}

std::int64_t count_of(const onnx::ModelProto& model, const std::string& type) {
  return std::ranges::count_if(model.graph().node(), [&](const auto& node) { return node.op_type() == type; });
}

std::vector<float> floats(const Hdf5File& file, const std::string& name) {
  const std::vector<std::byte> bytes = file.read(name);
  std::vector<float> out(bytes.size() / sizeof(float));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

template <typename Number>
void append_numbers(std::vector<double>& to, const std::string& bytes) {
  std::vector<Number> numbers(bytes.size() / sizeof(Number));
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  to.insert(to.end(), numbers.begin(), numbers.end());
}

// The numbers of its constants, which are taken out of the model.
std::vector<double> take_numbers(onnx::ModelProto& model) {
  std::vector<double> out;
  for (onnx::TensorProto& tensor : *model.mutable_graph()->mutable_initializer()) {
    const bool is_float = tensor.data_type() == onnx::TensorProto::FLOAT;
    if (!is_float && tensor.data_type() != onnx::TensorProto::DOUBLE) continue;
    is_float ? append_numbers<float>(out, tensor.raw_data()) : append_numbers<double>(out, tensor.raw_data());
    tensor.clear_raw_data();
  }
  return out;
}

class Onnx : public ::testing::TestWithParam<OnnxCase> {};

// But for the last digits of numbers that are computed from data: another build may add in another order.
TEST_P(Onnx, FileIsTheOneThatWasTried) {
  onnx::ModelProto made = parsed(bytes_of(GetParam()));
  onnx::ModelProto kept = parsed(local_files().read(kFixtures + GetParam().name + ".onnx"));
  const std::vector<double> numbers = take_numbers(made), expected = take_numbers(kept);
  ASSERT_EQ(numbers.size(), expected.size()) << "see the head of this file";
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    EXPECT_NEAR(numbers[i], expected[i], 1e-6 * std::abs(expected[i])) << "constant " << i;
  }
  EXPECT_TRUE(made.SerializeAsString() == kept.SerializeAsString()) << "see the head of this file";
}

TEST_P(Onnx, CheckerAndShapeInferenceAcceptIt) {
  onnx::ModelProto model = parsed(bytes_of(GetParam()));
  EXPECT_NO_THROW(onnx::checker::check_model(model));
  const onnx::ShapeInferenceOptions strict{true, 1, false};
  EXPECT_NO_THROW(onnx::shape_inference::InferShapes(model, onnx::OpSchemaRegistry::Instance(), strict));
  for (const auto* values : {&model.graph().input(), &model.graph().output()}) {
    for (const auto& value : *values) EXPECT_EQ(value.type().tensor_type().shape().dim(0).dim_param(), "batch") << value.name();
  }
}

TEST_P(Onnx, OnnxRuntimeComputesWhatPredictDoes) {
  const Hdf5File kept(kFixtures + GetParam().name + ".h5");
  const std::vector<float> expected = floats(kept, "onnxruntime/output");
  const auto training = GetParam().training();
  Training& run = **training;
  const auto loader = make_loader(run.config(), run.data(), run.data().train, LoaderUse::kPrediction);
  const std::vector<float> outputs = run.predict(*loader);
  ASSERT_EQ(outputs.size(), expected.size());
  float largest = 0;
  for (const float value : expected) largest = std::max(largest, std::abs(value));
  EXPECT_GT(largest, 0.1f);  // zeros would agree with anything
  for (std::size_t i = 0; i < outputs.size(); ++i) EXPECT_NEAR(outputs[i], expected[i], 2e-6f * std::max(1.0f, largest)) << i;

  if (kept.find("onnxruntime/label") == nullptr) return;
  const std::vector<float> probabilities = floats(kept, "onnxruntime/probability");
  const auto classes = static_cast<std::size_t>(run.classes());
  for (std::size_t at = 0; at < outputs.size(); at += classes) {
    const std::vector<double> row = softmax_of({outputs.data() + at, classes});
    for (std::size_t k = 0; k < classes; ++k) EXPECT_NEAR(probabilities[at + k], row[k], 1e-5);
    std::int32_t label = -1;
    kept.read(kept.array("onnxruntime/label"), static_cast<std::int64_t>(at / classes), static_cast<std::int64_t>(at / classes) + 1, &label);
    EXPECT_EQ(label, std::ranges::max_element(row) - row.begin());
  }
}

TEST_P(Onnx, DISABLED_WriteFixtures) {
  local_files().write_atomic(kFixtures + GetParam().name + ".onnx", bytes_of(GetParam()));
  Hdf5Writer file(kFixtures + GetParam().name + ".h5");
  for (const MemoryArray& array : GetParam().arrays) {
    if (array.name != "y") file.write("inputs/" + array.name, array.dtype, array.shape, array.bytes.data());
  }
  file.commit();
}

INSTANTIATE_TEST_SUITE_P(Cases, Onnx, ::testing::ValuesIn(testing::onnx_cases()),
                         [](const auto& about) { return about.param.name; });

TEST(OnnxExport, AChainOfConvolutionsIsTransposedTwice) {
  const OnnxCase cnn = testing::onnx_cases()[1];
  EXPECT_EQ(count_of(parsed(bytes_of(cnn)), "Transpose"), 2);
  EXPECT_EQ(count_of(parsed(bytes_of(testing::onnx_cases()[0])), "Transpose"), 0);
}

TEST(OnnxExport, NamesWhatAnotherProgramMayWant) {
  const onnx::ModelProto model = parsed(onnx_bytes({{{"x", DType::kF32, {1, 2}}},
                                                    {{"y", DType::kF32, {1, 2}}},
                                                    {},
                                                    {{"Relu", "a", {"x"}, {"y"}, {}}}},
                                                   {"digits", "1.2.3", {{"step", "12"}}}));
  EXPECT_EQ(model.producer_name(), "lockstep");
  EXPECT_EQ(model.producer_version(), "1.2.3");
  EXPECT_EQ(model.graph().name(), "digits");
  ASSERT_EQ(model.metadata_props_size(), 1);
  EXPECT_EQ(model.metadata_props(0).key(), "step");
  EXPECT_EQ(model.metadata_props(0).value(), "12");
}

TEST(OnnxExport, NoGraphThatTheCheckerRefusesIsWritten) {
  const OnnxGraph graph{{{"x", DType::kF32, {1, 2}}}, {{"y", DType::kF32, {1, 2}}}, {}, {{"NoSuchOp", "a", {"x"}, {"y"}, {}}}};
  const TemporaryDirectory folder;
  EXPECT_THROW(write_onnx(folder.path("a.onnx"), graph, {}), Error);
  EXPECT_TRUE(list_files(folder.path("")).empty());
}

TEST(OnnxExport, WeightsOfAnotherModelAreListed) {
  const auto training = testing::onnx_cases()[0].training();
  Weights weights = testing::weights_of(**training);
  weights.erase("a/bias");
  weights["b/weight"].shape = {1};
  weights["c/weight"] = {{2}, {1, 2}};
  EXPECT_EQ(refused([&] { onnx_model((*training)->config(), (*training)->data(), weights, "run"); }),
            "run: are not the weights of this model: missing: a/bias (6); of another shape: b/weight (1) (the "
            "model's is (4, 6)); not in the model: c/weight (2)");
}

// An op that nobody has written a converter for.
class StrangeOp final : public Op {
 public:
  std::string_view name() const override { return "strange"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override { return {inputs[0]}; }
};

TEST(OnnxExport, AnOpWithoutConverterIsNamed) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {1, 2}, nullptr});
  graph.output("y", graph.add(std::make_shared<StrangeOp>(), {x}, "odd_layer"));
  OnnxBuilder builder;
  builder.input("x", DType::kF32, {1, 2});
  OnnxRegistry registry;
  OnnxConversion conversion(graph, registry, {}, builder);
  conversion.set_input(x, "x");
  EXPECT_EQ(refused([&] { conversion.convert(); }),
            "odd_layer (strange): cannot be written as ONNX: there is no converter for strange");
}

TEST(OnnxExport, TransformsThatComputeAreRefused) {
  OnnxCase words = testing::onnx_cases()[2];
  const std::string crop = "type = \"random_crop\"\nheight = 8\nwidth = 10\npadding = 2";
  words.toml.replace(words.toml.find(crop), crop.size(), "type = \"one_hot\"\nclasses = 2\n[[data.transform]]\ntype = \"random_crop\"");
  words.toml.replace(words.toml.find("[[layer]]"), std::string::npos, "[[layer]]\ntype = \"flatten\"\n[[layer]]\ntype = \"dense\"\nunits = 2\n");
  std::vector<float> zeros(words.arrays[0].bytes.size() / sizeof(float));
  std::memcpy(words.arrays[0].bytes.data(), zeros.data(), words.arrays[0].bytes.size());
  const auto training = words.training();
  EXPECT_EQ(refused([&] { graph_of(**training); }), "data.transform: one_hot cannot be written as ONNX");
}

TEST(OnnxExport, ArrayNamesStayApartFromThoseOfTheModel) {
  OnnxBuilder builder;
  builder.input("output", DType::kF32, {1, 2});
  builder.output("output", DType::kF32, {1, 2}, "output");
  const OnnxGraph graph = builder.finish();
  EXPECT_EQ(graph.outputs[0].name, "output_1");
  EXPECT_NO_THROW(onnx_bytes(graph, {}));
}

}  // namespace
}  // namespace lockstep
