#include "tests/launcher/weights/onnx_models.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace lockstep::testing {
namespace {

constexpr std::int64_t kSamples = 7;

template <typename Number>
MemoryArray array(const std::string& name, DType dtype, const Shape& shape, const std::vector<Number>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(Number));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return {name, dtype, shape, std::move(bytes)};
}

// Whole numbers in [0, below).
template <typename Number>
std::vector<Number> integers(std::int64_t count, std::uint32_t salt, double below) {
  std::vector<Number> out;
  for (const float u : hashed_values(count, salt, 0.5)) {
    out.push_back(static_cast<Number>(std::clamp(std::floor((u + 0.5) * below), 0.0, below - 1)));
  }
  return out;
}

MemoryArray labels(double classes) {
  return array("y", DType::kI32, {kSamples}, integers<std::int32_t>(kSamples, 11, classes));
}

std::string settings(const std::string& data, const std::string& loss) {
  return "[data]\ntrain = \"memory\"\nsplit = 0\n" + data + "\n[train]\nepochs = 1\nglobal_batch = 7\nmicrobatches = 1\nloss = \"" +
         loss + "\"\n";
}

std::string layer(const std::string& type, const std::string& more = "") {
  return "[[layer]]\ntype = \"" + type + "\"\n" + more + "\n";
}

// Features of very different sizes: those around a million are normalised in double.
OnnxCase mlp() {
  std::vector<double> features;
  const std::vector<float> hashed = hashed_values(kSamples * 4, 5, 1);
  for (std::size_t i = 0; i < hashed.size(); ++i) features.push_back(i % 4 == 0 ? 1e6 + hashed[i] : hashed[i] * static_cast<double>(i % 4));
  std::vector<float> small(features.size());
  for (std::size_t i = 0; i < small.size(); ++i) small[i] = static_cast<float>(i % 4 == 0 ? 1000 + hashed[i] : features[i]);
  return {"mlp",
          settings("inputs = [\"large\", \"small\"]\nnormalize = \"standard\"", "mean_squared_error") +
              layer("dense", "name = \"a\"\nunits = 6\nactivation = \"gelu\"\ninputs = \"large\"") +
              layer("gelu", "approximate = true") +
              layer("dense", "name = \"b\"\nunits = 6\nactivation = \"leaky_relu\"\ninputs = \"small\"") +
              layer("concatenate", "inputs = [\"gelu\", \"b\"]") + layer("dense", "units = 8\nactivation = \"tanh\"") +
              layer("dropout", "rate = 0.5") + layer("dense", "units = 3"),
          {array("large", DType::kF64, {kSamples, 4}, features), array("small", DType::kF32, {kSamples, 4}, small),
           array("y", DType::kF32, {kSamples, 3}, hashed_values(kSamples * 3, 3, 1))}};
}

// Bytes, cropped; every layer of images.
OnnxCase cnn() {
  return {"cnn",
          settings("normalize = { mean = [120, 110.5, 99], std = [60, 55, 71.25] }\n"
                   "[[data.transform]]\ntype = \"random_crop\"\nheight = 8\nwidth = 8\n"
                   "[[data.transform]]\ntype = \"horizontal_flip\"",
                   "softmax_cross_entropy") +
              layer("conv2d", "filters = 6\nkernel_size = 3\npadding = \"same\"\nstrides = [1, 2]\nactivation = \"relu\"") +
              layer("batch_normalization") +
              layer("conv2d", "name = \"grouped\"\nfilters = 4\nkernel_size = [2, 3]\npadding = 1\ngroups = 2\ndilation_rate = [2, 1]\nuse_bias = false") +
              layer("batch_normalization", "name = \"joined\"\nscale = false") + layer("relu") +
              layer("max_pooling2d", "pool_size = 3\nstrides = 2\npadding = \"same\"") +
              layer("average_pooling2d", "pool_size = 2\nstrides = 1\npadding = 1") + layer("sigmoid") + layer("flatten") +
              layer("dense", "units = 5"),
          {array("x", DType::kU8, {kSamples, 9, 8, 3}, integers<std::uint8_t>(kSamples * 9 * 8 * 3, 7, 256)), labels(5)}};
}

