// Samples in HDF5 shards: named arrays of equal length, the shards one after another, held in host
// memory in the types in which they are stored.
//
// A source is one of
//   a file             "digits.h5"
//   a pattern          "shards/train-*.h5"      the files in sorted order
//   a directory        "shards/"                its *.h5 and *.hdf5 files in sorted order
//   a bundled set      "digits"                 "breast-cancer", "diabetes", "digits"
// A bundled name wins over a directory of that name; write "./digits" for the directory. Where
// shards are named NAME-00000-of-00002.h5 and come from a pattern, a directory or a bundled set,
// all of them must be there.
//
// A Dataset does not change once it is made; any number of threads may read it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/shape.h"

namespace lockstep {

class Hdf5File;
struct Hdf5Array;

struct DatasetArray {
  std::string name;
  DType dtype = DType::kF32;
  Shape sample;  // shape of one sample: without the first extent
  // What the importer wrote beside the values; empty where it did not.
  std::vector<std::string> feature_names;  // one for each entry of the last axis
  std::vector<std::string> class_names;    // one for each label

  std::size_t sample_bytes() const {
    return static_cast<std::size_t>(sample.elements()) * size_of(dtype);
  }
};

struct DatasetOptions {
  // The arrays to hold; empty: all of them.
  std::vector<std::string> arrays = {};
  // Bytes that may be taken; 0: what the machine has available.
  std::size_t memory_limit = 0;
};

// An array given from memory.
struct MemoryArray {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;                   // the first extent counts the samples
  std::vector<std::byte> bytes;  // row-major
};

class Dataset {
 public:
  // Throws bad_input naming file and array where a source is missing, a file is unreadable, a
  // requested array is absent, lengths within a shard or types between shards differ, or there are
  // no samples; failed environment where the samples need more memory than there is.
  static std::shared_ptr<const Dataset> open(const std::vector<std::string>& sources,
                                             const DatasetOptions& options = {});
  static std::shared_ptr<const Dataset> open(const std::string& source,
                                             const DatasetOptions& options = {});
  // `name` stands for the file in messages. The same checks as for files.
  static std::shared_ptr<const Dataset> from_memory(const std::string& name,
                                                    std::vector<MemoryArray> arrays);

  // Number of samples, at least 1.
  std::int64_t size() const { return size_; }
  // Sorted by name.
  const std::vector<DatasetArray>& arrays() const { return arrays_; }
  // Index in arrays(); throws bad_input naming the nearest and all names where there is none.
  int find(const std::string& name) const;
  // As find(), -1 where there is none.
  int find_or_none(const std::string& name) const;
  const DatasetArray& array(const std::string& name) const { return arrays_[find(name)]; }
  // The files, in order; the name given for a dataset from memory.
  const std::vector<std::string>& files() const { return files_; }
  // Bytes held.
  std::size_t bytes() const;

  // The bytes of one sample. REQUIRES: 0 <= index < size().
  const std::byte* row(int array, std::int64_t index) const {
    return values_[array].data() + static_cast<std::size_t>(index) * row_bytes_[array];
  }

  // Writes the samples `ids` one after another, converted. Integers beyond 2^24 round to the
  // nearest float; the conversion to int32 cuts fractions off (check_labels() finds them).
  void gather(int array, std::span<const std::int64_t> ids, float* out) const;
  void gather(int array, std::span<const std::int64_t> ids, std::int32_t* out) const;

  // XXH3 over names, types, shapes and values. It does not depend on how the samples are cut into
  // shards.
  std::uint64_t fingerprint() const;

  // Throws bad_input naming file, array and row of the first NaN or infinity.
  void check_finite(int array) const;
  // Throws bad_input naming file, array, row and value of the first element that is not a whole
  // number in [0, classes).
  void check_labels(int array, std::int64_t classes) const;
  // One more than the largest label. Throws as check_labels() where a value is no label at all.
  std::int64_t count_classes(int array) const;

  // "FILE: array "y", row 7" for messages; the row is counted within that file.
  std::string place(int array, std::int64_t index) const;

 private:
  Dataset() = default;
  void read_shards(const DatasetOptions& options);
  void describe(const Hdf5File& shard, const std::vector<const Hdf5Array*>& found);
  void check_some() const;

  std::int64_t size_ = 0;
  std::vector<DatasetArray> arrays_;
  std::vector<std::size_t> row_bytes_;          // of each array
  std::vector<std::vector<std::byte>> values_;  // of each array, row-major
  std::vector<std::string> files_;
  std::vector<std::int64_t> first_row_;  // of each file
};

// The files of a source, in order. Throws bad_input where there are none, or one of a set of shards
// is missing.
std::vector<std::string> resolve_source(const std::string& source);

// Names of the sets that come with Lockstep, sorted.
std::vector<std::string> bundled_names();

// Some samples of a dataset, in an order. A view: cheap to copy.
struct Subset {
  std::shared_ptr<const Dataset> dataset;
  std::vector<std::int64_t> ids;  // in [0, dataset->size())

  std::int64_t size() const { return static_cast<std::int64_t>(ids.size()); }
};

// All samples, in the order in which they are stored.
Subset whole(std::shared_ptr<const Dataset> dataset);

}  // namespace lockstep
