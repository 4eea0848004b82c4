// Where the samples of a new dataset come from: a file of some format, or a formula. Rows are asked
// for in any order and as often as needed, so a source that can only be read from front to back
// puts what it read into a Spool (datasets/import/input_file.h).
//
// A source belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/range.h"
#include "core/base/shape.h"

namespace lockstep {

// What is written beside the values. A list is not empty.
using AttributeValue = std::variant<std::string, std::vector<std::string>, std::int64_t, double>;

struct SourceArray {
  std::string name;
  DType dtype = DType::kF32;
  Shape sample;  // of one row
  // Those that Lockstep reads: "feature_names" (one for each entry of the last axis), "class_names"
  // (one for each label), "tokenizer" (datasets/import/tokenizer.h).
  std::vector<std::pair<std::string, AttributeValue>> attributes = {};

  std::size_t row_bytes() const {
    return static_cast<std::size_t>(sample.elements()) * size_of(dtype);
  }
};

class SampleSource {
 public:
  virtual ~SampleSource() = default;

  const std::vector<SourceArray>& arrays() const { return arrays_; }
  // Rows of every array.
  std::int64_t size() const { return size_; }
  // The rows are a series: their order means something, so they are not shuffled, and the test part
  // is the end.
  bool is_series() const { return is_series_; }
  // What the user should know, one line each: "3 missing values filled".
  const std::vector<std::string>& notes() const { return notes_; }

  // Writes the rows of array `array`, row-major, in the machine's byte order. Throws bad_input
  // naming the file and the place where what is stored cannot be read.
  // REQUIRES: 0 <= rows.begin <= rows.end <= size().
  virtual void read(std::size_t array, Range rows, std::byte* to) = 0;

 protected:
  std::vector<SourceArray> arrays_;
  std::int64_t size_ = 0;
  bool is_series_ = false;
  std::vector<std::string> notes_;
};

}  // namespace lockstep
