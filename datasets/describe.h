// What `lockstep data info` prints about a dataset.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lockstep {

struct DescribeOptions {
  std::int64_t samples = 3;  // to show, spread evenly over the dataset
  int width = 100;           // columns of the terminal
};

// Shards, arrays (type, shape, chunks, filters, bytes, least, greatest, mean), how often each class
// occurs, and some samples: images of at most `width` / 2 columns in shades, rows of features as a
// table. Where the arrays make no dataset (lengths that differ): what the first file has, and why not. Reads everything once,
// block by block: memory does not grow with the data. `sources` as in datasets/dataset.h; throws bad_input where a file is
// missing or no HDF5, and where values cannot be read.
std::string describe_dataset(const std::vector<std::string>& sources,
                             const DescribeOptions& options = {});

}  // namespace lockstep
