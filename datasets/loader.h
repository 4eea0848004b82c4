// Batches for one worker. The loader knows the order of every epoch and writes the samples of any
// range of any batch into buffers of its caller, transformed and normalised: inputs in f32, i32 or
// as bytes, the target in f32 or i32.
//
// What a fill writes depends on (subset, options, epoch, batch, range) only: not on what was filled
// before, so a run can start anywhere, and the parts of W workers are together what one worker
// would read. (Mixup needs ranges of whole microbatches.)
//
// A fill allocates nothing in steady state. Any number of threads, each with its own scratch. A queue
// of batches (datasets/batch_queue.h) fills ahead.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/shape.h"
#include "datasets/block_stream.h"
#include "datasets/dataset.h"
#include "datasets/mixup.h"
#include "datasets/normalize.h"
#include "datasets/sampler.h"
#include "datasets/transforms/transform.h"
#include "datasets/window_order.h"

namespace lockstep {

// A transform with its number in the configuration's list, which its random numbers depend on.
struct ListedTransform {
  std::uint32_t index = 0;
  TransformPtr transform;
};

// One input of the model.
struct LoaderInput {
  std::string array;
  // kF32; kI32 without normalisation; kU8 for bytes as they are stored, which are normalised later.
  DType dtype = DType::kF32;
  // Shape of a sample before transforms, of as many elements as the stored one: a (64) as (8, 8, 1).
  std::optional<Shape> sample_shape = {};
  Normalization normalization = {};  // as from compute_normalization(); none where empty
  std::vector<ListedTransform> transforms = {};
};

struct LoaderOptions {
  std::vector<LoaderInput> inputs = {};
  std::string target = "";           // "": no target (prediction)
  DType target_dtype = DType::kF32;  // kF32 or kI32
  std::int64_t classes = 0;          // more than 0: targets are labels in [0, classes), checked
  bool target_is_probability = false;  // targets are checked to lie in [0, 1]
  std::vector<ListedTransform> target_transforms = {};
  std::string weights = "";          // array of one number per sample; "": none
  SampleOrder order = SampleOrder::kShuffled;
  std::uint64_t seed = 0;
  std::int64_t global_batch = 1;
  std::int64_t microbatches = 1;     // for kWindow and mixup
  std::int64_t group_blocks = 1;     // for kWindow: blocks whose samples are shuffled together
  bool training = true;              // transforms that are only for training are applied
  double mixup = 0;                  // alpha; 0: none. Inputs and target are f32 then
  std::uint32_t mixup_index = 0;     // of mixup in the list of transforms
  // Arrays that are held are converted once, when the loader is made, as long as together they take
  // no more than this; the others are converted in each fill.
  std::size_t convert_limit = std::size_t{64} << 20;
};

// Where a fill writes. A pointer may be null: that part is then left out.
struct BatchBuffers {
  std::vector<void*> inputs = {};   // one for each input: (samples, sample shape)
  void* target = nullptr;           // float or int32_t, (samples, target shape)
  float* weights = nullptr;         // (samples)
  std::int64_t* samples = nullptr;  // (samples): number of each sample in its dataset
};

class Loader {
 public:
  // What a thread that fills keeps from call to call.
  struct Scratch {
    Dataset::Scratch reader;
    std::vector<std::int64_t> positions, ids;
    std::vector<BlockStream::Sample> located;
    std::vector<std::byte> row, between[2];
    std::vector<float> mixed;
    std::vector<Mixup::Rows> to_mix;
  };

  // Throws bad_input where an array is missing, a shape does not fit, an input or target is NaN or
  // infinite, a label is out of range, a weight is negative, the subset is empty or global_batch is
  // below 1. Inputs that are not held are checked when they are read.
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

