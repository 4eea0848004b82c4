// Rows in HDF5 shards: named arrays of equal length, the shards one after another. A dataset knows
// what there is and where; arrays are read when they are asked for, in blocks of rows, or are held
// in memory in the types in which they are read.
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
// A Dataset that is shared does not change; any number of threads may read it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/hdf5/row_reader.h"
#include "core/base/range.h"
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

// Rows of one shard that are read together.
using RowBlock = Range;

// About as much as is read at a time: large enough for any disk, small enough for many to be kept.
inline constexpr std::size_t kBlockBytes = std::size_t{1} << 20;

class Dataset {
 public:
  // What a thread that reads keeps from call to call.
  class Scratch {
   private:
    friend class Dataset;
    Hdf5RowReader::Scratch reader_;
    std::vector<std::byte> row_;
  };

  // Looks at the files without reading arrays. Throws bad_input naming file and array where a
  // source is missing, a file is unreadable, a requested array is absent, lengths within a shard or
  // types between shards differ, or there are no rows. `block_bytes`: about how much is read at a
  // time.
  static std::shared_ptr<Dataset> describe(const std::vector<std::string>& sources,
                                           const std::vector<std::string>& arrays = {},
                                           std::size_t block_bytes = kBlockBytes);
  // describe(), and all arrays held. Besides throws failed environment where they need more memory
  // than there is.
  static std::shared_ptr<const Dataset> open(const std::vector<std::string>& sources,
                                             const DatasetOptions& options = {});
  static std::shared_ptr<const Dataset> open(const std::string& source,
                                             const DatasetOptions& options = {});
  // `name` stands for the file in messages. The same checks as for files.
  static std::shared_ptr<const Dataset> from_memory(const std::string& name,
                                                    std::vector<MemoryArray> arrays);

  // ---- What there is

  // Number of rows, at least 1.
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
  // Bytes of all arrays as they are read.
  std::size_t bytes() const;
  // "FILE: array "y", row 7" for messages; the row is counted within that file.
  std::string place(int array, std::int64_t index) const;

  // ---- Reading

  // The rows in blocks that are read well: whole chunks, about block_bytes. In order; a pure function
  // of the files.
  const std::vector<RowBlock>& blocks() const { return blocks_; }
  // The block that holds a row.
  std::int64_t block_of(std::int64_t row) const;

  // Whether any row of the array can be read by itself: it is held, or not in chunks.
  bool rows_alone(int array) const;
  // Writes the rows [begin, end) as they are read. Any number of threads, each with its own scratch.
  // Throws as Hdf5RowReader::read().
  void read(int array, Range rows, std::byte* to, Scratch& scratch) const;
  // Tells the system that the rows are read soon.
  void expect(int array, Range rows) const;

  // Writes the rows `ids` one after another, converted. Integers beyond 2^24 round to the nearest
  // float; the conversion to int32 cuts fractions off (check_labels() finds them).
  void gather(int array, std::span<const std::int64_t> ids, float* out) const;
  void gather(int array, std::span<const std::int64_t> ids, std::int32_t* out) const;

  // ---- Holding

  // The arrays that fit into `bytes` of memory together, the smallest first.
  std::vector<bool> smallest_within(std::size_t bytes) const;
  // Bytes of memory that those arrays take.
  std::size_t bytes_to_hold(const std::vector<bool>& which) const;
  // Those arrays are held in `memory` of bytes_to_hold() from now on; what is in it is load()'s
  // matter. REQUIRES: nothing is held yet; the dataset is not shared yet.
  void hold(const std::vector<bool>& which, std::shared_ptr<std::byte> memory);
  // Reads part `part` of `parts` of what is held, on `threads` threads. Together the parts are all.
  void load(int part, int parts, int threads) const;
  bool held(int array) const { return values_[static_cast<std::size_t>(array)] != nullptr; }
  bool all_held() const;

  // The bytes of one row. REQUIRES: the array is held; 0 <= index < size().
  const std::byte* row(int array, std::int64_t index) const {
    return values_[static_cast<std::size_t>(array)] +
           static_cast<std::size_t>(index) * row_bytes_[static_cast<std::size_t>(array)];
  }

  // ---- Checking. What is not held is read for it, block by block.

  // XXH3 over names, types, shapes and, of arrays that are held, values: those do not depend on how
  // the rows are cut into shards. Of arrays that are not held, over where and how they are stored.
  std::uint64_t fingerprint() const;
  // The same as if all arrays were held. Reads what is not, block by block.
  std::uint64_t fingerprint_of_values() const;

