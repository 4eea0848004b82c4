// The training step of a few networks on one worker with one thread, for comparison with PyTorch
// (bench/compare_pytorch.py drives both, block by block in turn).
//
//   lockstep_training_step WORKLOAD BATCH [MICROBATCHES] [f32|bf16]
//
// Workloads: mlp (784-512-512-10, Adam), cnn (Keras' 3x32x32 network, Adam), linreg (1 feature, SGD). Data is synthetic and in
// memory; a step includes loading its batch. Reads "SECONDS" lines from standard input, trains for about that long, and
// answers "STEPS SECONDS".
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>

#include "core/base/error.h"
#include "core/base/random.h"
#include "launcher/setup.h"
#include "launcher/toml.h"
#include "launcher/training.h"
#include "ops/register.h"

namespace {

using namespace lockstep;

struct Workload {
  Shape sample;
  std::int64_t classes;  // 0: regression
  std::string train, layers;
};

std::string dense_layer(int units, const char* activation) {
  return text("[[layer]]\ntype = \"dense\"\nunits = ", units, "\nactivation = \"", activation, "\"\n");
}

std::string conv_layer(int filters) {
  return text("[[layer]]\ntype = \"conv2d\"\nkernel_size = 3\nactivation = \"relu\"\nfilters = ", filters,
              "\n[[layer]]\ntype = \"max_pooling2d\"\n");
}

Workload workload_of(const std::string& name) {
  const std::string classes = "loss = \"softmax_cross_entropy\"\noptimizer = \"adam\"\n";
  const std::string head = dense_layer(10, "linear");
  if (name == "mlp") {
    return {{784}, 10, classes, dense_layer(512, "relu") + dense_layer(512, "relu") + head};
  }
  if (name == "cnn") {
    return {{32, 32, 3}, 10, classes,
            conv_layer(32) + conv_layer(64) + "[[layer]]\ntype = \"flatten\"\n" + dense_layer(128, "relu") + head};
  }
  check_input(name == "linreg", "workload \"", name, "\": expected mlp, cnn or linreg");
  return {{1}, 0, "loss = \"mean_squared_error\"\noptimizer = \"sgd\"\n", dense_layer(1, "linear")};
}

template <typename T, typename Make>
std::vector<std::byte> filled(std::int64_t count, const Make& make) {
  std::vector<std::byte> bytes(count * sizeof(T));
  for (std::int64_t i = 0; i < count; ++i) {
    const T value = make(i);
    std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
  return bytes;
}

std::shared_ptr<const Dataset> synthetic(const Workload& workload, std::int64_t samples) {
  const RandomStream random(1, Purpose::kSynthesize);
  std::vector<std::int64_t> dims{samples};
  dims.insert(dims.end(), workload.sample.dims().begin(), workload.sample.dims().end());
  const Shape shape(dims);
  const auto x = filled<float>(shape.elements(), [&](std::int64_t i) {
    return static_cast<float>(random.normal(0, 0, static_cast<std::uint64_t>(i)));
  });
  if (workload.classes == 0) {
    const auto y = filled<float>(samples, [&](std::int64_t i) {
      return static_cast<float>(random.normal(1, 0, static_cast<std::uint64_t>(i)));
    });
    return Dataset::from_memory("synthetic", {{"x", DType::kF32, shape, x}, {"y", DType::kF32, {samples}, y}});
  }
  const auto y = filled<std::int32_t>(samples, [&](std::int64_t i) {
    return static_cast<std::int32_t>(random.below(workload.classes, 2, static_cast<std::uint64_t>(i)));
  });
  return Dataset::from_memory("synthetic", {{"x", DType::kF32, shape, x}, {"y", DType::kI32, {samples}, y}});
}

}  // namespace

int main(int argc, char** argv) try {
  check_input(argc >= 3, "usage: lockstep_training_step WORKLOAD BATCH [MICROBATCHES] [f32|bf16]");
  const Workload workload = workload_of(argv[1]);
  const std::int64_t batch = std::atoll(argv[2]);
  const std::string microbatches = argc > 3 ? argv[3] : "1", precision = argc > 4 ? argv[4] : "f32";
  const std::int64_t batches = workload.classes == 0 ? 1 : 8;
  const std::string toml = text(
      "[data]\ntrain = \"synthetic\"\nsplit = 0\nshuffle = false\n[train]\nepochs = 1000000000\nglobal_batch = ", batch,
      "\nmicrobatches = ", microbatches, "\nprecision = \"", precision, "\"\nlearning_rate = 0.001\n",
      workload.train, workload.layers);
  LayerRegistry layers;
  register_layers(layers);
  const Config config = read_config(*parse_toml(toml, "benchmark"), layers);
  Worker worker(make_single_communicator(), 1);
  const RunData data = run_data_from(config, whole(synthetic(workload, batches * batch)), {});
  Training training(worker, config, data, {});
  training.initialize();
  training.run_step();

  using Clock = std::chrono::steady_clock;
  for (double seconds = 0; std::cin >> seconds;) {
    const auto start = Clock::now();
    std::chrono::duration<double> took{0};
    std::int64_t steps = 0;
    for (; took.count() < seconds; took = Clock::now() - start) {
      for (int i = 0; i < 4; ++i, ++steps) training.run_step();
    }
    std::printf("%lld %.9f\n", static_cast<long long>(steps), took.count());
    std::fflush(stdout);
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
