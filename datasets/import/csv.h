// The importer of delimited text (CSV, TSV): one record a sample, to HDF5 shards. The text format
// is described in datasets/import/csv_reader.h.
//
//   column           becomes
//   label, class     y (n) i32: classes numbered from 0. Whole numbers 0 .. K - 1 stay as they are;
//   other whole
//                    numbers are numbered in ascending order, texts in byte order
//   label, number    y (n) f32
//   every other      one feature of x (n, features), a finite number
//
// A value is missing where the field is empty, "?", "NA", "N/A", "NaN" or "null" (in any case).
//
// The shards, NAME-00000-of-00002.h5 and so on, hold the records in their order, in parts of equal
// size to one:
//
//   x                dtype and sample shape as in the options; attribute feature_names (from the
//   header) y                where there is a label; attribute class_names for classes / attributes
//   name, source (texts)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/shape.h"

namespace lockstep {

struct CsvImportOptions {
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
  std::string output = ".";  // directory of the shards; made where it is missing
  std::string name = "";     // of the set; empty: the file's name without its extension
  std::int64_t shards = 1;

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

  int gzip = 0;             // 1 .. 9 compresses; 0 does not
  bool overwrite = false;   // replace a set of this name
  std::string source = "";  // where the data is from; empty: the file's name
};

struct CsvImportResult {
  std::vector<std::string> files;
  std::int64_t samples = 0;
  std::int64_t features = 0;
  std::int64_t filled = 0;  // missing values that got the mean
  std::vector<std::string> feature_names;
  std::vector<std::string> class_names;  // empty where there are no classes
};

// Throws bad_input naming file, line and column of what cannot be read, or the option that does not
// fit. Each shard is written atomically; where an error is thrown before the first is written,
// nothing is.
CsvImportResult import_csv(const CsvImportOptions& options);

}  // namespace lockstep
