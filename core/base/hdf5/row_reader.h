// Rows of an array of an HDF5 file, read without the library where that is possible: the library is
// asked once where the bytes lie, then they are read at their places and decoded by the caller's
// thread. The library has one lock for all threads; this has none.
//
//   contiguous    one read of the rows
//   chunked       one read of each chunk that holds some of the rows; filters of hdf5/filters.h
//   compact       the rows were read when the reader was made
//   what else     (virtual, external, filters that only the library knows) goes through the
//                 library, one thread at a time
//
// Elements arrive in the array's dtype and the machine's byte order. Unsigned integers of more than
// 8 bits are widened to the next signed type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "core/base/file.h"
#include "core/base/hdf5/filters.h"
#include "core/base/hdf5/hdf5.h"

namespace lockstep {

class Hdf5RowReader {
 public:
  // What a thread that reads keeps from call to call.
  class Scratch {
   public:
    Scratch() = default;

   private:
    friend class Hdf5RowReader;
    Hdf5Decoder decoder_;
    std::vector<std::byte> stored_, chunk_, rows_;
    // Whether a file has changed is looked at once for so many bytes: a look costs as much as a small read.
    static constexpr std::size_t kBytesBetweenLooks = std::size_t{1} << 20;
    const ReadOnlyFile* looked_at_ = nullptr;
    std::size_t read_since_ = 0;
  };

  // `bytes` is the same file. `file` is used by the constructor only. Throws bad_input where the
  // array's place is impossible: the file is damaged or truncated.
  Hdf5RowReader(const Hdf5File& file, const Hdf5Array& array,
                std::shared_ptr<const ReadOnlyFile> bytes);

  // Reads the rows [begin, end), row-major, in the array's dtype. Any number of threads at a time,
  // each with its own scratch. Throws naming file, array and rows: bad_input where what is stored is
  // damaged, failed environment where the file cannot be read or was changed.
  // REQUIRES: 0 <= begin <= end <= rows(); `to` has room for (end - begin) * row_bytes() bytes.
  void read(std::int64_t begin, std::int64_t end, void* to, Scratch& scratch) const;

  // Tells the system that the rows are read soon.
  void expect(std::int64_t begin, std::int64_t end) const;

  const Hdf5Array& array() const { return array_; }
  std::int64_t rows() const { return array_.rows(); }
  // Rows that are decoded together; 1 where any row can be read by itself.
  std::int64_t rows_of_chunk() const;
  // XXH3 over where and how the array is stored: differs where a file was written differently.
  std::uint64_t fingerprint() const;

 private:
  struct Library;

  void read_stored(std::int64_t begin, std::int64_t end, std::byte* to, Scratch& scratch) const;
  void read_contiguous(std::int64_t begin, std::int64_t end, std::byte* to) const;
  void read_chunks(std::int64_t begin, std::int64_t end, std::byte* to, Scratch& scratch) const;
  // The content of chunk `index` in `to`, which has room for it.
  void decode_chunk(std::size_t index, std::byte* to, Scratch& scratch) const;
  void copy_from_chunk(std::size_t index, const std::byte* chunk, std::int64_t begin,
                       std::int64_t end, std::byte* to) const;
  void fill(std::byte* to, std::size_t bytes) const;
  std::size_t stored_row_bytes() const;
  std::string place(std::int64_t begin, std::int64_t end) const;

  Hdf5Array array_;
  Hdf5Storage storage_;
  std::shared_ptr<const ReadOnlyFile> bytes_;
  Shape grid_;                                // chunks along each axis
  std::size_t chunks_of_row_ = 1;             // chunks that share a range of rows
  std::size_t chunk_bytes_ = 0;               // decoded
  std::shared_ptr<const Library> library_;    // where it has to be asked
};

}  // namespace lockstep
