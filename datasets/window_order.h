// The order of an epoch for data that is read in blocks: as good a shuffle as a bounded memory allows, in which every
// worker reads its own blocks only.
//
// The blocks of rows are shuffled into a sequence. The sequence is cut into as many lanes as there are microbatches, and
// lane m gives the samples of microbatch m of every batch, so each worker streams the lanes of the microbatches that it
// computes: no block is read twice, whatever the number of workers. Within a lane the samples of a few neighbouring blocks
// (a group) are shuffled together; two groups of each lane are in memory at a time.
//
//   sequence of blocks   | lane 0              | lane 1              | ...
//                        | group | group | ... | group | group | ... |
//
// A pure function of (seed, epoch, blocks, global batch, microbatches, blocks of a group): it depends on no rank and no
// thread, and any batch can be asked for. Every sample comes once in an epoch. Not shuffled, there is one lane, in the order
// of the rows.
//
// Immutable; any number of threads may use it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/range.h"

namespace lockstep {

struct WindowOrderOptions {
  bool shuffled = true;
  std::uint64_t seed = 0;
  std::int64_t global_batch = 1;
  std::int64_t microbatches = 1;
  std::int64_t group_blocks = 1;  // blocks whose samples are shuffled together; at least 1
};

class WindowOrder {
 public:
  // Positions (of samples in their subset) that belong to one block.
  struct Piece {
    std::int64_t block = 0;
    Range positions;
  };
  // Samples of one lane that are shuffled together: the places `places` of the lane, counted in each epoch from 0.
  struct Group {
    Range places;
    std::vector<Piece> pieces;
  };
  struct Place {
    std::int64_t lane = 0, at = 0;
  };

  // `blocks`: for each block the positions of its samples, ascending; together they are [0, samples).
  WindowOrder(std::vector<Range> blocks, const WindowOrderOptions& options);

  std::int64_t lanes() const { return static_cast<std::int64_t>(lane_sizes_.size()); }
  // Samples of a lane in an epoch.
  std::int64_t lane_size(std::int64_t lane) const { return lane_sizes_[static_cast<std::size_t>(lane)]; }
  // Where the sample at `position` of a batch is.
  Place place(std::int64_t batch, std::int64_t position) const;
  // The places of a lane that belong to a batch.
  Range places_of(std::int64_t lane, std::int64_t batch) const;

  // The groups of all lanes, by lane. Cost: a step for each block.
  std::vector<std::vector<Group>> groups(std::int64_t epoch) const;
  // The positions of the samples of a group, in their order. REQUIRES: out has the group's size.
  void fill(std::int64_t epoch, std::int64_t lane, const Group& group, std::span<std::int64_t> out) const;
  // The positions of the samples at `range` of a batch. Slow (a step for each block): whoever streams a lane asks for its
  // groups instead.
  void positions(std::int64_t epoch, std::int64_t batch, Range range, std::span<std::int64_t> out) const;

  std::int64_t batches() const;

 private:
  std::vector<Range> blocks_;
  WindowOrderOptions options_;
  std::int64_t samples_ = 0;
  std::vector<std::int64_t> lane_sizes_, lane_begins_;
};

}  // namespace lockstep
