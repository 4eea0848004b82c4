// How data.memory, which all workers of a node have together, is spent. If everything fits it is held. If not: half for the
// blocks that are shuffled, an eighth each for those of an evaluation and for arrays small enough to be held all the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "datasets/dataset.h"
#include "dist/communicator.h"
#include "launcher/config.h"

namespace lockstep {

// Of the blocks in which data is read that is not held.
std::size_t bytes_of_block(const Config& config);

// Chooses what of these datasets is held, and reads it once for each node, with so many threads on each rank. All ranks call
// it. Throws failed environment where data that must be held does not fit into the machine, bad_input where the ranks' data
// differ.
void hold_data(const Config& config, Communicator& communicator, const std::vector<std::shared_ptr<Dataset>>& datasets,
               int threads);

// Blocks that are shuffled together: two groups of each lane fill the memory for it, whatever the number of workers.
std::int64_t blocks_of_group(const Config& config, const Dataset& dataset, std::int64_t microbatches);

// For the blocks that one worker's queue reads ahead.
std::size_t bytes_of_queue(const Config& config, bool training, int workers_of_node);

}  // namespace lockstep
