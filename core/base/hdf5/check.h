// The one check of HDF5 calls, and the element types. Only the sources of this folder include it.
#pragma once

#include <hdf5.h>

#include <span>
#include <string>

#include "core/base/dtype.h"
#include "core/base/error.h"
#include "core/base/hdf5/hdf5.h"

namespace lockstep {

// Switches off HDF5's printing of errors in the calling thread (the setting is per thread). Called
// by every public function that touches the library.
void silence_hdf5();

// The library's reason for the last failed call of this thread: "H5F__super_read: truncated file:
// ...".
std::string hdf5_reason();

// Returns `result`; throws "<where>: <call> failed: <reason>" where it is negative.
template <typename Result>
Result check_hdf5(Result result, const std::string& where, const char* call) {
  if (result < 0) environment_failed(where, ": ", call, " failed: ", hdf5_reason());
  return result;
}

// The same for what is read from a file: there a failure means a damaged file, and is bad input.
template <typename Result>
Result check_stored(Result result, const std::string& where, const char* call) {
  if (result < 0) bad_input(where, ": cannot be read: ", call, " failed: ", hdf5_reason());
  return result;
}

// The type of `dtype` in memory. Handles of predefined types are copies, so all are closed alike.
Hdf5Handle memory_type(DType dtype);

// How elements of a stored type are read; throws bad_input(reason) where they are not.
Hdf5Element element_of(hid_t type);

Hdf5Handle dataspace(const Shape& shape);

// The rows [begin, end) of an array of `shape` selected in a new dataspace.
Hdf5Handle select_rows(const Shape& shape, std::int64_t begin, std::int64_t end);

// The shape of those extents; throws bad_input("<what> not possible: ...") where they make more
// elements than Shape::kMostElements. REQUIRES: at most Shape::kMaxRank.
Shape possible_shape(std::span<const hsize_t> extents, const char* what);

// Extents of a dataspace; throws bad_input where it has more than Shape::kMaxRank or is null.
Shape shape_of(hid_t space);

}  // namespace lockstep
