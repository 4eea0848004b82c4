#include "datasets/loader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/base/error.h"

namespace lockstep {
namespace {

// Converts samples of consecutive rows. REQUIRES: dtype is kF32 or kI32.
void convert_rows(const Dataset& dataset, int array, DType dtype,
                  const Normalization& normalization, std::span<const std::int64_t> ids,
                  std::byte* out) {
  if (dtype == DType::kI32) {
    dataset.gather(array, ids, reinterpret_cast<std::int32_t*>(out));
    return;
  }
  const DatasetArray& about = dataset.arrays()[static_cast<std::size_t>(array)];
  auto* to = reinterpret_cast<float*>(out);
  for (const std::int64_t id : ids) {
    convert_samples(about, normalization, dataset.row(array, id), 1, to);
    to += about.sample.elements();
  }
}

// True where x -> (x - shift) * scale is x -> x.
bool is_identity(const Normalization& normalization) {
  return std::ranges::all_of(normalization.shift, [](double shift) { return shift == 0.0; }) &&
         std::ranges::all_of(normalization.scale, [](double scale) { return scale == 1.0; });
}

}  // namespace

Loader::Loader(Subset subset, LoaderOptions options)
    : subset_(std::move(subset)), options_(std::move(options)) {
  const Dataset& dataset = *subset_.dataset;
  check_input(size() > 0, dataset.files()[0], ": no samples are left to load");
  check_input(options_.global_batch >= 1, "the global batch is ", options_.global_batch,
              ", expected at least 1");
  check_input(!options_.inputs.empty(), "no input arrays are named");
  for (const std::int64_t id : subset_.ids) {
    require(id >= 0 && id < dataset.size(), "sample ", id, " of ", dataset.size());
  }
  for (const LoaderInput& input : options_.inputs) {
    inputs_.push_back(make_column(input));
    dataset.check_finite(inputs_.back().array);
  }
  if (!options_.target.empty()) {
    target_ = make_column({options_.target, options_.target_dtype, std::nullopt, {}});
    check_target(*target_);
  }
  if (!options_.weights.empty()) {
    weights_ = make_column({options_.weights, DType::kF32, std::nullopt, {}});
    check_weights(*weights_);
  }
  std::size_t room = options_.convert_limit;
  if (target_) convert_once(*target_, room);
  if (weights_) convert_once(*weights_, room);
  for (Column& input : inputs_) convert_once(input, room);
  order_.resize(static_cast<std::size_t>(size()));
}

Loader::Column Loader::make_column(const LoaderInput& input) const {
  const Dataset& dataset = *subset_.dataset;
  Column column;
  column.array = dataset.find(input.array);
  const DatasetArray& about = dataset.arrays()[static_cast<std::size_t>(column.array)];
  column.dtype = input.dtype;
  require(column.dtype == DType::kF32 || column.dtype == DType::kI32, "a loader of ",
          name_of(column.dtype));
  require(column.dtype == DType::kF32 || is_identity(input.normalization),
          "integers are not normalised");
  column.shape = input.sample_shape.value_or(about.sample);
  check_input(column.shape.elements() == about.sample.elements(), dataset.files()[0], ": array \"",
              about.name, "\" has samples of ", about.sample, ", which are not ", column.shape,
              ": ", about.sample.elements(), " elements against ", column.shape.elements());
  check_fits(input.normalization, about);
  if (!is_identity(input.normalization)) column.normalization = input.normalization;
  column.row_bytes = static_cast<std::size_t>(column.shape.elements()) * size_of(column.dtype);
  return column;
}

void Loader::convert_once(Column& column, std::size_t& room) const {
  const Dataset& dataset = *subset_.dataset;
  const DatasetArray& about = dataset.arrays()[static_cast<std::size_t>(column.array)];
  if (about.dtype == column.dtype && column.normalization.scale.empty()) {
    column.rows = dataset.row(column.array, 0);
    column.by_id = true;
    return;
  }
  const std::size_t bytes = column.row_bytes * static_cast<std::size_t>(size());
  if (bytes > room) return;
  room -= bytes;
  column.converted.resize(bytes);
  convert_rows(dataset, column.array, column.dtype, column.normalization, subset_.ids,
               column.converted.data());
  column.rows = column.converted.data();
}

void Loader::check_target(const Column& target) const {
  const Dataset& dataset = *subset_.dataset;
  dataset.check_finite(target.array);
  const bool labels = options_.classes > 0 || target.dtype == DType::kI32;
  if (!labels) return;
  const std::int64_t any = std::numeric_limits<std::int32_t>::max();
  dataset.check_labels(target.array, options_.classes > 0 ? options_.classes : any);
}

void Loader::check_weights(const Column& weights) const {
  const Dataset& dataset = *subset_.dataset;
  const DatasetArray& about = dataset.arrays()[static_cast<std::size_t>(weights.array)];
  check_input(about.sample.elements() == 1, dataset.files()[0], ": array \"", about.name,
              "\" of weights has samples of ", about.sample, ", expected one number each");
  dataset.check_finite(weights.array);
  for (std::int64_t id = 0; id < dataset.size(); ++id) {
    float weight = 0;
    dataset.gather(weights.array, std::span(&id, 1), &weight);
    check_input(weight >= 0, dataset.place(weights.array, id), ": weight ", weight,
                ", expected 0 or more");
  }
}

std::int64_t Loader::batch_size(std::int64_t batch) const {
  return batch_positions(size(), options_.global_batch, batch).size();
}

std::span<const std::int64_t> Loader::positions(std::int64_t epoch, std::int64_t batch,
                                                SampleRange range) {
  require(epoch >= 0, "epoch ", epoch);
  const SampleRange all = batch_positions(size(), options_.global_batch, batch);
  require(range.begin >= 0 && range.begin <= range.end && range.end <= all.size(), "range [",
          range.begin, ", ", range.end, ") of a batch of ", all.size());
  if (epoch != order_epoch_) {
    fill_epoch_order(options_.order, options_.seed, epoch, order_);
    order_epoch_ = epoch;
  }
  return std::span<const std::int64_t>(order_).subspan(
      static_cast<std::size_t>(all.begin + range.begin), static_cast<std::size_t>(range.size()));
}

void Loader::fill_column(const Column& column, std::span<const std::int64_t> positions,
                         std::byte* out) const {
  const std::size_t bytes = column.row_bytes;
  const std::int64_t* ids = subset_.ids.data();
  if (column.rows == nullptr) {
    for (const std::int64_t position : positions) {
      convert_rows(*subset_.dataset, column.array, column.dtype, column.normalization,
                   std::span(ids + position, 1), out);
      out += bytes;
    }
  } else if (bytes == sizeof(std::uint32_t)) {  // one number: a copy of known size is much cheaper
    for (const std::int64_t position : positions) {
      const std::int64_t row = column.by_id ? ids[position] : position;
      std::memcpy(out, column.rows + static_cast<std::size_t>(row) * 4, 4);
      out += 4;
    }
  } else {
    for (const std::int64_t position : positions) {
      const std::int64_t row = column.by_id ? ids[position] : position;
      std::memcpy(out, column.rows + static_cast<std::size_t>(row) * bytes, bytes);
      out += bytes;
    }
  }
}

void Loader::fill(std::int64_t epoch, std::int64_t batch, SampleRange range,
                  const BatchBuffers& to) {
  const std::span<const std::int64_t> where = positions(epoch, batch, range);
  require(to.inputs.size() <= inputs_.size(), to.inputs.size(), " buffers for ", inputs_.size(),
          " inputs");
  for (std::size_t i = 0; i < to.inputs.size(); ++i) {
    if (to.inputs[i] != nullptr) {
      fill_column(inputs_[i], where, static_cast<std::byte*>(to.inputs[i]));
    }
  }
  if (to.target != nullptr) {
    require(target_.has_value(), "a buffer for a target, but the loader has none");
    fill_column(*target_, where, static_cast<std::byte*>(to.target));
  }
  if (to.weights != nullptr) {
    require(weights_.has_value(), "a buffer for weights, but the loader has none");
    fill_column(*weights_, where, reinterpret_cast<std::byte*>(to.weights));
  }
  if (to.samples != nullptr) {
    std::ranges::transform(where, to.samples, [&](std::int64_t position) {
      return subset_.ids[static_cast<std::size_t>(position)];
    });
  }
}

std::vector<std::int64_t> Loader::sample_ids(std::int64_t epoch, std::int64_t batch) {
  std::vector<std::int64_t> out(static_cast<std::size_t>(batch_size(batch)));
  fill(epoch, batch, {0, batch_size(batch)}, {.samples = out.data()});
  return out;
}

}  // namespace lockstep
