// data.json of a run: what evaluation, prediction and a training that goes on need to know of the training data.
//
//   inputs       for each array that the model reads: name, type and row as stored, shift and scale
//   target_row   shape of a row of the target
//   class_names  of the labels; empty where the data has none
//   rows, fingerprint   of the training data
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/shape.h"
#include "datasets/normalize.h"

namespace lockstep {

struct DataRecord {
  struct Input {
    std::string array;
    DType dtype = DType::kF32;
    Shape row;
    Normalization normalization;
    bool operator==(const Input&) const = default;
  };
  std::vector<Input> inputs;
  Shape target_row;
  std::vector<std::string> class_names;
  std::int64_t rows = 0;
  std::string fingerprint;  // Dataset::fingerprint() in hex

  bool operator==(const DataRecord&) const = default;
};

std::string to_json(const DataRecord& record);
// Throws bad_input "<path>: ..." where the file cannot be read or is no record.
DataRecord read_data_record(const std::string& path);

}  // namespace lockstep
