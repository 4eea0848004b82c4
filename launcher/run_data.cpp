#include "launcher/run_data.h"

#include <algorithm>
#include <limits>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "datasets/split.h"

namespace lockstep {
namespace {

std::vector<std::string> needed_arrays(const Config& config) {
  std::vector<std::string> out = config.data.inputs;
  out.push_back(config.data.target);
  if (!config.data.weights.empty()) out.push_back(config.data.weights);
  return out;
}

std::shared_ptr<const Dataset> open_dataset(const Config& config,
                                            const std::vector<std::string>& sources) {
  return Dataset::open(sources, {.arrays = needed_arrays(config)});
}

Split cut(const Config& config, const Dataset& dataset) {
  if (!config.data.stratified) return split(config.run.seed, dataset.size(), config.data.split);
  const int target = dataset.find(config.data.target);
  dataset.count_classes(target);  // refuses what is no label
  std::vector<std::int64_t> all(dataset.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  std::vector<std::int32_t> labels(all.size());
  check_input(dataset.arrays()[target].sample.elements() == 1, "data.stratified: array \"",
              config.data.target, "\" has ", dataset.arrays()[target].sample.elements(),
              " values a sample, expected one label");
  dataset.gather(target, all, labels.data());
  return split_stratified(config.run.seed, labels, config.data.split);
}

// `below`: more than 0 where the model reads the input as integers under it.
LoaderInput loader_input(const Config& config, const RunData& data, std::size_t index, std::int64_t below) {
  const bool as_integers = below > 0;
  const Dataset& dataset = *data.train.dataset;
  LoaderInput input{.array = config.data.inputs[index],
                    .dtype = as_integers ? DType::kI32 : DType::kF32};
  const int array = dataset.find(input.array);
  if (index == 0 && !config.data.sample_shape.empty()) {
    const Shape shape{std::span<const std::int64_t>(config.data.sample_shape)};
    const Shape& stored = dataset.arrays()[array].sample;
    check_input(shape.elements() == stored.elements(), "data.sample_shape: found ", shape, " (",
                shape.elements(), " elements), expected as many elements as array \"", input.array,
                "\" stores for a sample: ", stored);
    input.sample_shape = shape;
  }
  if (as_integers) {
    dataset.check_labels(array, below);
    if (data.has_test()) data.test.dataset->check_labels(data.test.dataset->find(input.array), below);
  } else {
    input.normalization = compute_normalization(config.data.normalize, data.train, array);
  }
  return input;
}

}  // namespace

RunData run_data_from(const Config& config, const Subset& train, const Subset& test) {
  RunData data;
  data.train = train;
  data.test = test;
  for (std::size_t i = 0; i < config.data.inputs.size(); ++i) {
    const std::int64_t below = config.model.integers_below(config.data.inputs[i]);
    data.inputs.push_back(loader_input(config, data, i, below));
    const Shape stored = train.dataset->array(config.data.inputs[i]).sample;
    data.model_inputs.push_back({.name = config.data.inputs[i],
                                 .sample = data.inputs.back().sample_shape.value_or(stored),
                                 .dtype = below > 0 ? DType::kI32 : DType::kF32});
  }
  const DatasetArray& target = train.dataset->array(config.data.target);
  data.target = {config.train.loss->target_type(), target.sample, nullptr};
  data.class_names = target.class_names;
  return data;
}

namespace {

// Every array of the test data has samples of the shape that training has.
void check_alike(const Subset& train, const Subset& test) {
  for (const DatasetArray& array : train.dataset->arrays()) {
    const Shape& found = test.dataset->array(array.name).sample;
    check_input(found == array.sample, test.dataset->files().front(), ": array \"", array.name,
                "\" has samples of shape ", found, ", the training data has ", array.sample);
  }
}

}  // namespace

RunData open_run_data(const Config& config) {
  const auto dataset = open_dataset(config, config.data.train);
  if (!config.data.test.empty()) {
    const Subset train = whole(dataset), test = whole(open_dataset(config, config.data.test));
    check_alike(train, test);
    return run_data_from(config, train, test);
  }
  if (config.data.split <= 0) return run_data_from(config, whole(dataset), {});
  Split parts = cut(config, *dataset);
  return run_data_from(config, {dataset, std::move(parts.train)}, {dataset, std::move(parts.test)});
}

Subset open_like(const Config& config, const RunData& run, const std::string& source) {
  Subset subset = whole(open_dataset(config, {source}));
  check_alike(run.train, subset);
  for (const std::string& input : config.data.inputs) {
    const std::int64_t below = config.model.integers_below(input);
    if (below > 0) subset.dataset->check_labels(subset.dataset->find(input), below);
  }
  return subset;
}

Loader make_loader(const Config& config, const RunData& data, const Subset& subset,
                   std::int64_t batch, SampleOrder order, std::int64_t classes) {
  return Loader(subset, {.inputs = data.inputs,
                         .target = config.data.target,
                         .target_dtype = data.target.dtype,
                         .classes = classes > 0 && config.data.classes > 0 ? config.data.classes : classes,
                         .weights = config.data.weights,
                         .order = order,
                         .seed = config.run.seed,
                         .global_batch = batch});
}

std::string describe(const Dataset& dataset) {
  return text(dataset.files().front(), " (", dataset.size(), " samples, fingerprint ",
              hex_of(dataset.fingerprint()), ")");
}

}  // namespace lockstep
