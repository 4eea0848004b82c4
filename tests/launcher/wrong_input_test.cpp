// What the program says to inputs that are wrong. Every case runs the program as a user would, in a
// folder of its own, and must end with exit code 2 and one line on stderr that names the place,
// what was found and what was expected, and leave the folder as it was.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "core/base/hdf5/hdf5.h"
#include "tests/launcher/program_test.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSamples = 40;
constexpr std::int64_t kClasses = 3;

// The configuration that the cases change. Lines are counted by the cases.
constexpr const char* kConfig = R"([data]
train = "good.h5"

[train]
epochs = 1
global_batch = 8
optimizer = "adam"
loss = "softmax_cross_entropy"

[evaluate]
metrics = ["accuracy"]

[[layer]]
type = "dense"
units = 3
)";

// What stands in a data file; the defaults are a file that nothing is wrong with.
struct DataFile {
  Shape sample = {4};
  std::int64_t labels = kSamples;
  float first_value = 0.5f;  // of x
  std::int64_t first_label = 0;
  float first_weight = 1.0f;
};

void write_data(const std::string& path, const DataFile& data) {
  std::vector<std::int64_t> dims = {kSamples};
  dims.insert(dims.end(), data.sample.dims().begin(), data.sample.dims().end());
  const Shape shape{std::span<const std::int64_t>(dims)};
  std::vector<float> x(static_cast<std::size_t>(shape.elements()));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.01f * static_cast<float>(i % 17);
  x[0] = data.first_value;
  std::vector<std::int64_t> y(static_cast<std::size_t>(data.labels));
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<std::int64_t>(i) % kClasses;
  y[0] = data.first_label;
  std::vector<float> half(y.begin(), y.end());
  half[0] = 0.5f;
  std::vector<float> weights(static_cast<std::size_t>(kSamples), 1.0f);
  weights[0] = data.first_weight;
  Hdf5Writer file(path);
  file.write("x", DType::kF32, shape, x.data());
  file.write("y", DType::kI64, {data.labels}, y.data());
  file.write("half", DType::kF32, {data.labels}, half.data());
  file.write("w", DType::kF32, {kSamples}, weights.data());
  file.commit();
}

