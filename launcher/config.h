// The configuration of a run: what a TOML file says, checked, with every default filled in.
//
// Sections: [run], [data], [train], [evaluate], [checkpoint] and one [[layer]] per layer. The
// comment of a field is its documentation; its name is its key, its initial value the default.
// Errors are bad_input with place, key, what was found and what was expected. Owned by the trainer;
// does not change while it trains.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/settings.h"
#include "datasets/loader.h"
#include "datasets/normalize.h"
#include "dist/buckets.h"
#include "launcher/model.h"
#include "ops/losses/loss.h"
#include "ops/optimizers/optimizer.h"
#include "ops/optimizers/schedule.h"

namespace lockstep {

struct RunConfig {
  std::uint64_t seed = 42;   // of everything random
  std::int64_t threads = 1;  // CPU threads per worker
  double deadline = 300.0;   // seconds to wait for another rank
  std::int64_t check_every = 1000;  // steps between comparisons of the replicas; 0: only before checkpoints
  bool share_gpu = false;    // two workers may compute on one GPU
  bool autotune = false;     // measure which algorithms of libraries are the fastest (launcher/autotune.h)
  double time_limit = 0.0;   // seconds since the start before a checkpoint and exit code 75; 0: none
};

// What is held in memory: what fits, everything, or nothing.
enum class CacheKind { kAuto, kMemory, kNone };

// [[data.transform]]: what happens to the samples of one array.
struct DataTransform {
  std::string array;
  ListedTransform listed;
};

struct DataConfig {
  // Sources as in datasets/dataset.h; several are read one after another.
  std::vector<std::string> train;
  std::vector<std::string> test = {};  // empty: held out of `train`
  // Part of `train` that is held out, drawn by the seed, where `test` is empty; 0: none is.
  double split = 0.2;
  bool stratified = false;                  // hold out the same part of every class
  std::vector<std::string> inputs = {"x"};  // arrays the model reads
  std::string target = "y";
  std::string weights = "";  // array of one weight per sample; empty: all 1
  // Shape of one sample of the first input, where it is not the stored one: [8, 8, 1].
  std::vector<std::int64_t> sample_shape = {};
  // How the inputs are brought to a common scale, from the training part alone. Keys: `normalize`,
  // "none", "standard" (mean 0, variance 1), "minmax" (to [0, 1]), a number that divides every
  // element (255), or { mean = ..., std = ... }, numbers or one for each entry of the last axis;
  // `normalize_axis`, "feature" (each entry of the last axis by itself) or "array".
  NormalizeOptions normalize = {};
  bool shuffle = true;       // a new order every epoch
  std::int64_t classes = 0;  // number of classes; 0: as many as the model has outputs
  CacheKind cache = CacheKind::kAuto;
  // Bytes of data in memory, of all workers of a machine together: what is held, or the blocks that are shuffled. A
  // number, or a text with a unit: "512 MiB", "4 GB".
  std::int64_t memory = std::int64_t{4} << 30;
  std::int64_t threads = 0;  // that fill batches, per worker; "auto": as many as pay
  // [data.window]: samples are windows over the rows. Keys: length, stride, horizon, target ("sequence" or "last").
  Windows windows = {};
  // [[data.transform]]: type, input, and what each transform reads itself; applied in this order.
  std::vector<DataTransform> transforms = {};
  double mixup = 0;               // type = "mixup": its alpha; 0: none
  std::uint32_t mixup_index = 0;  // its number in the list
};

// Settings of microbatches other than a number.
inline constexpr std::int64_t kMicrobatchesAuto = 0;    // "auto": 8, or the world size where larger
inline constexpr std::int64_t kMicrobatchesWorld = -1;  // "world": one per worker

enum class TrainPrecision { kF32, kTF32, kBF16 };
enum class ReductionKind { kExact, kFast };

// [train.early_stopping]: the training ends where a metric of the evaluations no longer gets better.
struct EarlyStopping {
  std::string metric = "loss";  // one of evaluate.metrics, or "loss"
  std::int64_t patience = 3;    // evaluations in a row without a better value
  double min_delta = 0.0;       // a value counts as better where it is better by more than that
};

// train.initial_weights: a path, or a table with more.
struct InitialWeights {
  std::string from = {};              // a run, a checkpoint, or a file: .safetensors, .h5, .hdf5
  std::string checkpoint = "newest";  // of a run: "newest", "best" or the number of a step
  std::vector<std::string> except = {};  // patterns of names of layers that begin anew
};

struct TrainConfig {
  std::int64_t epochs = 10;
  std::int64_t steps = 0;  // stop after that many optimizer steps; 0: only `epochs` counts
  std::int64_t global_batch = 32;
  std::int64_t microbatches = kMicrobatchesAuto;
  std::shared_ptr<const Loss> loss;  // must be given
  std::shared_ptr<const Optimizer> optimizer = Optimizer::make(OptimizerOptions{});
  Schedule learning_rate;  // a constant 0.001; finish() is not called yet
  TrainPrecision precision = TrainPrecision::kF32;
  ReductionKind reduction = ReductionKind::kExact;
  std::int64_t bucket_bytes = 0;  // gradients that are exchanged together, at least; 0, "auto": what suits the device
  std::optional<InitialWeights> initial_weights = {};  // for a training that begins; else every layer begins anew
  // Patterns of names of layers that are frozen, besides those that say `trainable = false`.
  std::vector<std::string> freeze = {};
  double clip_norm = 0.0;  // bound of the norm of the whole gradient; 0: none
  std::optional<EarlyStopping> early_stopping = {};
};

struct EvaluateConfig {
  std::int64_t every = 1;  // epochs between evaluations; 0: only after the last
  // Of launcher/metrics.h; read_config fills in the default by loss.
  std::vector<std::string> metrics = {};
  std::int64_t batch = 256;  // samples at a time
};

struct CheckpointConfig {
  std::int64_t every_steps = 0;  // 0: at the end of every epoch
  std::int64_t keep = 3;         // the newest ones that are kept
  std::int64_t keep_every = 0;   // those of steps that this number divides are kept for ever; 0: none
  std::string best = "";         // the one of the best value of this metric is kept as well; empty: none
};

struct Config {
  RunConfig run;
  DataConfig data;
  TrainConfig train;
  EvaluateConfig evaluate;
  CheckpointConfig checkpoint;
  Model model = Sequential();
  // The configuration as TOML with every default visible; reading it gives an equal Config. Empty
  // for a Config made in C++.
  std::string toml;

  // The number of microbatches with `world_size` workers; never more than global_batch.
  std::int64_t microbatches(std::int64_t world_size) const;
  // `toml` with that number in place of "auto" or "world": what a run keeps, to be resumed on any number of workers.
  std::string toml_of_run(std::int64_t world_size) const;
};

// Reads and checks a whole configuration. `root` is the file with its --set overrides.
Config read_config(Settings& root, const LayerRegistry& layers);

// The tree as TOML: values first, then [tables] and [[lists of tables]].
std::string to_toml(Settings& tree);

// SHA-256 of the run's config.toml (toml_of_run) in hex: equal for configurations that mean the same, whatever their
// layout, comments and order of keys.
std::string config_hash(const Config& config, std::int64_t world_size = 1);

}  // namespace lockstep
