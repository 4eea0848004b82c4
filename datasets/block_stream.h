// The blocks that one worker reads, ahead of the batches that need them: two groups of each of its lanes
// (datasets/window_order.h). Blocks are read in the order in which batches need them, by whichever thread asks for work;
// what is in memory stays within a budget, unless the next batch could not be filled otherwise.
//
// start() and stop() are called while no other thread uses the stream; everything else is thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "datasets/dataset.h"
#include "datasets/window_order.h"

namespace lockstep {

struct BlockStreamOptions {
  std::vector<int> arrays;         // of the dataset, whose blocks are read
  std::vector<int> expected = {};  // not read, but the system is told of their blocks
  Range lanes;              // that this worker reads
  std::size_t memory = std::size_t{256} << 20;  // bytes for blocks
  // Called for each stretch of rows that was read: throws where values are not as they should be.
  std::function<void(int array, std::int64_t first, std::int64_t rows, const std::byte* values)> check;
};

class BlockStream {
 public:
  // `subset` and `order` outlive the stream.
  BlockStream(const Subset& subset, const WindowOrder& order, BlockStreamOptions options);
  ~BlockStream();

  // Begins at that batch; what was read is forgotten. `batches`: how many there will be; below 0: without end, epoch
  // after epoch.
  void start(std::int64_t epoch, std::int64_t batch, std::int64_t batches);

  // Reads the next block that is needed and has room. False where there is nothing to read now. Throws what goes wrong.
  bool read_one(Dataset::Scratch& scratch);
  // Whether everything that the batch needs of this worker's lanes is there.
  bool ready(std::int64_t epoch, std::int64_t batch);

  // Where the rows of a sample are.
  struct Sample {
    std::int64_t position = 0;  // in the subset
    // For each of options.arrays the rows from `first_row` on; null where the sample is in another worker's lane.
    const std::vector<std::vector<std::byte>>* bytes = nullptr;
    std::int64_t first_row = 0;
  };
  // The samples at `range` of the batch, in order. Those of this worker's lanes stay where they are until release().
  // REQUIRES: ready().
  void locate(std::int64_t epoch, std::int64_t batch, Range range, std::vector<Sample>& out);
  // Those samples are needed no more.
  void release(std::int64_t epoch, std::int64_t batch, Range range);

  const std::vector<int>& arrays() const { return options_.arrays; }
  // Bytes of blocks in memory now.
  std::size_t bytes() const { return slots_.size() * slot_bytes_; }

 private:
  struct Slot;
  struct Group;
  struct Lane;
  struct Task;

  Group* unread_group(Lane& lane);
  bool claim(Task& task);
  void read(const Task& task, Dataset::Scratch& scratch);
  bool open_next_group(Lane& lane);
  Lane* lane_of(std::int64_t lane);
  Range rows_of(Range positions) const;
  // Batches are counted through all epochs.
  std::int64_t number_of(std::int64_t epoch, std::int64_t batch) const { return epoch * order_.batches() + batch; }

  const Subset& subset_;
  const WindowOrder& order_;
  BlockStreamOptions options_;
  std::size_t slot_bytes_ = 0;  // that the largest block takes
  std::size_t most_slots_ = 2;

  std::mutex mutex_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::int64_t asked_for_ = 0;  // number of the batch that somebody waits for
  std::int64_t ends_at_ = -1;   // number of the batch that is not needed any more; -1: there is none
  // Groups that were not opened yet, by epoch and lane: lanes cross the border of an epoch one after another.
  std::map<std::int64_t, std::vector<std::vector<WindowOrder::Group>>> coming_;
};

}  // namespace lockstep