  // Whether samples are copied as they are: a fill is then cheaper than handing it to a thread.
  bool copies() const;
  // Of inputs, target and weights as a fill writes them.
  std::size_t sample_bytes() const;
  // Whether blocks should be read ahead: make_stream() then gives who does it.
  bool streams() const { return window_.has_value() && !(streamed_.empty() && alone_.empty()); }
  // REQUIRES: streams(); the loader outlives the stream. `microbatches`: that this worker computes.
  std::unique_ptr<BlockStream> make_stream(Range microbatches, std::size_t memory) const;

  // Writes the samples at `range` of the batch: {0, batch_size(batch)} is all of it. `stream` has the
  // blocks of the batch; null where they are held, or are to be read now.
  // REQUIRES: 0 <= epoch; 0 <= batch < batches(); the range is within the batch.
  void fill(std::int64_t epoch, std::int64_t batch, Range range, const BatchBuffers& to, Scratch& scratch,
            BlockStream* stream = nullptr) const;

  // Numbers in the dataset of the samples of a whole batch, in order.
  std::vector<std::int64_t> sample_ids(std::int64_t epoch, std::int64_t batch) const;

 private:
  // One array as the model sees it.
  struct Column {
    int array = 0;
    DType dtype = DType::kF32;
    Shape stored;               // of one sample before transforms
    Shape shape;                // of one sample
    std::int64_t first_row = 0, rows = 1;  // of a sample, from its first one on
    std::size_t row_bytes = 0;  // as read
    std::size_t bytes = 0;      // of a sample as the model sees it
    Normalization normalization;
    std::vector<ListedTransform> elements, numbers;  // by stage
    // All rows as they are copied, `copied_row_bytes` each: converted once, or the dataset's own; null: each sample is
    // prepared in fill.
    const std::byte* copied = nullptr;
    std::size_t copied_row_bytes = 0;
    std::vector<std::byte> converted;
    int streamed = -1;   // number among the arrays whose blocks are read; -1: it is none
    bool alone = false;  // each sample is read from the file by itself
  };

  Column make_column(const LoaderInput& input, std::int64_t first_row, std::int64_t rows) const;
  void check_column(const Column& column) const;
  void convert_once(Column& column, std::size_t& room);
  void check_target(const Column& target) const;
  void check_weights(const Column& weights) const;
  void choose_source(Column& column);
  void make_window();
  std::vector<Column*> columns();
  void find_positions(std::int64_t epoch, std::int64_t batch, Range range, Scratch& scratch) const;
  void find_ids(Scratch& scratch) const;
  void fill_column(const Column& column, std::int64_t epoch, std::byte* out, Scratch& scratch, bool located) const;
  void copy_rows(const Column& column, std::byte* out, const Scratch& scratch) const;
  bool fill_rows_alone(const Column& column, std::byte* out, Scratch& scratch) const;
  bool fill_stretch(const Column& column, std::byte* out, Scratch& scratch) const;
  const std::byte* stored_rows(const Column& column, std::size_t i, Scratch& scratch, bool located) const;
  void prepare(const Column& column, const std::byte* from, std::int64_t epoch, std::int64_t id, std::byte* out,
               Scratch& scratch) const;
  void mix(std::int64_t epoch, std::int64_t batch, Range range, const BatchBuffers& to, Scratch& scratch) const;

  Subset subset_;
  bool gapless_ = false;  // the subset's ids count up by one
  LoaderOptions options_;
  std::vector<Column> inputs_;
  std::optional<Column> target_, weights_;
  // Arrays that are not held: those whose blocks are read, and those that give large rows by themselves. Of these the
  // system's file cache is the window: it is told of blocks ahead, and each sample is copied once.
  std::vector<int> streamed_, alone_;
  std::optional<WindowOrder> window_;
  std::optional<Mixup> mixup_;

  // The orders of the epochs that were asked for last: threads may be in two at a time.
  struct EpochOrder {
    std::int64_t epoch = -1;
    std::vector<std::int64_t> positions;
  };
  mutable std::mutex mutex_;
  mutable std::array<EpochOrder, 2> orders_;
};

}  // namespace lockstep
