#include "tests/launcher/small_training.h"

#include <cmath>
#include <cstring>
#include <map>

#include "dist/exchange_staged.h"
#include "tests/test_device.h"

namespace lockstep::testing {

std::vector<float> hashed_values(std::int64_t count, std::uint32_t salt, double scale) {
  std::vector<float> out(count);
  for (std::int64_t i = 0; i < count; ++i) {
    auto hash = static_cast<std::uint32_t>(i * 2654435761ull + std::uint64_t{salt} * 40503ull);
    hash = static_cast<std::uint32_t>((hash ^ (hash >> 15)) * 2246822519ull);
    hash ^= hash >> 13;
    out[i] = static_cast<float>(scale * (2 * (hash / 4294967296.0) - 1));
  }
  return out;
}

std::uint32_t salt_of(const std::string& text) {
  std::uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash & 0xffffu;
}

namespace {

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> out(values.size() * sizeof(T));
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

}  // namespace

std::shared_ptr<const Dataset> hashed_images(std::int64_t samples, int classes) {
  std::vector<std::int32_t> labels;
  for (const float u : hashed_values(samples, 11, 0.5)) {
    labels.push_back(std::clamp(static_cast<int>(std::floor((u + 0.5) * 10)), 0, 9) % classes);
  }
  return Dataset::from_memory(
      "images", {{"x", DType::kF32, {samples, 8, 8, 1}, bytes_of(hashed_values(samples * 64, 7, 1.0))},
                 {"y", DType::kI32, {samples}, bytes_of(labels)}});
}

Config config_from(const std::string& toml) {
  LayerRegistry layers;
  register_layers(layers);
  return read_config(*parse_toml(toml, "test.toml"), layers);
}

std::unique_ptr<Worker> test_worker(std::unique_ptr<Communicator> communicator, int threads) {
  if (test_device().kind() == DeviceKind::kCpu) return std::make_unique<Worker>(std::move(communicator), threads);
  WorkerDevice device;
  device.device = make_test_device();
  device.workers = communicator->size();
  device.register_kernels = [](KernelRegistry& kernels, Communicator& all, Device& made) -> std::shared_ptr<void> {
    kernels = test_registry();
    register_exchange_staged(kernels, all, made);
    return nullptr;
  };
  return std::make_unique<Worker>(std::move(communicator), threads, std::move(device));
}

SmallTraining::SmallTraining(const std::string& toml, std::shared_ptr<const Dataset> train,
                             std::unique_ptr<Communicator> communicator,
                             std::shared_ptr<const Dataset> test)
    : config_(config_from(toml)) {
  if (!communicator) communicator = make_single_communicator();
  worker_ = test_worker(std::move(communicator), static_cast<int>(config_.run.threads));
  data_ = run_data_from(config_, whole(std::move(train)), test ? whole(std::move(test)) : Subset{});
  training_ = std::make_unique<Training>(*worker_, config_, data_, PipelineOptions{});
  training_->initialize();
}

std::string layers_of(const std::string& model) {
  static const std::map<std::string, std::string> models = {
      {"mlp", R"(
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
name = "hidden"
units = 32
activation = "relu"
[[layer]]
type = "dense"
name = "head"
units = 10
)"},
      {"cnn", R"(
[[layer]]
type = "conv2d"
name = "conv1"
filters = 8
kernel_size = 3
padding = "same"
activation = "relu"
[[layer]]
type = "max_pooling2d"
pool_size = 2
[[layer]]
type = "conv2d"
name = "conv2"
filters = 16
kernel_size = 3
activation = "relu"
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
name = "head"
units = 10
)"},
      {"residual", R"(
[[layer]]
type = "conv2d"
name = "stem"
filters = 8
kernel_size = 3
padding = "same"
use_bias = false
[[layer]]
type = "batch_normalization"
[[layer]]
type = "relu"
name = "trunk"
[[layer]]
type = "conv2d"
name = "conv1"
filters = 8
kernel_size = 3
padding = "same"
use_bias = false
[[layer]]
type = "batch_normalization"
[[layer]]
type = "relu"
[[layer]]
type = "conv2d"
name = "conv2"
filters = 8
kernel_size = 3
padding = "same"
use_bias = false
[[layer]]
type = "batch_normalization"
name = "branch"
[[layer]]
type = "add"
inputs = ["branch", "trunk"]
[[layer]]
type = "relu"
[[layer]]
type = "global_average_pooling2d"
[[layer]]
type = "dense"
name = "head"
units = 10
)"},
      {"everything", R"(
[[layer]]
type = "conv2d"
filters = 6
kernel_size = 3
padding = "same"
activation = "relu"
[[layer]]
type = "batch_normalization"
[[layer]]
type = "max_pooling2d"
[[layer]]
type = "conv2d"
filters = 8
kernel_size = 3
activation = "gelu"
[[layer]]
type = "flatten"
[[layer]]
type = "dropout"
rate = 0.3
[[layer]]
type = "dense"
units = 24
activation = "tanh"
[[layer]]
type = "layer_normalization"
[[layer]]
type = "dense"
units = 10
)"}};
  return models.at(model);
}

}  // namespace lockstep::testing