// Numbers stored flat that become images, cropped in the padding, with branches: what follows a convolution in the layout that it left.
OnnxCase branches() {
  return {"branches",
          settings("sample_shape = [8, 8, 2]\nnormalize = \"standard\"\nnormalize_axis = \"array\"\n"
                   "[[data.transform]]\ntype = \"random_crop\"\nheight = 8\nwidth = 10\npadding = 2", "binary_cross_entropy") +
              layer("conv2d", "name = \"left\"\nfilters = 4\nkernel_size = 3\npadding = \"same\"\ninputs = \"x\"") +
              layer("conv2d", "name = \"right\"\nfilters = 4\nkernel_size = 1\ninputs = \"x\"\nactivation = \"tanh\"") +
              layer("add", "name = \"sum\"\ninputs = [\"left\", \"right\"]") +
              layer("multiply", "name = \"product\"\ninputs = [\"sum\", \"left\", \"right\"]") +
              layer("concatenate", "name = \"both\"\ninputs = [\"product\", \"x\"]") + layer("softmax", "name = \"share\"") +
              layer("subtract", "name = \"rest\"\ninputs = [\"both\", \"share\"]") +
              layer("reduce_max", "name = \"rows\"\naxis = 1\nkeepdims = true\ninputs = \"share\"") +
              layer("divide", "name = \"ratio\"\ninputs = [\"rest\", \"rows\"]") +
              layer("reduce_sum", "name = \"widths\"\naxis = [2]\ninputs = \"share\"") +
              layer("global_average_pooling2d", "name = \"mean\"\ninputs = \"ratio\"") +
              layer("global_max_pooling2d", "name = \"most\"\ninputs = \"rest\"") +
              layer("flatten", "name = \"flat\"\ninputs = \"widths\"") +
              layer("concatenate", "inputs = [\"mean\", \"most\", \"flat\"]") + layer("dense", "units = 2"),
          {array("x", DType::kF32, {kSamples, 128}, hashed_values(kSamples * 128, 7, 1)),
           array("y", DType::kF32, {kSamples, 2}, integers<float>(kSamples * 2, 9, 2))}};
}

// Numbers of words, stored as bytes; sequences (batch, time, features).
OnnxCase words() {
  return {"words",
          settings("", "softmax_cross_entropy") + layer("embedding", "input_dim = 11\noutput_dim = 6") +
              layer("layer_normalization") + layer("dense", "units = 5\nactivation = \"relu\"") +
              layer("batch_normalization") + layer("reshape", "name = \"pairs\"\ntarget_shape = [3, 2, 5]") +
              layer("layer_normalization", "name = \"norm\"\naxis = [-2, -1]\ncenter = false") +
              layer("reduce_mean", "axis = [1]") + layer("reduce_sum", "axis = [-1]\nkeepdims = true") + layer("flatten") +
              layer("dense", "units = 3"),
          {array("x", DType::kU8, {kSamples, 6}, integers<std::uint8_t>(kSamples * 6, 7, 11)), labels(3)}};
}

}  // namespace

std::unique_ptr<SmallTraining> OnnxCase::training() const {
  auto out = std::make_unique<SmallTraining>(toml, Dataset::from_memory(name, arrays));
  set_hashed_weights(**out);
  return out;
}

std::vector<OnnxCase> onnx_cases() {
  return {mlp(), cnn(), branches(), words()};
}

void set_hashed_weights(Training& training) {
  for (const NamedTensor& tensor : training.parameters()) {
    const bool is_scale = tensor.name.ends_with("/gamma");
    std::vector<float> values = hashed_values(tensor.shape.elements(), salt_of(tensor.name), 0.5);
    std::ranges::transform(values, tensor.values.begin(), [=](float value) { return is_scale ? value + 1 : value; });
  }
  for (const NamedTensor& tensor : training.statistics()) {
    const bool is_variance = tensor.name.ends_with("/moving_variance");
    std::vector<float> values = hashed_values(tensor.shape.elements(), salt_of(tensor.name), 0.5);
    std::ranges::transform(values, tensor.values.begin(), [=](float value) { return is_variance ? value + 1 : value; });
  }
}

Weights weights_of(Training& training) {
  Weights out;
  for (const auto& tensors : {training.parameters(), training.statistics()}) {
    for (const NamedTensor& tensor : tensors) {
      out[tensor.name] = {tensor.shape, {tensor.values.begin(), tensor.values.end()}};
    }
  }
  return out;
}

}  // namespace lockstep::testing
