// The data of a run, as its configuration says: which samples train, which are held out, what is held in memory, how
// inputs are normalised, and what the model therefore reads.
//
// What is held is there once on each node, whatever the number of workers; what does not fit into data.memory is read
// block by block.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "datasets/batch_queue.h"
#include "datasets/dataset.h"
#include "datasets/loader.h"
#include "dist/communicator.h"
#include "launcher/config.h"
#include "launcher/data_record.h"

namespace lockstep {

struct RunData {
  Subset train, test;               // either may be empty (no dataset)
  DataRecord record;                // kept with the run
  std::vector<LoaderInput> inputs;  // of the configuration's arrays, with normalisation and transforms
  std::vector<ModelInput> model_inputs;
  TensorType target;                // of one sample, in the type in which the loss takes it
  int workers_of_node = 1;          // who share data.memory
  bool has_test() const { return test.dataset != nullptr; }
};

enum class DataNeed { kTraining, kTest, kNothing };

struct OpenOptions {
  DataNeed need = DataNeed::kTraining;
  // What an earlier training kept: its normalisation is used again. Without one the training data is needed.
  std::optional<DataRecord> record = {};
  int threads = 1;  // that read
};

// Opens and cuts the datasets, and reads what is held. All ranks call it. Throws a SharedError (bad input) naming file,
// array and key; and where `record` is of other data than data.train.
RunData open_run_data(const Config& config, Communicator& communicator, const OpenOptions& options = {});

// The same for data that is cut already (`test` may be empty): the configuration's inputs, target and normalisation.
// Throws bad_input.
RunData run_data_from(const Config& config, const Subset& train, const Subset& test);

// Another dataset with the same arrays, to be evaluated like the held-out part of `run`. All ranks call it.
Subset open_like(const Config& config, const RunData& run, const std::string& source, Communicator& communicator);

// A dataset that needs no target, to be predicted by this process alone. Throws bad_input.
Subset open_for_prediction(const Config& config, const RunData& run, const std::string& source);

// Whether the samples are mixed as vectors of shares, where the loss takes numbers of classes.
bool mixes_classes(const Config& config);

// What a loader is for.
enum class LoaderUse { kTraining, kEvaluation, kPrediction };
// A loader for part of the data. `microbatches`: of a training batch. `classes`: of the model's output, 0 for losses
// without classes; labels are checked against it.
std::unique_ptr<Loader> make_loader(const Config& config, const RunData& data, const Subset& subset, LoaderUse use,
                                    std::int64_t microbatches = 1, std::int64_t classes = 0);
// Threads and memory of a queue of its batches; the caller says which part of a batch is its own.
BatchQueueOptions queue_options(const Config& config, const RunData& data, const Loader& loader);

}  // namespace lockstep
