// Delimited text (CSV, TSV): one record a sample. The text format is described in
// datasets/import/csv_reader.h.
//
//   column           becomes
//   label, class     y (n) i32: classes numbered from 0. Whole numbers 0 .. K - 1 stay as they are;
//                    other whole numbers are numbered in ascending order, texts in byte order
//   label, number    y (n) f32
//   every other      one feature of x (n, features), a finite number
//
// A value is missing where the field is empty, "?", "NA", "N/A", "NaN" or "null" (in any case).
//
// x has the dtype and sample shape of the options, and the attribute feature_names where there is a
// header; y has the attribute class_names where it is classes. The whole file is kept in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/shape.h"
#include "datasets/import/format.h"
#include "datasets/import/sample_source.h"

namespace lockstep {

struct CsvOptions {
  enum class Header {
    kAuto,  // the first record is a header where none of its fields is a number
    kYes,
    kNo,
  };
  enum class Label {
    kAuto,  // class where labels are texts, or whole numbers 0 .. K - 1 that all occur; else number
    kClass,
    kNumber,
  };
  enum class Missing {
    kRefuse,
    kMean,  // the mean of the column; for features in f32 or f64
  };

  std::string file = "";
  char delimiter = 0;  // ',', '\t', ';', ' ' (blanks); 0: found from the content
  Header header = Header::kAuto;
  std::int64_t skip_lines = 0;  // at the start of the file, before the header

  // Name of the label's column, or its number from 0 (negative: from the end, -1 is the last);
  // empty: no label.
  std::string label = "";
  Label label_kind = Label::kAuto;
  // Names of the classes in the order of their numbers: every label must be one of them. For labels
  // that are whole numbers and none of these names, the names of 0 .. K - 1. Empty: what occurs,
  // sorted.
  std::vector<std::string> class_names = {};
  Missing missing = Missing::kRefuse;

  DType dtype = DType::kF32;  // of the features: kF32, kF64, kU8, kI8, kI16, kI32 or kI64
  std::optional<Shape> sample_shape = {};  // of as many elements as there are features: (8, 8, 1)
};

// Throws bad_input naming file, line and column of what cannot be read, or the option that does not
// fit. `scratch` is a folder for a file that gzip packed.
std::unique_ptr<SampleSource> open_csv(const CsvOptions& options, const std::string& scratch = ".");

ImportFormat csv_format();

}  // namespace lockstep
