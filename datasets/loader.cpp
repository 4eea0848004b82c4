#include "datasets/loader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/base/error.h"
#include "datasets/convert.h"
#include "datasets/microbatches.h"

namespace lockstep {
namespace {

// Stored values as i32, without a check.
void convert_integers(const DatasetArray& about, const std::byte* from, std::int64_t elements, std::int32_t* out) {
  with_values(about.dtype, from, [&](const auto* values) {
    for (std::int64_t i = 0; i < elements; ++i) out[i] = static_cast<std::int32_t>(as_double(values[i]));
  });
}

// True where x -> (x - shift) * scale is x -> x.
bool is_identity(const Normalization& normalization) {
  return std::ranges::all_of(normalization.shift, [](double shift) { return shift == 0.0; }) &&
         std::ranges::all_of(normalization.scale, [](double scale) { return scale == 1.0; });
}

// Memory of at least that size that is kept.
std::byte* room_of(std::vector<std::byte>& memory, std::size_t bytes) {
  if (memory.size() < bytes) memory.resize(bytes);
  return memory.data();
}

}  // namespace

// ---- Making ------------------------------------------------------------------------------------

Loader::Loader(Subset subset, LoaderOptions options)
    : subset_(std::move(subset)), options_(std::move(options)) {
  const Dataset& dataset = *subset_.dataset;
  const Windows& windows = subset_.windows;
  check_input(size() > 0, dataset.files()[0], ": no samples are left to load");
  check_input(options_.global_batch >= 1, "the global batch is ", options_.global_batch,
              ", expected at least 1");
  check_input(!options_.inputs.empty(), "no input arrays are named");
  gapless_ = std::ranges::adjacent_find(subset_.ids, [](std::int64_t a, std::int64_t b) { return b != a + 1; }) ==
             subset_.ids.end();
  for (const std::int64_t id : subset_.ids) {
    require(id >= 0 && windows.first_row(id) + windows.span() <= dataset.size(), "sample ", id, " of ", dataset.size(),
            " rows");
  }
  const std::int64_t input_rows = windows.by_rows() ? 1 : windows.length;
  for (const LoaderInput& input : options_.inputs) {
    inputs_.push_back(make_column(input, 0, input_rows));
    check_column(inputs_.back());
  }
  if (!options_.target.empty()) {
    const LoaderInput target{.array = options_.target, .dtype = options_.target_dtype,
                             .transforms = options_.target_transforms};
    if (windows.by_rows()) {
      target_ = make_column(target, 0, 1);
    } else if (windows.last_only) {
      target_ = make_column(target, windows.length - 1 + windows.horizon, 1);
    } else {
      target_ = make_column(target, windows.horizon, windows.length);
    }
    check_target(*target_);
  }
  if (!options_.weights.empty()) {
    weights_ = make_column({.array = options_.weights}, 0, 1);
    check_weights(*weights_);
  }
  if (options_.mixup > 0 && options_.training) {
    mixup_.emplace(options_.mixup, options_.seed, options_.mixup_index);
    for (const Column* column : columns()) {
      require(column == (weights_ ? &*weights_ : nullptr) || column->dtype == DType::kF32, "mixup mixes f32");
    }
  }
  std::size_t room = options_.convert_limit;
  for (Column* column : columns()) convert_once(*column, room);
  for (Column* column : columns()) choose_source(*column);
  make_window();
  if (options_.order != SampleOrder::kWindow) {
    for (EpochOrder& order : orders_) order.positions.resize(static_cast<std::size_t>(size()));
  }
}

// The target and the weights first: they are small.
std::vector<Loader::Column*> Loader::columns() {
  std::vector<Column*> out;
  if (target_) out.push_back(&*target_);
  if (weights_) out.push_back(&*weights_);
  for (Column& input : inputs_) out.push_back(&input);
  return out;
}

Loader::Column Loader::make_column(const LoaderInput& input, std::int64_t first_row, std::int64_t rows) const {
  const Dataset& dataset = *subset_.dataset;
  Column column;
  column.array = dataset.find(input.array);
  const DatasetArray& about = dataset.arrays()[static_cast<std::size_t>(column.array)];
  column.dtype = input.dtype;
  column.first_row = first_row;
  column.rows = rows;
  column.row_bytes = about.sample_bytes();
  const Windows& windows = subset_.windows;
  column.stored = first_row > 0 ? windows.target_shape(about.sample) : windows.input_shape(about.sample);
  if (input.sample_shape) {
    check_input(input.sample_shape->elements() == column.stored.elements(), dataset.files()[0], ": array \"",
                about.name, "\" has samples of ", column.stored, ", which are not ", *input.sample_shape, ": ",
                column.stored.elements(), " elements against ", input.sample_shape->elements());
    column.stored = *input.sample_shape;
  }
  check_fits(input.normalization, about);
  if (!is_identity(input.normalization)) column.normalization = input.normalization;
  column.shape = column.stored;
  for (const ListedTransform& one : input.transforms) {
    const Transform& transform = *one.transform;
    if (transform.training_only() && !options_.training) continue;
    (transform.stage() == Transform::Stage::kElements ? column.elements : column.numbers).push_back(one);
  }
  // Elements that have moved are no longer the features that were measured.
  const auto features = static_cast<std::int64_t>(column.normalization.scale.size());
  check_input(column.elements.empty() || features <= 1 || (column.stored.rank() > 0 && features == column.stored[-1]),
              dataset.files()[0], ": array \"", about.name, "\": ", features,
              " features are normalised, but transforms move the elements of samples of ", column.stored,
              "; use data.normalize_axis = \"array\"");
  for (const auto* stage : {&column.elements, &column.numbers}) {
    for (const ListedTransform& one : *stage) column.shape = one.transform->output(column.shape);
  }
  const bool plain = column.normalization.scale.empty() && column.numbers.empty();
  require(column.dtype == DType::kF32 ||
              (column.dtype == DType::kI32 && plain && column.elements.empty()) ||
              (column.dtype == DType::kU8 && plain && about.dtype == DType::kU8),
          "array \"", about.name, "\": a loader of ", name_of(column.dtype), " from ", name_of(about.dtype));
  column.bytes = static_cast<std::size_t>(column.shape.elements()) * size_of(column.dtype);
  return column;
}

void Loader::check_column(const Column& column) const {
  const Dataset& dataset = *subset_.dataset;
  if (dataset.held(column.array)) dataset.check_finite(column.array);
  for (const ListedTransform& one : column.numbers) {
    if (one.transform->integers_below() > 0) dataset.check_labels(column.array, one.transform->integers_below());
  }
}

void Loader::convert_once(Column& column, std::size_t& room) {
  const Dataset& dataset = *subset_.dataset;
  const DatasetArray& about = dataset.arrays()[static_cast<std::size_t>(column.array)];
  if (!dataset.held(column.array) || !column.elements.empty() || !column.numbers.empty()) return;
  column.copied_row_bytes = static_cast<std::size_t>(about.sample.elements()) * size_of(column.dtype);
  if (about.dtype == column.dtype && column.normalization.scale.empty()) {
    column.copied = dataset.row(column.array, 0);
    return;
  }
  for (const Column* other : columns()) {  // a series is input and target
    if (other->array == column.array && other->dtype == column.dtype && other->normalization == column.normalization) {
      column.copied = other->copied;
    }
    if (column.copied != nullptr) return;
  }
  const std::size_t bytes = column.copied_row_bytes * static_cast<std::size_t>(dataset.size());
  if (bytes > room) return;
  room -= bytes;
  column.converted.resize(bytes);
  if (column.dtype == DType::kI32) {
    convert_integers(about, dataset.row(column.array, 0), dataset.size() * about.sample.elements(),
                     reinterpret_cast<std::int32_t*>(column.converted.data()));
  } else {
    convert_samples(about.dtype, column.normalization, dataset.row(column.array, 0),
                    dataset.size() * about.sample.elements(), reinterpret_cast<float*>(column.converted.data()));
  }
  column.copied = column.converted.data();
}

void Loader::choose_source(Column& column) {
  const Dataset& dataset = *subset_.dataset;
  if (dataset.held(column.array)) return;
  constexpr std::size_t kLargeRow = 4096;  // a call costs less than a second copy
  column.alone = dataset.rows_alone(column.array) && column.row_bytes * static_cast<std::size_t>(column.rows) >= kLargeRow;
  std::vector<int>& arrays = column.alone ? alone_ : streamed_;
  const auto found = std::ranges::find(arrays, column.array);
  if (!column.alone) column.streamed = static_cast<int>(found - arrays.begin());
  if (found == arrays.end()) arrays.push_back(column.array);
}

// Where blocks are read ahead: always in the order of windows, and in the order of the rows where reading some of them
// means to decode more.
void Loader::make_window() {
  const Dataset& dataset = *subset_.dataset;
  const bool rows_alone = std::ranges::all_of(streamed_, [&](int array) { return dataset.rows_alone(array); });
  const bool sequential = options_.order == SampleOrder::kSequential && !streamed_.empty() && !rows_alone;
  if (options_.order != SampleOrder::kWindow && !sequential) return;
  std::vector<Range> blocks;
  std::int64_t at = 0;
  for (const RowBlock& block : dataset.blocks()) {
    std::int64_t end = at;
    while (end < size() && subset_.windows.first_row(subset_.ids[static_cast<std::size_t>(end)]) < block.end) ++end;
    blocks.push_back({at, end});
    at = end;
  }
  window_.emplace(std::move(blocks), WindowOrderOptions{.shuffled = !sequential,
                                                        .seed = options_.seed,
                                                        .global_batch = options_.global_batch,
                                                        .microbatches = options_.microbatches,
                                                        .group_blocks = options_.group_blocks});
}

std::unique_ptr<BlockStream> Loader::make_stream(Range microbatches, std::size_t memory) const {
  BlockStreamOptions options;
  options.arrays = streamed_;
  options.expected = alone_;
  options.lanes = microbatches;
  options.memory = memory;
  if (window_->lanes() == 1) options.lanes = {0, 1};
  options.check = [this](int array, std::int64_t first, std::int64_t rows, const std::byte* values) {
    for (const Column& input : inputs_) {
      if (input.array == array) subset_.dataset->check_finite(array, first, rows, values);
    }
  };
  return std::make_unique<BlockStream>(subset_, *window_, std::move(options));
}

bool Loader::copies() const {
  const auto copied = [](const Column& column) { return column.copied != nullptr; };
  return std::ranges::all_of(inputs_, copied) && (!target_ || copied(*target_)) && (!weights_ || copied(*weights_)) &&
         !mixup_;
}

std::size_t Loader::sample_bytes() const {
  std::size_t bytes = (target_ ? target_->bytes : 0) + (weights_ ? weights_->bytes : 0);
  for (const Column& input : inputs_) bytes += input.bytes;
  return bytes;
}

void Loader::check_target(const Column& target) const {
  const Dataset& dataset = *subset_.dataset;
  dataset.check_finite(target.array);
  std::int64_t below = options_.classes;
  if (below == 0 && target.dtype == DType::kI32) below = std::numeric_limits<std::int32_t>::max();
  for (const ListedTransform& one : target.numbers) {
    if (below == 0) below = one.transform->integers_below();
  }
  if (below > 0) dataset.check_labels(target.array, below);
  if (options_.target_is_probability && target.numbers.empty()) dataset.check_range(target.array, 0, 1);
}

void Loader::check_weights(const Column& weights) const {
  const Dataset& dataset = *subset_.dataset;
  const DatasetArray& about = dataset.arrays()[static_cast<std::size_t>(weights.array)];
  check_input(about.sample.elements() == 1, dataset.files()[0], ": array \"", about.name,
              "\" of weights has samples of ", about.sample, ", expected one number each");
  check_input(subset_.windows.by_rows(), "data.weights: windows over a series have no weights");
  dataset.check_finite(weights.array);
  bool some = false;
  dataset.for_each_block(weights.array, [&](std::int64_t first, std::int64_t rows, const std::byte* bytes) {
    with_values(about.dtype, bytes, [&](const auto* values) {
      for (std::int64_t i = 0; i < rows; ++i) {
        some = some || as_double(values[i]) > 0;
        check_input(as_double(values[i]) >= 0, dataset.place(weights.array, first + i), ": weight ",
                    as_double(values[i]), ", expected 0 or more");
      }
    });
  });
  check_input(some, dataset.files()[0], ": array \"", about.name, "\": all weights are 0: there is nothing to learn from");
}

std::int64_t Loader::batch_size(std::int64_t batch) const {
  return batch_positions(size(), options_.global_batch, batch).size();
}

// ---- Filling -----------------------------------------------------------------------------------

void Loader::find_positions(std::int64_t epoch, std::int64_t batch, Range range, Scratch& scratch) const {
  scratch.positions.resize(static_cast<std::size_t>(range.size()));
  if (window_) return window_->positions(epoch, batch, range, scratch.positions);
  const std::int64_t first = batch_positions(size(), options_.global_batch, batch).begin + range.begin;
  if (options_.order == SampleOrder::kSequential) {
    for (std::size_t i = 0; i < scratch.positions.size(); ++i) scratch.positions[i] = first + static_cast<std::int64_t>(i);
    return;
  }
  const std::lock_guard lock(mutex_);
  EpochOrder* order = &orders_[0];
  if (orders_[1].epoch == epoch || (orders_[0].epoch != epoch && orders_[1].epoch < orders_[0].epoch)) order = &orders_[1];
  if (order->epoch != epoch) {
    fill_epoch_order(options_.order, options_.seed, epoch, order->positions);
    order->epoch = epoch;
  }
  std::copy_n(order->positions.begin() + first, range.size(), scratch.positions.begin());
}

// The samples at scratch.positions. Ids without a gap are not looked up: that is a miss of the cache for each.
void Loader::find_ids(Scratch& scratch) const {
  scratch.ids.resize(scratch.positions.size());
  std::ranges::transform(scratch.positions, scratch.ids.begin(), [this](std::int64_t position) {
    return gapless_ ? subset_.ids.front() + position : subset_.ids[static_cast<std::size_t>(position)];
  });
}

void Loader::fill(std::int64_t epoch, std::int64_t batch, Range range, const BatchBuffers& to, Scratch& scratch,
                  BlockStream* stream) const {
  const std::int64_t samples = batch_size(batch);
  require(epoch >= 0 && range.begin >= 0 && range.begin <= range.end && range.end <= samples, "range [", range.begin, ", ",
          range.end, ") of a batch of ", samples, " in epoch ", epoch);
  require(to.inputs.size() <= inputs_.size(), to.inputs.size(), " buffers for ", inputs_.size(), " inputs");
  require(to.target == nullptr || target_.has_value(), "a buffer for a target, but the loader has none");
  require(to.weights == nullptr || weights_.has_value(), "a buffer for weights, but the loader has none");
  if (range.size() == 0) return;
  const bool located = stream != nullptr;
  if (located) {
    stream->locate(epoch, batch, range, scratch.located);
    scratch.positions.resize(scratch.located.size());
    std::ranges::transform(scratch.located, scratch.positions.begin(), &BlockStream::Sample::position);
  } else {
    find_positions(epoch, batch, range, scratch);
  }
  find_ids(scratch);

  for (std::size_t i = 0; i < to.inputs.size(); ++i) {
    if (to.inputs[i] != nullptr) fill_column(inputs_[i], epoch, static_cast<std::byte*>(to.inputs[i]), scratch, located);
  }
  if (to.target != nullptr) fill_column(*target_, epoch, static_cast<std::byte*>(to.target), scratch, located);
  if (to.weights != nullptr) fill_column(*weights_, epoch, reinterpret_cast<std::byte*>(to.weights), scratch, located);
  if (to.samples != nullptr) std::ranges::copy(scratch.ids, to.samples);
  if (mixup_) mix(epoch, batch, range, to, scratch);
  if (located) stream->release(epoch, batch, range);
}

void Loader::fill_column(const Column& column, std::int64_t epoch, std::byte* out, Scratch& scratch, bool located) const {
  if (column.copied != nullptr) return copy_rows(column, out, scratch);
  if (!located && fill_stretch(column, out, scratch)) return;
  if (fill_rows_alone(column, out, scratch)) return;
  for (std::size_t i = 0; i < scratch.ids.size(); ++i, out += column.bytes) {
    prepare(column, stored_rows(column, i, scratch, located), epoch, scratch.ids[i], out, scratch);
  }
}

// Rows of a large array lie far apart: the next ones are asked for while one is copied.
void Loader::copy_rows(const Column& column, std::byte* out, const Scratch& scratch) const {
  constexpr std::size_t kAhead = 16;
  const std::size_t bytes = column.bytes, samples = scratch.ids.size();
  const auto row_of = [&](std::size_t i) {
    return column.copied +
           static_cast<std::size_t>(subset_.windows.first_row(scratch.ids[i]) + column.first_row) * column.copied_row_bytes;
  };
  for (std::size_t i = 0; i < samples; ++i, out += bytes) {
    if (i + kAhead < samples) {
      const std::byte* const coming = row_of(i + kAhead);
      __builtin_prefetch(coming);
      __builtin_prefetch(coming + bytes - 1);
    }
    if (bytes == sizeof(std::uint32_t)) {  // one number: a copy of known size is much cheaper
      std::memcpy(out, row_of(i), sizeof(std::uint32_t));
    } else {
      std::memcpy(out, row_of(i), bytes);
    }
  }
}

// Rows that lie in the file as the model sees them.
bool Loader::fill_rows_alone(const Column& column, std::byte* out, Scratch& scratch) const {
  const Dataset& dataset = *subset_.dataset;
  const bool as_stored = dataset.arrays()[static_cast<std::size_t>(column.array)].dtype == column.dtype &&
                         column.normalization.scale.empty() && column.elements.empty() && column.numbers.empty();
  if (!column.alone || !as_stored) return false;
  for (const std::int64_t id : scratch.ids) {
    const std::int64_t first = subset_.windows.first_row(id) + column.first_row;
    dataset.read(column.array, {first, first + column.rows}, out, scratch.reader);
    dataset.check_finite(column.array, first, column.rows, out);
    out += column.bytes;
  }
  return true;
}

// Rows that follow one another and only have to be converted are read at once.
bool Loader::fill_stretch(const Column& column, std::byte* out, Scratch& scratch) const {
  const auto count = static_cast<std::int64_t>(scratch.ids.size());
  const bool follow = subset_.windows.by_rows() && scratch.ids.back() - scratch.ids.front() + 1 == count &&
                      std::ranges::is_sorted(scratch.ids);
  if (!follow || !column.elements.empty() || !column.numbers.empty()) return false;
  if (subset_.dataset->held(column.array)) return false;
  const Dataset& dataset = *subset_.dataset;
  const DatasetArray& about = dataset.arrays()[static_cast<std::size_t>(column.array)];
  const Range rows{scratch.ids.front(), scratch.ids.back() + 1};
  const bool as_stored = about.dtype == column.dtype && column.normalization.scale.empty();
  std::byte* const read =
      as_stored ? out : room_of(scratch.row, static_cast<std::size_t>(count) * column.row_bytes);
  dataset.read(column.array, rows, read, scratch.reader);
  dataset.check_finite(column.array, rows.begin, count, read);
  if (as_stored) return true;
  if (column.dtype == DType::kI32) {
    convert_integers(about, read, count * about.sample.elements(), reinterpret_cast<std::int32_t*>(out));
  } else {
    convert_samples(about.dtype, column.normalization, read, count * about.sample.elements(),
                    reinterpret_cast<float*>(out));
  }
  return true;
}

// The rows of sample `i` as they are read.
const std::byte* Loader::stored_rows(const Column& column, std::size_t i, Scratch& scratch, bool located) const {
  const Dataset& dataset = *subset_.dataset;
  const std::int64_t first = subset_.windows.first_row(scratch.ids[i]) + column.first_row;
  if (dataset.held(column.array)) return dataset.row(column.array, first);
  if (located && !column.alone && scratch.located[i].bytes != nullptr) {
    const BlockStream::Sample& sample = scratch.located[i];
    return (*sample.bytes)[static_cast<std::size_t>(column.streamed)].data() +
           static_cast<std::size_t>(first - sample.first_row) * column.row_bytes;
  }
  std::byte* const room = room_of(scratch.row, static_cast<std::size_t>(column.rows) * column.row_bytes);
  dataset.read(column.array, {first, first + column.rows}, room, scratch.reader);
  dataset.check_finite(column.array, first, column.rows, room);
  return room;
}

// From the rows of a sample as they are read to what the model sees.
void Loader::prepare(const Column& column, const std::byte* from, std::int64_t epoch, std::int64_t id, std::byte* out,
                     Scratch& scratch) const {
  const DatasetArray& about = subset_.dataset->arrays()[static_cast<std::size_t>(column.array)];
  DType dtype = about.dtype;  // of what `from` points to, and its shape
  Shape shape = column.stored;
  int turn = 0;
  // The place for what comes next: the end where nothing comes after it.
  const auto next = [&](std::size_t bytes, bool last) {
    return last ? out : room_of(scratch.between[turn++ % 2], bytes);
  };
  const auto random_of = [&](const ListedTransform& one) { return SampleRandom(options_.seed, one.index, epoch, id); };
  if (column.dtype == DType::kI32) {
    convert_integers(about, from, column.stored.elements(), reinterpret_cast<std::int32_t*>(out));
    return;
  }
  if (!column.elements.empty() && dtype != DType::kU8 && dtype != DType::kF32) {
    std::byte* const to = next(static_cast<std::size_t>(shape.elements()) * sizeof(float), false);
    convert_samples(dtype, {}, from, shape.elements(), reinterpret_cast<float*>(to));
    dtype = DType::kF32;
    from = to;
  }
  const bool stays = column.dtype == dtype && column.normalization.scale.empty();  // no conversion afterwards
  for (std::size_t t = 0; t < column.elements.size(); ++t) {
    const ListedTransform& one = column.elements[t];
    const Shape becomes = one.transform->output(shape);
    const bool last = t + 1 == column.elements.size() && stays && column.numbers.empty();
    std::byte* const to = next(static_cast<std::size_t>(becomes.elements()) * size_of(dtype), last);
    const SampleRandom random = random_of(one);
    const SampleRandom* const drawn = options_.training ? &random : nullptr;
    if (dtype == DType::kU8) {
      one.transform->apply(shape, reinterpret_cast<const std::uint8_t*>(from), reinterpret_cast<std::uint8_t*>(to),
                           drawn);
    } else {
      one.transform->apply(shape, reinterpret_cast<const float*>(from), reinterpret_cast<float*>(to), drawn);
    }
    shape = becomes;
    from = to;
  }
  if (!stays) {
    std::byte* const to = next(static_cast<std::size_t>(shape.elements()) * sizeof(float), column.numbers.empty());
    convert_samples(dtype, column.normalization, from, shape.elements(), reinterpret_cast<float*>(to));
    from = to;
  }
  for (std::size_t t = 0; t < column.numbers.size(); ++t) {
    const ListedTransform& one = column.numbers[t];
    const Shape becomes = one.transform->output(shape);
    std::byte* const to =
        next(static_cast<std::size_t>(becomes.elements()) * sizeof(float), t + 1 == column.numbers.size());
    const SampleRandom random = random_of(one);
    one.transform->apply(shape, reinterpret_cast<const float*>(from), reinterpret_cast<float*>(to),
                         options_.training ? &random : nullptr);
    shape = becomes;
    from = to;
  }
  if (from != out) std::memcpy(out, from, column.bytes);
}

void Loader::mix(std::int64_t epoch, std::int64_t batch, Range range, const BatchBuffers& to, Scratch& scratch) const {
  const Microbatches cut(batch_size(batch), options_.microbatches);
  std::vector<Mixup::Rows>& arrays = scratch.to_mix;
  for (std::int64_t m = 0; m < cut.count; ++m) {
    const Range samples = cut.samples_of(m);
    if (samples.begin >= range.end || samples.end <= range.begin) continue;
    require(samples.begin >= range.begin && samples.end <= range.end, "mixup needs whole microbatches");
    const std::int64_t first = samples.begin - range.begin;
    arrays.clear();
    for (std::size_t i = 0; i < to.inputs.size(); ++i) {
      const std::int64_t elements = inputs_[i].shape.elements();
      if (to.inputs[i] != nullptr) arrays.push_back({static_cast<float*>(to.inputs[i]) + first * elements, elements});
    }
    if (to.target != nullptr) {
      const std::int64_t elements = target_->shape.elements();
      arrays.push_back({static_cast<float*>(to.target) + first * elements, elements});
    }
    mixup_->mix(epoch, batch, m,
                std::span(scratch.ids).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(samples.size())),
                arrays, scratch.mixed);
  }
}

std::vector<std::int64_t> Loader::sample_ids(std::int64_t epoch, std::int64_t batch) const {
  Scratch scratch;
  find_positions(epoch, batch, {0, batch_size(batch)}, scratch);
  find_ids(scratch);
  return scratch.ids;
}

}  // namespace lockstep
