// HDF5 files of named arrays: the one home of the HDF5 library. The library's headers and
// identifiers do not leave this folder.
//
// An array is a dataset of numbers; its name is its path in the file without the leading slash
// ("x", "train/images"). Rows are the entries of the first dimension; a scalar dataset has one row.
// Messages name file and array; HDF5's own error stack is never printed, its innermost entry is
// part of the message.
//
// An object belongs to one thread at a time; different objects may be used by different threads
// (the library has one global lock inside).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/file.h"
#include "core/base/hdf5/filters.h"
#include "core/base/shape.h"

namespace lockstep {

// "1.10.8": of the library that runs.
std::string hdf5_version();

// Owns one identifier of the library (hid_t) and closes it.
class Hdf5Handle {
 public:
  using Close = int (*)(std::int64_t);

  Hdf5Handle() = default;
  Hdf5Handle(std::int64_t id, Close close) : id_(id), close_(close) {}
  ~Hdf5Handle() { reset(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept;

  std::int64_t id() const { return id_; }
  bool open() const { return id_ >= 0; }
  // Closes now; the result of the library's close function (0 where nothing was open).
  int reset();

 private:
  std::int64_t id_ = -1;
  Close close_ = nullptr;
};

// How an array is stored in its file.
struct Hdf5Array {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  Shape chunk;                       // rank 0 where the array is contiguous or compact
  std::vector<std::string> filters;  // in the order of writing: "shuffle", "gzip 4", ...
  std::uint64_t stored_bytes = 0;    // in the file, after compression
  // No data: a dimension that netCDF wrote, or a place where MATLAB keeps what others refer to.
  bool is_bookkeeping = false;

  std::int64_t rows() const { return shape.rank() == 0 ? 1 : shape[0]; }
  std::size_t row_bytes() const;
};

// How one element lies in the file.
struct Hdf5Element {
  DType dtype = DType::kF32;  // as it is read
  std::size_t bytes = 4;      // as it is stored
  bool is_signed = true;      // of integers
  bool big_endian = false;

  // The bytes can be taken as they are.
  bool is_native() const { return !big_endian && bytes == size_of(dtype); }
};

// Where the bytes of an array lie in the file.
struct Hdf5Storage {
  enum class Kind {
    kContiguous,  // at `offset`; nowhere where it was never written
    kChunked,     // in `chunks`
    kCompact,     // small, inside the description of the array: `content` has it
    kLibrary,     // only the library can tell: `why`
  };
  static constexpr std::uint64_t kNowhere = ~std::uint64_t{0};

  struct Chunk {
    std::uint64_t offset = kNowhere;  // in the file; kNowhere: never written, all fill value
    std::uint32_t bytes = 0;          // stored
    std::uint32_t mask = 0;           // filters that were left out
  };

  Kind kind = Kind::kContiguous;
  Hdf5Element element;
  std::uint64_t offset = kNowhere;
  std::vector<Chunk> chunks;  // row-major in the grid of chunks
  std::vector<Hdf5Filter> filters;
  std::vector<std::byte> fill;     // one element as stored; empty: zero
  std::vector<std::byte> content;  // in the array's dtype
  std::string why;
};

// A file that is open for reading.
class Hdf5File {
 public:
  // Throws bad_input where the file is missing, not HDF5, truncated, damaged or locked by a writer.
  explicit Hdf5File(const std::string& path);

  const std::string& path() const { return path_; }

  // All arrays in this file and its groups, sorted by name.
  const std::vector<Hdf5Array>& arrays() const { return arrays_; }
  // Datasets that are not arrays of a known type, with the reason: {"names", "text is not ..."}.
  const std::map<std::string, std::string>& unreadable() const { return unreadable_; }

  // The array of that name, nullptr where there is none.
  const Hdf5Array* find(const std::string& name) const;
  // The array of that name; throws bad_input naming the nearest, or all that exist, where there is
  // none.
  const Hdf5Array& array(const std::string& name) const;

  // Reads the rows [begin, end), row-major, in the array's dtype and the machine's byte order.
  // REQUIRES: `to` has room for (end - begin) * row_bytes() bytes.
  void read(const Hdf5Array& array, std::int64_t begin, std::int64_t end, void* to) const;
  // Reads the whole array.
  std::vector<std::byte> read(const std::string& name) const;

  // Where the bytes of an array lie. Cost: a search for each chunk.
  Hdf5Storage storage(const Hdf5Array& array) const;

  // Names of the attributes of an array, or of the file for an empty `array`.
  std::vector<std::string> attributes(const std::string& array) const;
  // Attributes of an array, or of the file for an empty `array`; nullopt where there is none of
  // that name and kind. A text list also reads a single text.
  std::optional<std::string> text(const std::string& array, const std::string& name) const;
  std::optional<std::vector<std::string>> texts(const std::string& array,
                                                const std::string& name) const;
  std::optional<std::int64_t> integer(const std::string& array, const std::string& name) const;
  // A single integer is a list of one.
  std::optional<std::vector<std::int64_t>> integers(const std::string& array,
                                                    const std::string& name) const;
  std::optional<double> real(const std::string& array, const std::string& name) const;

 private:
  void list(const std::string& group, int depth);
  Hdf5Array describe(std::int64_t dataset, const std::string& name) const;
  Hdf5Handle attribute(const std::string& array, const std::string& name) const;

  std::string path_;
  Hdf5Handle file_;
  std::vector<Hdf5Array> arrays_;
  std::map<std::string, std::string> unreadable_;
};

// How a new array is laid out in its file.
struct Hdf5Layout {
  std::int64_t chunk_rows = 0;  // rows in a chunk; 0: contiguous, which takes no filters
  int gzip = 0;                 // 1 (fast) .. 9 (small); 0: not compressed
  bool shuffle = false;         // bytes of equal weight together, before gzip
  bool checksum = false;        // Fletcher 32 for each chunk: damage is seen when it is read
  bool reserved = false;        // it has a place in the file from the start, which nobody fills
};

// A file that is being written. It has a temporary name beside the final one until commit();
// without commit() nothing is left.
class Hdf5Writer {
 public:
  // REQUIRES: `files` outlives the writer.
  explicit Hdf5Writer(std::string path, const FileSystem& files = local_files());
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  // Makes an array (and the groups in its name); its elements are zero until they are written.
  void create(const std::string& name, DType dtype, const Shape& shape,
              const Hdf5Layout& layout = {});
  // Writes the rows [begin, end), row-major, in the array's dtype.
  void write(const std::string& name, std::int64_t begin, std::int64_t end, const void* from);
  // create() and write() of all rows.
  void write(const std::string& name, DType dtype, const Shape& shape, const void* from,
             const Hdf5Layout& layout = {});

  // Makes an array whose bytes the caller writes after close(), in the machine's byte order, into
  // the file that close() names, from the returned offset on.
  std::uint64_t reserve(const std::string& name, DType dtype, const Shape& shape);

  // Sets an attribute of an array, or of the file for an empty `array`. A list is not empty.
  void set_text(const std::string& array, const std::string& name, const std::string& value);
  void set_texts(const std::string& array, const std::string& name,
                 const std::vector<std::string>& values);
  void set_integer(const std::string& array, const std::string& name, std::int64_t value);
  void set_integers(const std::string& array, const std::string& name,
                    const std::vector<std::int64_t>& values);
  void set_real(const std::string& array, const std::string& name, double value);

  // The library is done with the file. Returns its temporary name, for the arrays that were
  // reserved.
  const std::string& close();
  // Closes, syncs and renames. Nothing may be written afterwards.
  void commit();

 private:
  struct Open {
    Hdf5Handle dataset;
    DType dtype;
    Shape shape;
  };

  // The groups that an array of that name lies in.
  void make_groups(const std::string& array);
  std::int64_t object(const std::string& array) const;
  void set_attribute(const std::string& array, const std::string& name, std::int64_t type,
                     std::int64_t space, const void* value);

  std::string path_, temporary_;
  const FileSystem& files_;
  Hdf5Handle file_;
  std::map<std::string, Open> open_;
  std::set<std::string> groups_;
};

}  // namespace lockstep
