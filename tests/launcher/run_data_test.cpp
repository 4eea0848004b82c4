// From files to a training: what is held, what is streamed, and that neither workers nor threads change a bit.
#include "launcher/run_data.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <set>

#include "core/base/hdf5/hdf5.h"
#include "tests/core/temporary_directory.h"
#include "tests/dist/world_of_threads.h"
#include "tests/launcher/message.h"
#include "tests/launcher/small_training.h"

namespace lockstep {
namespace {

using testing::config_from;
using testing::hashed_values;
using testing::run_world;

class RunDataTest : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.path(name); }

  // 203 images of 8 x 8 bytes and their labels, compressed in chunks of 8 images; or the same as f32.
  std::string images(const std::string& name, bool bytes = true, std::int64_t count = 203) const {
    std::vector<std::uint8_t> pixels;
    std::vector<float> numbers;
    std::vector<std::int32_t> labels;
    for (const float value : hashed_values(count * 64, 1, 127.0)) {
      pixels.push_back(static_cast<std::uint8_t>(value + 127.5f));
      numbers.push_back(pixels.back());
    }
    for (std::int64_t i = 0; i < count; ++i) labels.push_back(pixels[static_cast<std::size_t>(i) * 64] % 10);
    const Shape shape{count, 8, 8, 1};
    const Hdf5Layout layout{.chunk_rows = 8, .gzip = 4};
    Hdf5Writer file(path(name));
    file.write("x", bytes ? DType::kU8 : DType::kF32, shape,
               bytes ? static_cast<const void*>(pixels.data()) : numbers.data(), layout);
    file.write("y", DType::kI32, {count}, labels.data(), layout);
    file.commit();
    return path(name);
  }

  // A series of 300 rows.
  std::string series() const {
    std::vector<std::uint8_t> rows;
    for (int i = 0; i < 300; ++i) rows.push_back(static_cast<std::uint8_t>(i * i % 11));
    Hdf5Writer file(path("series.h5"));
    file.write("x", DType::kU8, {300}, rows.data());
    file.commit();
    return path("series.h5");
  }

  static std::string toml_of(const std::string& file, const std::string& data_keys, const std::string& tables = "") {
    return text("[data]\ntrain = \"", file, "\"\nsplit = 0.2\n", data_keys, "\n", tables,
                "\n[train]\nepochs = 2\nglobal_batch = 19\nlearning_rate = 0.01\nloss = \"softmax_cross_entropy\"\n",
                "[evaluate]\nbatch = 7\n", testing::layers_of("cnn"));
  }

 private:
  TemporaryDirectory folder_;
};

struct Outcome {
  std::string sha256;
  std::vector<float> losses;
  std::vector<double> metrics;
  bool operator==(const Outcome&) const = default;
};

Outcome train(const std::string& toml, int world) {
  std::mutex mutex;
  std::vector<Outcome> outcomes;
  run_world(world, [&](std::unique_ptr<Communicator> communicator) {
    const Config config = config_from(toml);
    Worker worker(std::move(communicator), 1);
    const RunData data = open_run_data(config, worker.communicator());
    Training training(worker, config, data, {});
    training.initialize();
    Outcome outcome;
    while (training.step() < training.total_steps()) outcome.losses.push_back(training.run_step().loss);
    outcome.sha256 = training.parameters_sha256();
    for (const MetricValue& value : training.evaluate(data.test)) {
      outcome.metrics.insert(outcome.metrics.end(), value.values.begin(), value.values.end());
    }
    const std::lock_guard lock(mutex);
    outcomes.push_back(std::move(outcome));
  });
  for (const Outcome& outcome : outcomes) EXPECT_EQ(outcome, outcomes[0]);
  return outcomes[0];
}

const char kAugmentation[] =
    "[[data.transform]]\ntype = \"random_crop\"\npadding = 1\n[[data.transform]]\ntype = \"horizontal_flip\"\n"
    "[[data.transform]]\ntype = \"rotation\"\ndegrees = 10.0\n[[data.transform]]\ntype = \"noise\"\ndeviation = 0.1\n"
    "[[data.transform]]\ntype = \"mixup\"\nalpha = 0.3\n";

