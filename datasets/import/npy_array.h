// One array of NumPy's format, described in datasets/import/numpy.h.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "core/base/range.h"
#include "core/base/shape.h"
#include "datasets/import/input_file.h"
#include "datasets/import/stored_element.h"

namespace lockstep {

// What the header of an array says.
struct NpyHeader {
  StoredElement element;
  bool fortran_order = false;
  Shape shape;
  std::uint64_t begin = 0;  // of the elements in the file
};

// Throws bad_input that begins with the file's name.
NpyHeader read_npy_header(const InputFile& file);

class NpyArray {
 public:
  NpyArray(std::unique_ptr<InputFile> file, const std::string& scratch);

  const std::string& path() const { return file_->path(); }
  const Shape& shape() const { return header_.shape; }
  DType dtype() const { return header_.element.dtype(); }
  void read(Range rows, std::byte* to);

 private:
  void turn_around(const std::string& scratch);

  std::unique_ptr<InputFile> file_;
  NpyHeader header_;
  std::unique_ptr<Spool> rows_;  // row-major, of an array in Fortran order
  std::vector<std::byte> room_;
};

}  // namespace lockstep