void write_text(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

struct WrongInput {
  std::string name;
  // Pieces of kConfig and what they become.
  std::vector<std::pair<std::string, std::string>> edits;
  // What the line on stderr must contain.
  std::vector<std::string> fragments;
  std::vector<std::string> arguments = {"train", "config.toml", "--run", "run"};
  // Puts more files into the case's folder.
  std::function<void()> prepare = {};
};

// gtest prints the name of a case.
void PrintTo(const WrongInput& wrong, std::ostream* out) {
  *out << wrong.name;
}

std::vector<std::string> train(std::vector<std::string> more) {
  std::vector<std::string> arguments = {"train", "config.toml", "--run", "run"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// The data and the layers become those of 8 x 8 images and `layers`.
std::vector<std::pair<std::string, std::string>> images(const std::string& layers) {
  return {{"good.h5", "images.h5"}, {"[[layer]]\ntype = \"dense\"\nunits = 3\n", layers}};
}

std::vector<std::pair<std::string, std::string>> layers(const std::string& layers) {
  return {{"[[layer]]\ntype = \"dense\"\nunits = 3\n", layers}};
}

constexpr const char* kDense3 = "[[layer]]\ntype = \"dense\"\nunits = 3\n";

std::vector<WrongInput> configuration_cases() {
  return {
      {"unknown key",
       {{"epochs = 1", "epoch = 1"}},
       {"config.toml:5: ", "train.epoch: ", "did you mean \"epochs\""}},
      {"unknown section",
       {{"[evaluate]", "[evalaute]"}},
       {"config.toml:10: ", "did you mean \"evaluate\""}},
      {"unknown layer",
       {{"\"dense\"", "\"desne\""}},
       {"config.toml:14: ", "layer[0].type: ", "\"desne\"", "did you mean \"dense\""}},
      {"unknown key of a layer",
       {{"units = 3", "units = 3\nactivaton = \"relu\""}},
       {"config.toml:16: ", "layer[0].activaton", "did you mean \"activation\""}},
      {"misspelt key that must be there",
       {{"units = 3", "unit = 3"}},
       {"config.toml:13: ", "layer[0].units: missing", "\"unit\""}},
      {"unknown activation",
       {{"units = 3", "units = 3\nactivation = \"rellu\""}},
       {"config.toml:16: ", "layer[0].activation: ", "\"rellu\"", "\"relu\""}},
      {"unknown optimizer",
       {{"\"adam\"", "\"adma\""}},
       {"config.toml:7: ", "train.optimizer: ", "\"adma\"", "\"adam\""}},
      {"unknown loss",
       {{"softmax_cross_entropy", "softmax_crossentropy"}},
       {"config.toml:8: ", "train.loss: ", "\"softmax_cross_entropy\""}},
      {"missing loss",
       {{"loss = \"softmax_cross_entropy\"\n", ""}},
       {"config.toml:4: ", "train.loss: missing"}},
      {"unknown metric",
       {{"\"accuracy\"", "\"acuracy\""}},
       {"config.toml:11: ", "evaluate.metrics: ", "did you mean \"accuracy\""}},
      {"metric that does not suit the loss",
       {{"\"accuracy\"", "\"rmse\""}},
       {"config.toml:11: ", "\"rmse\" does not suit", "accuracy"}},
      {"metric of more classes than there are",
       {{"\"accuracy\"", "\"top_9\""}},
       {"\"top_9\"", "9 classes", "computes 3"}},
      {"text where a number belongs",
       {{"units = 3", "units = \"many\""}},
       {"config.toml:15: ", "layer[0].units: expected an integer, found \"many\""}},
      {"real number where an integer belongs",
       {{"epochs = 1", "epochs = 1.5"}},
       {"config.toml:5: ", "train.epochs: expected an integer, found 1.5"}},
      {"zero units", {{"units = 3", "units = 0"}}, {"config.toml:1", "units", "0", "at least 1"}},
      {"zero batch",
       {{"global_batch = 8", "global_batch = 0"}},
       {"config.toml:6: ", "train.global_batch: found 0", "at least 1"}},
      {"negative epochs",
       {{"epochs = 1", "epochs = -1"}},
       {"config.toml:5: ", "train.epochs: found -1", "at least 1"}},
      {"more microbatches than samples",
       {{"epochs = 1", "epochs = 1\nmicrobatches = 9"}},
       {"config.toml:6: ", "train.microbatches: found 9", "at most", "8"}},
      {"unknown word for microbatches",
       {{"epochs = 1", "epochs = 1\nmicrobatches = \"wrld\""}},
       {"config.toml:6: ", "train.microbatches: ", "did you mean \"world\""}},
      {"unknown precision",
       {{"epochs = 1", "epochs = 1\nprecision = \"bf61\""}},
       {"config.toml:6: ", "train.precision: ", "did you mean \"bf16\""}},
      {"negative learning rate",
       {{"epochs = 1", "epochs = 1\nlearning_rate = -0.1"}},
       {"config.toml:6: ", "train.learning_rate", "-0.1"}},
      {"split of more than everything",
       {{"good.h5\"", "good.h5\"\nsplit = 1.5"}},
       {"config.toml:3: ", "data.split: found 1.5", "below 1"}},
      {"unknown normalisation",
       {{"good.h5\"", "good.h5\"\nnormalize = \"standart\""}},
       {"config.toml:3: ", "data.normalize: ", "did you mean \"standard\""}},
      {"data that are kept nowhere",
       {{"good.h5\"", "good.h5\"\ncache = \"nowhere\""}},
       {"config.toml:3: ", "data.cache: ", "\"nowhere\" is not known", "\"memory\""}},
      {"memory without a unit",
       {{"good.h5\"", "good.h5\"\nmemory = \"4 gigs\""}},
       {"config.toml:3: ", "data.memory: ", "found \"4 gigs\"", "\"512 MiB\""}},
      {"no loader threads",
       {{"good.h5\"", "good.h5\"\nthreads = 0"}},
       {"config.toml:3: ", "data.threads: ", "at least 1"}},
      {"mean without deviation",
       {{"good.h5\"", "good.h5\"\nnormalize = { mean = 1.0 }"}},
       {"config.toml:3: ", "data.normalize.std: missing"}},
      {"threads without end",
       {{"[train]", "[run]\nthreads = 1000000\n[train]"}},
       {"config.toml:5: ", "run.threads: found 1000000, expected at most 1024"}},
      {"batch without end",
       {{"global_batch = 8", "global_batch = 9223372036854775807"}},
       {"config.toml:6: ", "train.global_batch: found 9223372036854775807, expected at most"}},
      {"unknown transform",
       {{"[train]", "[[data.transform]]\ntype = \"random_corp\"\n[train]"}},
       {"data.transform[0].type: ", "did you mean \"random_crop\""}},
      {"transform of nothing",
       {{"[train]", "[[data.transform]]\ntype = \"noise\"\ndeviation = 0.1\ninput = \"z\"\n[train]"}},
       {"data.transform[0].input: ", "neither in data.inputs nor data.target"}},
      {"window that is longer than the data",
       {{"[train]", "[data.window]\nlength = 100000\n[train]"}},
       {"good.h5: ", "windows of 100001 rows"}},
      {"no layer", layers(""), {"config.toml", "layer: missing", "[[layer]]"}},
      {"no data", {{"train = \"good.h5\"\n", ""}}, {"config.toml:1: ", "data.train: missing"}},
      {"line of TOML that ends too early", {{"epochs = 1", "epochs = "}}, {"config.toml:5:"}},
      {"key twice", {{"epochs = 1", "epochs = 1\nepochs = 2"}}, {"config.toml:6:", "epochs"}},
      {"override without a value",
       {},
       {"--set train.epochs", "key=value"},
       train({"--set", "train.epochs"})},
      {"override of an unknown key",
       {},
       {"--set: train.epoch: ", "did you mean \"epochs\""},
       train({"--set", "train.epoch=2"})},
      {"override of a wrong type",
       {},
       {"--set: train.epochs: expected an integer, found \"many\""},
       train({"--set", "train.epochs=many"})},
  };
}

std::vector<WrongInput> command_line_cases() {
  return {
      {"no configuration", {}, {"CONFIG"}, {"train"}},
      {"configuration that does not exist", {}, {"nothing.toml"}, {"train", "nothing.toml"}},
      {"configuration that is a folder",
       {},
       {"folder"},
       {"train", "folder"},
       [] { fs::create_directory("folder"); }},
      {"configuration that is empty",
       {},
       {"empty.toml", "empty"},
       {"train", "empty.toml"},
       [] { write_text("empty.toml", ""); }},
      {"fault of a worker that is not there", {}, {"--inject", "rank 9 of 1"}, train({"--inject", "kill@9:1"})},
      {"more workers than anybody has", {}, {"--workers", "65536"}, {"plan", "config.toml", "--workers", "99999999999"}},
      {"unknown command", {}, {"trian", "train"}, {"trian", "config.toml"}},
      {"unknown option", {}, {"--devise", "--device"}, train({"--devise", "cpu"})},
      {"unknown device", {}, {"tpu", "cpu", "cuda"}, train({"--device", "tpu"})},
      {"resume and overwrite", {}, {"--resume", "--overwrite"}, train({"--resume", "--overwrite"})},
      {"run directory that holds a run",
       {},
       {"run", "--resume", "--overwrite"},
       train({}),
       [] {
         fs::create_directory("run");
         write_text("run/config.toml", "");
       }},
      {"run directory below a file",
       {},
       {"good.h5/run"},
       {"train", "config.toml", "--run", "good.h5/run"}},
      {"evaluation of no run", {}, {"nothing"}, {"evaluate", "nothing"}},
      {"plan of a wrong configuration",
       {{"epochs = 1", "epoch = 1"}},
       {"config.toml:5: ", "did you mean \"epochs\""},
       {"plan", "config.toml"}},
      {"data set that does not exist", {}, {"digist", "digits"}, {"data", "info", "digist"}},
  };
}

std::vector<WrongInput> data_cases() {
  return {
      {"missing file", {{"good.h5", "goood.h5"}}, {"goood.h5"}},
      {"file that is no HDF5",
       {{"good.h5", "notes.h5"}},
       {"notes.h5", "HDF5"},
       train({}),
       [] { write_text("notes.h5", "These are my notes about the data.\n"); }},
      {"file of no bytes",
       {{"good.h5", "empty.h5"}},
       {"empty.h5"},
       train({}),
       [] { write_text("empty.h5", ""); }},
      {"truncated file",
       {{"good.h5", "half.h5"}},
       {"half.h5", "truncated"},
       train({}),
       [] {
         fs::copy_file("good.h5", "half.h5");
         fs::resize_file("half.h5", fs::file_size("half.h5") / 2);
       }},
      {"missing target",
       {{"good.h5\"", "good.h5\"\ntarget = \"label\""}},
       {"good.h5", "\"label\"", "\"y\""}},
      {"missing input",
       {{"good.h5\"", "good.h5\"\ninputs = \"pixels\""}},
       {"good.h5", "\"pixels\"", "\"x\""}},
      {"arrays of unequal lengths",
       {{"good.h5", "short.h5"}},
       {"short.h5", "40", "39"},
       train({}),
       [] { write_data("short.h5", {.labels = kSamples - 1}); }},
      {"NaN in the data",
       {{"good.h5", "nan.h5"}},
       {"nan.h5", "\"x\"", "row 0", "nan"},
       train({}),
       [] { write_data("nan.h5", {.first_value = std::numeric_limits<float>::quiet_NaN()}); }},
      {"number that f32 does not hold",
       {{"good.h5", "large.h5"}},
       {"large.h5", "\"x\"", "row 0", "1e+300", "fits into f32"},
       train({}),
       [] {
         std::vector<double> x(kSamples, 0.5);
         std::vector<std::int32_t> y(kSamples, 1);
         x[0] = 1e300;
         Hdf5Writer file("large.h5");
         file.write("x", DType::kF64, {kSamples, 1}, x.data());
         file.write("y", DType::kI32, {kSamples}, y.data());
         file.commit();
       }},
      {"target of a binary loss that is no probability",
       {{"softmax_cross_entropy", "binary_cross_entropy"}, {"\"accuracy\"", "\"loss\""}, {"units = 3", "units = 1"}},
       {"good.h5", "\"y\"", "row 2", "target 2, expected a number in [0, 1]"}},
      {"infinity in the data",
       {{"good.h5", "inf.h5"}},
       {"inf.h5", "\"x\"", "row 0", "inf"},
       train({}),
       [] { write_data("inf.h5", {.first_value = std::numeric_limits<float>::infinity()}); }},
      {"label out of range",
       {{"good.h5", "labels.h5"}},
       {"labels.h5", "\"y\"", "row 0", "7", "[0, 3)"},
       train({}),
       [] { write_data("labels.h5", {.first_label = 7}); }},
      {"negative label",
       {{"good.h5", "labels.h5"}},
       {"labels.h5", "\"y\"", "row 0", "-1"},
       train({}),
       [] { write_data("labels.h5", {.first_label = -1}); }},
      {"label that is no whole number",
       {{"good.h5\"", "good.h5\"\ntarget = \"half\""}},
       {"good.h5", "\"half\"", "row 0", "0.5"}},
      {"negative weight",
       {{"good.h5\"", "weights.h5\"\nweights = \"w\""}},
       {"weights.h5", "\"w\"", "row 0", "-1"},
       train({}),
       [] { write_data("weights.h5", {.first_weight = -1.0f}); }},
      {"test data of another shape",
       {{"good.h5\"", "good.h5\"\ntest = \"images.h5\""}},
       {"images.h5", "\"x\"", "(8, 8, 1)", "(4)"}},
      {"shape of a sample that does not fit",
       {{"good.h5\"", "good.h5\"\nsample_shape = [3, 3]"}},
       {"data.sample_shape", "(3, 3)", "(4)"}},
      {"more classes than the model computes",
       {{"good.h5\"", "good.h5\"\nclasses = 5"}},
       {"data.classes", "5", "3"}},
      {"targets that do not fit the output",
       {{"softmax_cross_entropy", "mean_squared_error"}, {"[\"accuracy\"]", "[\"mae\"]"}},
       {"mean_squared_error", "3"}},
  };
}

std::vector<WrongInput> model_cases() {
  const std::string dense3 = kDense3;
  const std::string flatten = "[[layer]]\ntype = \"flatten\"\n";
  const auto conv = [](const std::string& keys) {
    return "[[layer]]\ntype = \"conv2d\"\nname = \"conv1\"\n" + keys;
  };
  return {
      {"convolution of flat samples",
       layers(conv("filters = 4\nkernel_size = 3\n") + dense3),
       {"config.toml:13: ", "conv1", "(1, 4)"}},
      {"shape of more elements than any memory",
       layers("[[layer]]\ntype = \"reshape\"\ntarget_shape = [4611686018427387904, 4, -1]\n" + flatten + dense3),
       {"config.toml:13: ", "reshape", "more elements than any memory"}},
      {"more parameters than memory",
       layers("[[layer]]\ntype = \"dense\"\nname = \"wide\"\nunits = 2147483647\n"
              "[[layer]]\ntype = \"dense\"\nunits = 30000\n" + dense3),
       {"the parameters alone need", "the largest is ", "make the model smaller"}},
      {"more elements than there can be",
       layers("[[layer]]\ntype = \"dense\"\nunits = 2147483647\n[[layer]]\ntype = \"dense\"\nname = \"wide\"\n"
              "units = 2147483647\n" + dense3),
       {"config.toml:16: ", "wide", "more elements than any memory"}},
      {"units that are too many to count",
       layers("[[layer]]\ntype = \"dense\"\nunits = 9223372036854775807\n" + dense3),
       {"config.toml:15: ", "layer[0].units: found 9223372036854775807, expected at most"}},
      {"orthogonal bias",
       layers("[[layer]]\ntype = \"dense\"\nunits = 3\nbias_initializer = \"orthogonal\"\n"),
       {"config.toml:13: ", "orthogonal needs a matrix"}},
      {"initializer of no width",
       layers("[[layer]]\ntype = \"dense\"\nunits = 3\nkernel_initializer = { kind = \"normal\", value = -1.0 }\n"),
       {"config.toml:16: ", "value: found -1, expected a number above 0"}},
      {"initializer that takes no value",
       layers("[[layer]]\ntype = \"dense\"\nunits = 3\nkernel_initializer = { value = 1.0 }\n"),
       {"config.toml:16: ", "value: found 1, expected none"}},
      {"constant beyond f32",
       layers("[[layer]]\ntype = \"dense\"\nunits = 3\nbias_initializer = { kind = \"constant\", value = 1e39 }\n"),
       {"config.toml:16: ", "fits into f32"}},
      {"softmax over the batch",
       layers(dense3 + "[[layer]]\ntype = \"softmax\"\naxis = 0\n" + dense3),
       {"config.toml:16: ", "axis 0 is the batch"}},
      {"mean of nothing",
       layers("[[layer]]\ntype = \"reduce_mean\"\naxis = 2\n" + dense3),
       {"config.toml:13: ", "axis 2 of input (1, 4) is not there"}},
      {"padding that no kernel reaches",
       images(conv("filters = 4\nkernel_size = 3\npadding = 5\n") + flatten + dense3),
       {"config.toml:13: ", "layer[0]", "padding (5, 5)"}},
      {"no filters",
       images(conv("filters = 0\nkernel_size = 3\n") + flatten + dense3),
       {"config.toml:1", "filters", "0", "at least 1"}},
      {"kernel larger than the image",
       images(conv("filters = 4\nkernel_size = 9\n") + flatten + dense3),
       {"config.toml:13: ", "conv1", "9", "8"}},
      {"groups that do not divide the channels",
       images(conv("filters = 4\nkernel_size = 3\ngroups = 3\n") + flatten + dense3),
       {"config.toml:1", "groups", "3"}},
      {"unknown padding",
       images(conv("filters = 4\nkernel_size = 3\npadding = \"smae\"\n") + flatten + dense3),
       {"config.toml:18: ", "layer[0].padding: ", "did you mean \"same\""}},
      {"dropout of everything",
       layers("[[layer]]\ntype = \"dropout\"\nrate = 1.0\n" + dense3),
       {"config.toml:1", "rate", "1"}},
      {"softmax before a loss of logits",
       layers(dense3 + "[[layer]]\ntype = \"softmax\"\n"),
       {"config.toml:17: ", "\"softmax\"", "logits"}},
      {"softmax as activation before a loss of logits",
       {{"units = 3", "units = 3\nactivation = \"softmax\""}},
       {"config.toml:16: ", "layer[0].activation: ", "logits"}},
      {"embedding of numbers that are not whole",
       layers("[[layer]]\ntype = \"embedding\"\ninput_dim = 10\noutput_dim = 2\n" + flatten +
              dense3),
       {"\"x\"", "0.5"}},
      {"two layers of one name",
       layers("[[layer]]\ntype = \"dense\"\nname = \"a\"\nunits = 3\n"
              "[[layer]]\ntype = \"dense\"\nname = \"a\"\nunits = 3\n"),
       {"config.toml:17: ", "\"a\"", "names must differ"}},
      {"layer that reads what is not there",
       layers("[[layer]]\ntype = \"dense\"\nname = \"hidden\"\nunits = 3\n"
              "[[layer]]\ntype = \"dense\"\ninputs = \"hiden\"\nunits = 3\n"),
       {"config.toml:17: ", "\"hiden\"", "did you mean \"hidden\""}},
      {"layer that reads a later one",
       layers("[[layer]]\ntype = \"dense\"\ninputs = \"last\"\nunits = 3\n"
              "[[layer]]\ntype = \"dense\"\nname = \"last\"\nunits = 3\n"),
       {"config.toml:13: ", "\"last\"", "earlier layers only"}},
      {"layer that nobody reads",
       layers(dense3 + "[[layer]]\ntype = \"dense\"\ninputs = \"input\"\nunits = 3\n"),
       {"config.toml:13: ", "\"dense\"", "no layer reads it"}},
      {"sum of unequal shapes",
       layers("[[layer]]\ntype = \"dense\"\nname = \"a\"\nunits = 5\n"
              "[[layer]]\ntype = \"add\"\ninputs = [\"a\", \"input\"]\n" +
              dense3),
       {"config.toml:17: ", "add", "5", "4"}},
      {"shape that does not hold the elements",
       layers("[[layer]]\ntype = \"reshape\"\ntarget_shape = [3, 3]\n" + flatten + dense3),
       {"config.toml:13: ", "reshape", "(3, 3)"}},
      {"classes of an image without a flattening",
       images(conv("filters = 3\nkernel_size = 3\n")),
       {"softmax_cross_entropy"}},
  };
}

// Every file and folder below the current one, with its size.
std::map<std::string, std::uintmax_t> listing() {
  std::map<std::string, std::uintmax_t> out;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(".")) {
    out[entry.path().string()] = entry.is_regular_file() ? entry.file_size() : 0;
  }
  return out;
}

class WrongInputTest : public ProgramTest, public ::testing::WithParamInterface<WrongInput> {};

TEST_P(WrongInputTest, IsRefusedInOneLine) {
  const WrongInput& wrong = GetParam();
  std::string config = kConfig;
  for (const auto& [from, to] : wrong.edits) {
    const std::size_t at = config.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    config.replace(at, from.size(), to);
  }
  write_text("config.toml", config);
  write_data("good.h5", {});
  write_data("images.h5", {.sample = {8, 8, 1}});
  if (wrong.prepare) wrong.prepare();

  const std::map<std::string, std::uintmax_t> files = listing();
  const int code = run(wrong.arguments);
  const std::string message = content_of("../err");
  EXPECT_EQ(code, 2) << message;
  EXPECT_TRUE(message.starts_with("lockstep: ")) << message;
  EXPECT_EQ(message.find('\n'), message.size() - 1) << message;
  for (const std::string& fragment : wrong.fragments) {
    EXPECT_NE(message.find(fragment), std::string::npos)
        << "expected: " << fragment << "\nfound: " << message;
  }
  EXPECT_EQ(listing(), files) << "files were left behind";
}

std::string test_name(const ::testing::TestParamInfo<WrongInput>& info) {
  std::string name = info.param.name;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Configuration, WrongInputTest, ::testing::ValuesIn(configuration_cases()),
                         test_name);
INSTANTIATE_TEST_SUITE_P(CommandLine, WrongInputTest, ::testing::ValuesIn(command_line_cases()),
                         test_name);
INSTANTIATE_TEST_SUITE_P(Data, WrongInputTest, ::testing::ValuesIn(data_cases()), test_name);
INSTANTIATE_TEST_SUITE_P(Layers, WrongInputTest, ::testing::ValuesIn(model_cases()), test_name);

// The configuration that the cases change is right: what they are refused for is the change.
TEST_F(ProgramTest, TheUnchangedConfigurationTrains) {
  write_text("config.toml", kConfig);
  write_data("good.h5", {});
  EXPECT_EQ(run(train({"--quiet"})), 0) << content_of("../err");
}

}  // namespace
}  // namespace lockstep
