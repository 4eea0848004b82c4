// Samples to HDF5 shards: NAME-00000-of-00002.h5 and so on, or with a test part NAME-train-... and
// NAME-test-... The samples lie in the order of the source, or in a shuffled one, in parts of equal
// size to one.
//
//   each array        contiguous; compressed: chunks of whole rows, about 512 KiB, bytes of equal
//                     weight together (shuffle) where an element has several
//   its attributes    those of the source; `xxh3`, 16 hexadecimal digits: of the values of this
//                     shard, row-major as they are stored
//   of the file       `name`, `source` (texts)
//
// All shards appear or none: they are written to a folder .NAME.importing-XXXX in the output
// folder, synced, read back, and moved out when all are there. An error leaves nothing; what a
// killed process leaves is no shard, and the next set of that name that is written there removes
// it. A set that is replaced is removed before the first new shard is moved, so old and new never
// mix.
//
// Memory: about 1 MiB, and 8 to 24 bytes a sample where they are shuffled or split.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "datasets/import/sample_source.h"

namespace lockstep {

struct ShardOptions {
  std::string output = ".";  // folder of the shards; made where it is missing
  std::string name = "";     // of the set
  std::string source = "";   // where the data is from, kept in the shards
  // Shards of the set; of its train part where there is a test part, whose shards are about as
  // large.
  std::int64_t shards = 1;
  int compress = 0;        // gzip level 1 .. 9; 0: not compressed
  bool overwrite = false;  // replace a set of this name

  double test_fraction = 0;  // above 0: this part of the samples becomes the test set
  bool stratify = false;     // with the same share of every class, by the array "y"
  bool shuffle = false;      // the samples within a set
  std::uint64_t seed = 0;    // of the split and of the shuffle
};

// Is told how many samples are written of how many; may throw to stop.
using ShardProgress = std::function<void(std::int64_t done, std::int64_t all)>;

struct WrittenSet {
  std::string name;  // with "-train" or "-test" where there are two
  std::int64_t samples = 0;
  std::vector<std::string> files;
  std::uint64_t fingerprint = 0;  // as Dataset::fingerprint() of arrays in memory
};

// Throws bad_input where an option does not fit or a set of this name is there; what the source
// throws; failed environment where the shards cannot be written.
std::vector<WrittenSet> write_shards(SampleSource& source, const ShardOptions& options,
                                     const ShardProgress& progress = {});

}  // namespace lockstep
