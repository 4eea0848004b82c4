#include "launcher/run_data.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "datasets/split.h"
#include "datasets/transforms/one_hot.h"
#include "dist/agree.h"
#include "dist/node_share.h"
#include "launcher/data_memory.h"

namespace lockstep {
namespace {

std::vector<std::string> needed_arrays(const Config& config) {
  std::vector<std::string> out = config.data.inputs;
  out.push_back(config.data.target);
  if (!config.data.weights.empty()) out.push_back(config.data.weights);
  return out;
}

std::shared_ptr<Dataset> describe_dataset(const Config& config, const std::vector<std::string>& sources,
                                          const std::vector<std::string>& arrays) {
  return Dataset::describe(sources, arrays, bytes_of_block(config));
}

// ---- Cutting -----------------------------------------------------------------------------------

Split cut(const Config& config, const Dataset& dataset) {
  if (!config.data.stratified) return split(config.run.seed, dataset.size(), config.data.split);
  const int target = dataset.find(config.data.target);
  dataset.count_classes(target);  // refuses what is no label
  std::vector<std::int64_t> all(static_cast<std::size_t>(dataset.size()));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  std::vector<std::int32_t> labels(all.size());
  const Shape& sample = dataset.arrays()[static_cast<std::size_t>(target)].sample;
  check_input(sample.elements() == 1, "data.stratified: array \"", config.data.target, "\" has ", sample.elements(),
              " values a sample, expected one label");
  dataset.gather(target, all, labels.data());
  return split_stratified(config.run.seed, labels, config.data.split);
}

// The end of a series is held out; no window reaches from one part into the other.
Split cut_series(const Config& config, const Dataset& dataset) {
  const Windows& windows = config.data.windows;
  const auto border = static_cast<std::int64_t>(static_cast<double>(dataset.size()) * (1 - config.data.split));
  Split parts;
  const std::int64_t count = windows.count(dataset.size());
  for (std::int64_t id = 0; id < count; ++id) {
    const std::int64_t first = windows.first_row(id);
    if (first + windows.span() <= border) parts.train.push_back(id);
    if (first >= border) parts.test.push_back(id);
  }
  check_input(!parts.train.empty() && !parts.test.empty(), dataset.files().front(), ": has ", dataset.size(),
              " rows, of which the last ", dataset.size() - border, " are held out: too few for windows of ", windows.span(),
              " rows in both parts; change data.split or data.window.length");
  return parts;
}

// Every array of the other data has rows of the shape that training has.
void check_alike(const DataRecord& record, const Config& config, const Dataset& other) {
  const auto check = [&](const std::string& name, const Shape& row) {
    const Shape& found = other.array(name).sample;
    check_input(found == row, other.files().front(), ": array \"", name, "\" has samples of shape ", found,
                ", the training data has ", row);
  };
  for (const DataRecord::Input& input : record.inputs) check(input.array, input.row);
  if (other.find_or_none(config.data.target) >= 0) check(config.data.target, record.target_row);
}

// Inputs that are read as integers are in range.
void check_integers(const Config& config, const Dataset& dataset) {
  for (const std::string& input : config.data.inputs) {
    const std::int64_t below = config.model.integers_below(input);
    if (below > 0) dataset.check_labels(dataset.find(input), below);
  }
}

// ---- What the model reads ----------------------------------------------------------------------

// Without normalisation: that comes from the training samples.
DataRecord record_of(const Config& config, const Dataset& train, const Dataset* test) {
  DataRecord record;
  for (const std::string& name : config.data.inputs) {
    const DatasetArray& array = train.array(name);
    DType dtype = array.dtype;
    // Data of two kinds is read as numbers.
    if (test != nullptr && test->array(name).dtype != dtype && dtype == DType::kU8) dtype = test->array(name).dtype;
    record.inputs.push_back({name, dtype, array.sample, {}});
  }
  const DatasetArray& target = train.array(config.data.target);
  record.target_row = target.sample;
  record.class_names = target.class_names;
  record.rows = train.size();
  return record;
}

std::vector<ListedTransform> transforms_of(const Config& config, const std::string& array) {
  std::vector<ListedTransform> out;
  for (const DataTransform& transform : config.data.transforms) {
    if (transform.array == array) out.push_back(transform.listed);
  }
  return out;
}

bool has_numbers(const std::vector<ListedTransform>& transforms) {
  return std::ranges::any_of(transforms, [](const ListedTransform& one) {
    return one.transform->stage() == Transform::Stage::kNumbers;
  });
}

Shape after(const std::vector<ListedTransform>& transforms, Shape shape) {
  for (const auto stage : {Transform::Stage::kElements, Transform::Stage::kNumbers}) {
    for (const ListedTransform& one : transforms) {
      if (one.transform->stage() == stage) shape = one.transform->output(shape);
    }
  }
  return shape;
}

// Bytes are normalised on the device where the op can do it.
bool stays_bytes(const Config& config, const DataRecord::Input& input, const LoaderInput& loaded, const Shape& shape) {
  const auto features = static_cast<std::int64_t>(input.normalization.scale.size());
  const bool fits = features <= 1 || (features <= std::int64_t{16} && shape.rank() > 0 && shape[-1] == features);
  return input.dtype == DType::kU8 && config.data.mixup == 0 && !has_numbers(loaded.transforms) && fits;
}

void describe_input(const Config& config, RunData& data, std::size_t index) {
  const DataRecord::Input& input = data.record.inputs[index];
  LoaderInput loaded{.array = input.array, .transforms = transforms_of(config, input.array)};
  Shape shape = config.data.windows.input_shape(input.row);
  if (index == 0 && !config.data.sample_shape.empty()) {
    const Shape given{std::span<const std::int64_t>(config.data.sample_shape)};
    check_input(given.elements() == shape.elements(), "data.sample_shape: found ", given, " (", given.elements(),
                " elements), expected as many elements as array \"", input.array, "\" has for a sample: ", shape);
    shape = given;
    loaded.sample_shape = given;
  }
  shape = after(loaded.transforms, shape);
  ModelInput model{.name = input.array, .sample = shape};
  if (config.model.integers_below(input.array) > 0) {
    check_input(loaded.transforms.empty() && config.data.mixup == 0, "data.transform: array \"", input.array,
                "\" is read as integers, which cannot be transformed");
    loaded.dtype = model.dtype = DType::kI32;
  } else if (stays_bytes(config, input, loaded, shape)) {
    loaded.dtype = model.dtype = DType::kU8;
    model.shift = input.normalization.shift;
    model.scale = input.normalization.scale;
  } else {
    loaded.normalization = input.normalization;
  }
  data.inputs.push_back(std::move(loaded));
  data.model_inputs.push_back(std::move(model));
}

// The rest of `data` from its record.
void describe_inputs(const Config& config, RunData& data) {
  for (std::size_t i = 0; i < data.record.inputs.size(); ++i) describe_input(config, data, i);
  data.target = {config.train.loss->target_type(), config.data.windows.target_shape(data.record.target_row), nullptr};
  const auto transforms = transforms_of(config, config.data.target);
  check_input(transforms.empty() || data.target.dtype == DType::kF32, "data.transform: ", config.train.loss->kind(),
              " takes the numbers of classes as they are; leave one_hot out");
  data.target.shape = after(transforms, data.target.shape);
}

// Each rank looks at some of the parts; all get the same.
Normalization normalize_together(const Config& config, const Subset& train, int array, Communicator& communicator) {
  const NormalizeOptions& options = config.data.normalize;
  Normalization out;
  if (!needs_moments(options)) {
    together(communicator, [&] { out = normalization_from(options, train, array, {}); });
    return out;
  }
  std::vector<double> mine;
  together(communicator, [&] {
    for (int part = communicator.rank(); part < kMomentParts; part += communicator.size()) {
      const std::vector<double> moments = compute_moments(options, train, array, part);
      mine.push_back(static_cast<double>(moments.size()));
      mine.insert(mine.end(), moments.begin(), moments.end());
    }
  });
  const auto all = gather_doubles(communicator, mine, "normalisation");
  std::vector<std::size_t> at(all.size(), 0);
  std::vector<std::vector<double>> parts;
  for (int part = 0; part < kMomentParts; ++part) {
    const auto rank = static_cast<std::size_t>(part % communicator.size());
    const auto count = static_cast<std::size_t>(all[rank].at(at[rank]++));
    const auto begin = all[rank].begin() + static_cast<std::ptrdiff_t>(at[rank]);
    parts.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(count));
    at[rank] += count;
  }
  together(communicator, [&] { out = normalization_from(options, train, array, parts); });
  return out;
}

void check_same_data(const DataRecord& kept, const DataRecord& found) {
  if (kept.fingerprint == found.fingerprint) return;
  bad_input("data.train: is not the data that the run began with (fingerprint ", found.fingerprint, " and ", found.rows,
            " rows, then ", kept.fingerprint, " and ", kept.rows, "); restore it, or start a new run");
}

}  // namespace

