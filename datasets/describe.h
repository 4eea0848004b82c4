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
// table. `sources` as in datasets/dataset.h; throws as Dataset::open() does.
std::string describe_dataset(const std::vector<std::string>& sources,
                             const DescribeOptions& options = {});

}  // namespace lockstep
