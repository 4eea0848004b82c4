// The data of a run, as its configuration says: which samples train, which are held out, how inputs are
// normalised, and what the model therefore reads.
#pragma once

#include <string>
#include <vector>

#include "datasets/dataset.h"
#include "datasets/loader.h"
#include "launcher/config.h"

namespace lockstep {

struct RunData {
  Subset train, test;               // test may be empty (no dataset)
  std::vector<LoaderInput> inputs;  // of the configuration's arrays, with their normalisation
  std::vector<ModelInput> model_inputs;
  TensorType target;                // of one sample, in the type in which the loss takes it
  std::vector<std::string> class_names;  // empty where the dataset has none
  bool has_test() const { return test.dataset != nullptr; }
};

// Opens and cuts the datasets. Errors are bad_input naming file, array and key.
RunData open_run_data(const Config& config);

// The same for data that is cut already (`test` may be empty): the configuration's inputs, target and normalisation.
RunData run_data_from(const Config& config, const Subset& train, const Subset& test);

// Another dataset with the same arrays, to be evaluated like the held-out part of `run`: the same inputs and the
// same normalisation.
Subset open_like(const Config& config, const RunData& run, const std::string& source);

// A loader for part of the data. `classes`: of the model's output, 0 for losses without classes; labels are checked
// against it. Batches are of `batch` samples.
Loader make_loader(const Config& config, const RunData& data, const Subset& subset,
                   std::int64_t batch, SampleOrder order, std::int64_t classes);

// The samples of a dataset in a few words: "digits (1797 samples, fingerprint 0123456789abcdef)".
std::string describe(const Dataset& dataset);

}  // namespace lockstep