RunData open_run_data(const Config& config, Communicator& communicator, const OpenOptions& options) {
  RunData data;
  data.workers_of_node = workers_of_node(communicator);
  const DataNeed need = options.record ? options.need : DataNeed::kTraining;
  const bool test_alone = !config.data.test.empty(), cuts = config.data.split > 0 && !test_alone;
  const bool opens_train = need == DataNeed::kTraining || (need == DataNeed::kTest && cuts);
  std::shared_ptr<Dataset> train, test;
  std::vector<std::shared_ptr<Dataset>> opened;
  together(communicator, [&] {
    if (opens_train) opened.push_back(train = describe_dataset(config, config.data.train, needed_arrays(config)));
    if (need != DataNeed::kNothing && test_alone) {
      opened.push_back(test = describe_dataset(config, config.data.test, needed_arrays(config)));
    }
    if (train) data.record = record_of(config, *train, test.get());
    if (options.record) data.record.inputs = options.record->inputs;
    if (options.record && !train) data.record = *options.record;
    if (test) check_alike(data.record, config, *test);
  });
  hold_data(config, communicator, opened, options.threads);
  together(communicator, [&] {
    for (const auto& dataset : opened) check_integers(config, *dataset);
    if (train) data.record.fingerprint = hex_of(train->fingerprint());
    if (train && options.record) check_same_data(*options.record, data.record);
    if (test) data.test = whole(test, config.data.windows);
    if (train && cuts) {
      Split parts = config.data.windows.by_rows() ? cut(config, *train) : cut_series(config, *train);
      data.train = {train, std::move(parts.train), config.data.windows};
      data.test = {train, std::move(parts.test), config.data.windows};
    } else if (train) {
      data.train = whole(train, config.data.windows);
    }
  });
  for (DataRecord::Input& input : data.record.inputs) {
    if (options.record || config.model.integers_below(input.array) > 0) continue;
    input.normalization = normalize_together(config, data.train, train->find(input.array), communicator);
  }
  together(communicator, [&] { describe_inputs(config, data); });
  return data;
}

