// Batches for one worker. The loader knows the order of every epoch and writes the samples of any
// range of any batch into buffers of its caller, converted and normalised: inputs in f32, the
// target in f32 or i32.
//
// What a fill writes depends on (subset, options, epoch, batch, range) only: not on what was filled
// before, so a run can start anywhere, and the parts of W workers are together what one worker
// would read.
//
// A fill allocates nothing. One thread at a time. The prefetcher (datasets/prefetch.h) fills ahead.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/shape.h"
#include "datasets/dataset.h"
#include "datasets/normalize.h"
#include "datasets/sampler.h"

namespace lockstep {

// One input of the model.
struct LoaderInput {
  std::string array;
  DType dtype = DType::kF32;  // kF32, or kI32 without normalisation
  // Shape of a sample for the model, of as many elements as the stored one: a (64) as (8, 8, 1).
  std::optional<Shape> sample_shape = {};
  Normalization normalization = {};  // as from compute_normalization(); none where empty
};

struct LoaderOptions {
  std::vector<LoaderInput> inputs = {};
  std::string target = "";           // "": no target (prediction)
  DType target_dtype = DType::kF32;  // kF32 or kI32
  std::int64_t classes = 0;          // more than 0: targets are labels in [0, classes), checked
  std::string weights = "";          // array of one number per sample; "": none
  SampleOrder order = SampleOrder::kShuffled;
  std::uint64_t seed = 0;
  std::int64_t global_batch = 1;
  // Arrays are converted once, when the loader is made, as long as together they take no more than
  // this; the others are converted in each fill.
  std::size_t convert_limit = std::size_t{1} << 30;
};

// Where a fill writes. A pointer may be null: that part is then left out.
struct BatchBuffers {
  std::vector<void*> inputs = {};   // one for each input: float or int32_t, (samples, sample shape)
  void* target = nullptr;           // float or int32_t, (samples, target shape)
  float* weights = nullptr;         // (samples)
  std::int64_t* samples = nullptr;  // (samples): number of each sample in its dataset
};

class Loader {
 public:
  // Throws bad_input where an array is missing, a shape does not fit, an input or target is NaN or
  // infinite, a label is out of range, a weight is negative, the subset is empty or global_batch is
  // below 1.
  Loader(Subset subset, LoaderOptions options);

  std::int64_t size() const { return subset_.size(); }
  std::int64_t batches() const { return batches_per_epoch(size(), options_.global_batch); }
  // Samples in a batch: global_batch, fewer in the last batch of an epoch.
  std::int64_t batch_size(std::int64_t batch) const;

  const LoaderOptions& options() const { return options_; }
  const Subset& subset() const { return subset_; }
  const Shape& input_shape(int input) const { return inputs_[input].shape; }  // of one sample
  // Of one sample. REQUIRES: there is a target.
  const Shape& target_shape() const { return target_->shape; }

  // Writes the samples at `range` of the batch: {0, batch_size(batch)} is all of it.
  // REQUIRES: 0 <= epoch; 0 <= batch < batches(); the range is within the batch.
  void fill(std::int64_t epoch, std::int64_t batch, SampleRange range, const BatchBuffers& to);

  // Numbers in the dataset of the samples of a whole batch, in order.
  std::vector<std::int64_t> sample_ids(std::int64_t epoch, std::int64_t batch);

 private:
  // One array as the model sees it.
  struct Column {
    int array = 0;
    DType dtype = DType::kF32;  // kF32 or kI32
    Shape shape;                // of one sample
    Normalization normalization;
    std::size_t row_bytes = 0;         // as converted
    std::vector<std::byte> converted;  // (subset size, shape), where it was converted once
    const std::byte* rows =
        nullptr;         // converted values, or the dataset's own; null: converted in fill
    bool by_id = false;  // rows are numbered as in the dataset, not as in the subset
  };

  Column make_column(const LoaderInput& input) const;
  void convert_once(Column& column, std::size_t& room) const;
  void check_target(const Column& target) const;
  void check_weights(const Column& weights) const;
  void fill_column(const Column& column, std::span<const std::int64_t> positions,
                   std::byte* out) const;
  // The positions in the subset at `range` of the batch; valid until the next call.
  std::span<const std::int64_t> positions(std::int64_t epoch, std::int64_t batch,
                                          SampleRange range);

  Subset subset_;
  LoaderOptions options_;
  std::vector<Column> inputs_;
  std::optional<Column> target_, weights_;
  std::vector<std::int64_t> order_;  // of epoch order_epoch_
  std::int64_t order_epoch_ = -1;
};

}  // namespace lockstep