  // Throws bad_input naming file, array and row of the first NaN or infinity.
  void check_finite(int array) const;
  // Throws bad_input naming file, array, row and value of the first element that is not a whole
  // number in [0, classes).
  void check_labels(int array, std::int64_t classes) const;
  // Throws bad_input naming file, array, row and value of the first element that is outside [low, high].
  void check_range(int array, double low, double high) const;
  // One more than the largest label. Throws as check_labels() where a value is no label at all.
  std::int64_t count_classes(int array) const;
  // The same checks of rows that were read already, `values` from row `first` on.
  void check_finite(int array, std::int64_t first, std::int64_t rows, const std::byte* values) const;
  void check_labels(int array, std::int64_t first, std::int64_t rows, const std::byte* values,
                    std::int64_t classes) const;

  // Calls visit(first row, rows, their bytes) for all rows of an array, block by block.
  template <typename Visit>
  void for_each_block(int array, const Visit& visit) const {
    Scratch scratch;
    std::vector<std::byte> bytes;
    for (const RowBlock& block : blocks_) {
      visit(block.begin, block.size(), block_bytes(array, block, bytes, scratch));
    }
  }
  // The bytes of a block: where they are held, or read into `room`.
  const std::byte* block_bytes(int array, RowBlock block, std::vector<std::byte>& room,
                               Scratch& scratch) const;

 private:
  struct Shard {
    std::int64_t first_row = 0;
    std::vector<Hdf5RowReader> readers;  // by array; none for a dataset from memory
  };

  Dataset() = default;
  std::string header_of(std::size_t array) const;
  void describe_arrays(const Hdf5File& shard, const std::vector<const Hdf5Array*>& found);
  void cut_into_blocks(std::size_t block_bytes);
  void check_some() const;
  // The rows as the files have them, whether they are held or not.
  void read_files(int array, Range rows, std::byte* to, Scratch& scratch) const;
  // Calls body(shard, its rows, where they begin in `rows`) for the shards that hold some of the rows.
  template <typename Body>
  void for_shards(Range rows, const Body& body) const;

  std::int64_t size_ = 0;
  std::vector<DatasetArray> arrays_;
  std::vector<std::size_t> row_bytes_;      // of each array
  std::vector<std::byte*> values_;          // of each array that is held, row-major; else null
  std::shared_ptr<std::byte> memory_;       // what is held
  std::vector<std::string> files_;
  std::vector<Shard> shards_;
  std::vector<RowBlock> blocks_;
};

// The files of a source, in order. Throws bad_input where there are none, or one of a set of shards
// is missing.
std::vector<std::string> resolve_source(const std::string& source);

// try_hdf5() of the files of these sources, once in a process before it opens them. A source that cannot be resolved is left
// to whoever opens it.
void try_sources(const std::vector<std::string>& sources);

// Names of the sets that come with Lockstep, sorted.
std::vector<std::string> bundled_names();

// How rows make samples. By default every row is one. Otherwise a sample is a window over a series
// (rows that follow one another, across shards): `length` rows, and what comes `horizon` rows later.
struct Windows {
  std::int64_t length = 0;   // rows of an input; 0: a sample is a row
  std::int64_t stride = 1;   // rows from the begin of one sample to that of the next
  std::int64_t horizon = 1;  // rows from an input to its target
  // The target is one row, `horizon` after the last input row; else there is one for every input row.
  bool last_only = false;

  bool by_rows() const { return length == 0; }
  // Rows that a sample touches, from its first one on.
  std::int64_t span() const { return by_rows() ? 1 : length + horizon; }
  std::int64_t first_row(std::int64_t sample) const { return by_rows() ? sample : sample * stride; }
  // Samples that `rows` rows make.
  std::int64_t count(std::int64_t rows) const {
    if (by_rows()) return rows;
    return rows < span() ? 0 : (rows - span()) / stride + 1;
  }
  // Shape of an input and of a target of rows of that shape.
  Shape input_shape(const Shape& row) const { return by_rows() ? row : rows_of(length, row); }
  Shape target_shape(const Shape& row) const { return by_rows() || last_only ? row : rows_of(length, row); }
  bool operator==(const Windows&) const = default;

 private:
  static Shape rows_of(std::int64_t rows, const Shape& row);
};

// Some samples of a dataset. A view: cheap to copy but for its ids.
struct Subset {
  std::shared_ptr<const Dataset> dataset;
  std::vector<std::int64_t> ids;  // samples, ascending, in [0, windows.count(dataset->size()))
  Windows windows = {};

  std::int64_t size() const { return static_cast<std::int64_t>(ids.size()); }
};

// All samples, in the order in which they are stored. Throws bad_input where the rows are too few for one.
Subset whole(std::shared_ptr<const Dataset> dataset, const Windows& windows = {});

}  // namespace lockstep