TEST_F(RunDataTest, SameBitsForAnyWorkersAndThreads) {
  const std::string file = images("images.h5");
  for (const char* const cache : {"cache = \"memory\"", "cache = \"none\"\nmemory = \"64 KiB\""}) {
    for (const char* const tables : {"", kAugmentation}) {
      const std::string keys = text(cache, "\nnormalize = \"standard\"\nnormalize_axis = \"array\"\nthreads = ");
      const Outcome alone = train(toml_of(file, keys + "1", tables), 1);
      EXPECT_EQ(alone.losses.size(), 18u);  // 162 samples: the last batch of an epoch has 10
      for (const int world : {1, 2, 3, 8}) {
        for (const char* const threads : {"2", "4"}) {
          EXPECT_EQ(train(toml_of(file, keys + threads, tables), world), alone)
              << cache << ", " << world << " workers, " << threads << " threads" << tables;
        }
      }
    }
  }
}

TEST_F(RunDataTest, BytesTrainLikeTheNumbersTheyStandFor) {
  const std::string keys = "normalize = \"standard\"\nnormalize_axis = \"array\"\nstratified = true";
  EXPECT_EQ(train(toml_of(images("bytes.h5"), keys), 1), train(toml_of(images("numbers.h5", false), keys), 1));
  const Config config = config_from(toml_of(path("bytes.h5"), keys));
  const auto alone = make_single_communicator();
  EXPECT_EQ(open_run_data(config, *alone).inputs[0].dtype, DType::kU8);
}

// The samples that each worker's queue gives, by batch, in the order of the microbatches.
std::vector<std::vector<std::int64_t>> ids_of_epoch(const Config& config, const RunData& data, int world, int threads,
                                                    std::int64_t epoch, std::int64_t first_batch) {
  constexpr std::int64_t kMicrobatches = 8;
  const auto loader = make_loader(config, data, data.train, LoaderUse::kTraining, kMicrobatches, 10);
  std::vector<std::vector<std::int64_t>> out(static_cast<std::size_t>(loader->batches() - first_batch));
  Worker worker(make_single_communicator(), 1);
  for (int rank = 0; rank < world; ++rank) {
    BatchQueueOptions options = queue_options(config, data, *loader);
    options.threads = threads;
    options.range_of = [&](std::int64_t samples) {
      return Microbatches(samples, kMicrobatches).samples_of_rank(rank, world);
    };
    options.microbatches = Microbatches(config.train.global_batch, kMicrobatches).of_rank(rank, world);
    BatchQueue queue(*loader, worker.device(), std::move(options));
    queue.start(epoch, first_batch, loader->batches() - first_batch);
    for (auto& ids : out) {
      const FilledBatch& batch = queue.next();
      ids.insert(ids.end(), batch.buffers.samples, batch.buffers.samples + batch.range.size());
    }
  }
  return out;
}

TEST_F(RunDataTest, EverySampleOnceInOneOrderFromAnyStep) {
  const std::string file = images("images.h5");
  for (const char* const cache : {"cache = \"memory\"", "cache = \"none\"\nmemory = \"64 KiB\""}) {
    const Config config = config_from(toml_of(file, cache));
    const auto single = make_single_communicator();
    const RunData data = open_run_data(config, *single);
    for (const std::int64_t epoch : {0, 3}) {
      const auto alone = ids_of_epoch(config, data, 1, 1, epoch, 0);
      std::multiset<std::int64_t> seen;
      for (const auto& ids : alone) seen.insert(ids.begin(), ids.end());
      EXPECT_EQ(std::vector<std::int64_t>(seen.begin(), seen.end()), data.train.ids);
      for (const int world : {1, 2, 3, 8}) {
        for (const int threads : {1, 2, 4}) {
          EXPECT_EQ(ids_of_epoch(config, data, world, threads, epoch, 0), alone) << world << " x " << threads;
        }
      }
      for (std::size_t first = 1; first < alone.size(); ++first) {
        const auto rest = ids_of_epoch(config, data, 2, 2, epoch, static_cast<std::int64_t>(first));
        EXPECT_EQ(rest, std::vector(alone.begin() + static_cast<std::ptrdiff_t>(first), alone.end()));
      }
    }
    EXPECT_NE(ids_of_epoch(config, data, 1, 1, 0, 0), ids_of_epoch(config, data, 1, 1, 1, 0));
  }
}

TEST_F(RunDataTest, HoldsWhatFitsAndStreamsTheRest) {
  const std::string file = images("images.h5");
  const auto single = make_single_communicator();
  const auto held = [&](const std::string& keys) {
    const RunData data = open_run_data(config_from(toml_of(file, keys)), *single);
    std::vector<bool> out;
    for (const char* const array : {"x", "y"}) out.push_back(data.train.dataset->held(data.train.dataset->find(array)));
    return out;
  };
  EXPECT_EQ(held(""), (std::vector<bool>{true, true}));
  EXPECT_EQ(held("memory = \"8 KiB\""), (std::vector<bool>{false, true}));  // 13 KB of images, 812 bytes of labels
  EXPECT_EQ(held("cache = \"memory\"\nmemory = \"8 KiB\""), (std::vector<bool>{true, true}));
  EXPECT_EQ(held("cache = \"none\""), (std::vector<bool>{false, false}));
}