RunData run_data_from(const Config& config, const Subset& train, const Subset& test) {
  RunData data;
  data.train = train;
  data.test = test;
  data.record = record_of(config, *train.dataset, test.dataset.get());
  data.record.fingerprint = hex_of(train.dataset->fingerprint());
  check_integers(config, *train.dataset);
  if (data.has_test()) {
    check_alike(data.record, config, *test.dataset);
    check_integers(config, *test.dataset);
  }
  for (DataRecord::Input& input : data.record.inputs) {
    if (config.model.integers_below(input.array) > 0) continue;
    input.normalization = compute_normalization(config.data.normalize, train, train.dataset->find(input.array));
  }
  describe_inputs(config, data);
  return data;
}

Subset open_like(const Config& config, const RunData& run, const std::string& source, Communicator& communicator) {
  std::shared_ptr<Dataset> dataset;
  together(communicator, [&] {
    dataset = describe_dataset(config, {source}, needed_arrays(config));
    check_alike(run.record, config, *dataset);
  });
  hold_data(config, communicator, {dataset}, 1);
  Subset subset;
  together(communicator, [&] {
    check_integers(config, *dataset);
    subset = whole(dataset, config.data.windows);
  });
  return subset;
}

Subset open_for_prediction(const Config& config, const RunData& run, const std::string& source) {
  const auto dataset = describe_dataset(config, {source}, config.data.inputs);
  check_alike(run.record, config, *dataset);
  hold_data(config, *make_single_communicator(), {dataset}, 1);
  check_integers(config, *dataset);
  return whole(dataset, config.data.windows);
}