TEST_F(RunDataTest, KeptRecordStandsForTheTrainingData) {
  const std::string file = images("images.h5");
  const Config config = config_from(toml_of(file, "normalize = \"standard\""));
  const auto single = make_single_communicator();
  const RunData trained = open_run_data(config, *single);
  const DataRecord& record = trained.record;
  local_files().write_atomic(path("data.json"), to_json(record));
  EXPECT_EQ(read_data_record(path("data.json")), record);

  std::filesystem::remove(file);
  const RunData kept = open_run_data(config, *single, {.need = DataNeed::kNothing, .record = record});
  EXPECT_EQ(kept.train.dataset, nullptr);
  ASSERT_EQ(kept.model_inputs.size(), 1u);
  EXPECT_EQ(kept.model_inputs[0].shift, trained.model_inputs[0].shift);
  EXPECT_EQ(kept.model_inputs[0].scale, trained.model_inputs[0].scale);
  EXPECT_EQ(kept.model_inputs[0].sample, trained.model_inputs[0].sample);

  images("images.h5", true, 204);
  EXPECT_NE(refused([&] { open_run_data(config, *single, {.record = record}); })
                .find("is not the data that the run began with"),
            std::string::npos);
}

TEST_F(RunDataTest, RecordThatIsNoneIsRefused) {
  for (const char* const broken : {"", "{}", "[1]", "{\"rows\": \"many\"}"}) {
    local_files().write_atomic(path("data.json"), broken);
    EXPECT_TRUE(refused([&] { read_data_record(path("data.json")); }).starts_with(path("data.json") + ": "));
  }
}

TEST_F(RunDataTest, EndOfASeriesIsHeldOut) {
  const std::string toml = text("[data]\ntrain = \"", series(), "\"\ntarget = \"x\"\nsplit = 0.25\n",
                                "[data.window]\nlength = 10\nhorizon = 2\nstride = 3\n[train]\n",
                                "loss = \"softmax_cross_entropy\"\n[[layer]]\ntype = \"embedding\"\ninput_dim = 11\n",
                                "output_dim = 4\n[[layer]]\ntype = \"dense\"\nunits = 11\n");
  const Config config = config_from(toml);
  const auto single = make_single_communicator();
  const RunData data = open_run_data(config, *single);
  // Windows of 12 rows within [0, 225) and [225, 300), which begin at multiples of 3.
  EXPECT_EQ(data.train.ids.front(), 0);
  EXPECT_EQ(data.train.ids.back() * 3 + 12, 225);
  EXPECT_EQ(data.test.ids.front() * 3, 225);
  EXPECT_EQ(data.test.ids.back() * 3 + 12, 300);
  EXPECT_EQ(data.model_inputs[0].sample, (Shape{10}));
  EXPECT_EQ(data.target.shape, (Shape{10}));
  const auto loader = make_loader(config, data, data.test, LoaderUse::kEvaluation, 1, 11);
  std::vector<std::int32_t> x(100), y(100);
  Loader::Scratch scratch;
  loader->fill(0, 0, {0, 5}, {.inputs = {x.data()}, .target = y.data()}, scratch);
  for (int sample = 0; sample < 5; ++sample) {
    for (int i = 0; i < 10; ++i) {
      const int row = 225 + 3 * sample + i;
      EXPECT_EQ(x[static_cast<std::size_t>(sample * 10 + i)], row * row % 11);
      EXPECT_EQ(y[static_cast<std::size_t>(sample * 10 + i)], (row + 2) * (row + 2) % 11);
    }
  }
}

TEST_F(RunDataTest, RefusesTransformsThatDoNotFit) {
  const std::string file = images("images.h5");
  const auto single = make_single_communicator();
  const auto refusal = [&](const std::string& tables) {
    return refused([&] { open_run_data(config_from(toml_of(file, "", tables)), *single); });
  };
  EXPECT_NE(refusal("[[data.transform]]\ntype = \"one_hot\"\nclasses = 10\ninput = \"y\"\n")
                .find("takes the numbers of classes as they are"),
            std::string::npos);
  EXPECT_NE(refusal("[[data.transform]]\ntype = \"random_crop\"\nheight = 9\n").find("random_crop"), std::string::npos);
}

}  // namespace
}  // namespace lockstep