// ---- Loading -----------------------------------------------------------------------------------

bool mixes_classes(const Config& config) {
  return config.data.mixup > 0 && config.train.loss->target_type() == DType::kI32;
}

namespace {

// Cores of this worker: those it is bound to, or its share of all.
int own_cores(int workers_of_node) {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  const int share = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)) / workers_of_node;
  return std::clamp(share, 1, allowed);
}

}  // namespace

std::unique_ptr<Loader> make_loader(const Config& config, const RunData& data, const Subset& subset, LoaderUse use,
                                    std::int64_t microbatches, std::int64_t classes) {
  const bool training = use == LoaderUse::kTraining;
  for (const LoaderInput& input : data.inputs) {
    const DatasetArray& array = subset.dataset->array(input.array);
    check_input(input.dtype != DType::kU8 || array.dtype == DType::kU8, subset.dataset->files().front(), ": array \"",
                input.array, "\" is of ", name_of(array.dtype), ", the model was trained on bytes; store it as u8");
  }
  LoaderOptions options{.inputs = data.inputs,
                        .seed = config.run.seed,
                        .global_batch = training ? config.train.global_batch : config.evaluate.batch,
                        .microbatches = microbatches,
                        .training = training};
  options.order = SampleOrder::kSequential;
  if (training && config.data.shuffle) {
    options.order = subset.dataset->all_held() ? SampleOrder::kShuffled : SampleOrder::kWindow;
    options.group_blocks = blocks_of_group(config, *subset.dataset, microbatches);
  }
  if (use == LoaderUse::kPrediction) return std::make_unique<Loader>(subset, std::move(options));
  options.target = config.data.target;
  options.target_dtype = data.target.dtype;
  options.target_is_probability = config.train.loss->kind() == "binary_cross_entropy";
  options.target_transforms = transforms_of(config, config.data.target);
  options.classes = classes > 0 && config.data.classes > 0 ? config.data.classes : classes;
  options.weights = config.data.weights;
  if (training) {
    options.mixup = config.data.mixup;
    options.mixup_index = config.data.mixup_index;
  }
  if (training && mixes_classes(config)) {
    options.target_dtype = DType::kF32;
    options.target_transforms.push_back({0, one_hot(classes)});
  }
  return std::make_unique<Loader>(subset, std::move(options));
}

BatchQueueOptions queue_options(const Config& config, const RunData& data, const Loader& loader) {
  BatchQueueOptions options;
  options.threads = static_cast<int>(config.data.threads);
  const int spare = own_cores(data.workers_of_node) - static_cast<int>(config.run.threads);
  if (config.data.threads == 0) {
    // A small copy costs less than handing it over; a large one is worth a core that has nothing else to do.
    constexpr std::size_t kLargeBatch = 65536;
    constexpr int kMostThreads = 4;
    const std::size_t batch = loader.sample_bytes() * static_cast<std::size_t>(loader.batch_size(0));
    if (!loader.copies()) {
      options.threads = std::clamp(spare, 1, kMostThreads);
    } else if (spare > 0 && batch >= kLargeBatch) {
      options.threads = 1;
    }
  }
  options.may_spin = spare >= options.threads;
  options.memory = bytes_of_queue(config, loader.options().training, data.workers_of_node);
  return options;
}

}  // namespace lockstep
