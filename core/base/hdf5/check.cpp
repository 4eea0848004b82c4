#include "core/base/hdf5/check.h"

#include <algorithm>
#include <array>

namespace lockstep {
namespace {

// Called from the innermost error outwards; keeps the first.
herr_t keep_innermost(unsigned, const H5E_error2_t* error, void* out) {
  auto& reason = *static_cast<std::string*>(out);
  if (reason.empty() && error->desc != nullptr) {
    reason = text(error->func_name == nullptr ? "" : error->func_name, ": ", error->desc);
  }
  return 0;
}

Hdf5Handle copy_of(hid_t type) {
  return Hdf5Handle(H5Tcopy(type), H5Tclose);
}

// A 16-bit float with the given bits of exponent and fraction.
Hdf5Handle small_float(std::size_t exponent_bits, std::size_t fraction_bits, std::size_t bias) {
  Hdf5Handle type = copy_of(H5T_NATIVE_FLOAT);
  const std::string where = "16-bit float";
  check_hdf5(H5Tset_fields(type.id(), 15, fraction_bits, exponent_bits, 0, fraction_bits), where,
             "H5Tset_fields");
  check_hdf5(H5Tset_size(type.id(), 2), where, "H5Tset_size");
  check_hdf5(H5Tset_ebias(type.id(), bias), where, "H5Tset_ebias");
  return type;
}

DType integer_dtype(std::size_t bytes, bool is_signed) {
  if (bytes == 1) return is_signed ? DType::kI8 : DType::kU8;
  if (bytes == 2 && is_signed) return DType::kI16;
  if (bytes == 4 && is_signed) return DType::kI32;
  if (bytes == 8 && is_signed) return DType::kI64;
  bad_input(is_signed ? "signed" : "unsigned", " integers of ", bytes,
            " bytes are not read; supported are u8, i8, i16, i32, i64, f16, bf16, f32, f64");
}

DType float_dtype(hid_t type) {
  const std::size_t bytes = H5Tget_size(type);
  if (bytes == 4) return DType::kF32;
  if (bytes == 8) return DType::kF64;
  std::size_t sign = 0, exponent = 0, exponent_bits = 0, fraction = 0, fraction_bits = 0;
  check_hdf5(H5Tget_fields(type, &sign, &exponent, &exponent_bits, &fraction, &fraction_bits),
             "float type", "H5Tget_fields");
  if (bytes == 2 && exponent_bits == 5) return DType::kF16;
  if (bytes == 2 && exponent_bits == 8) return DType::kBF16;
  bad_input("floats of ", bytes, " bytes are not read; supported are f16, bf16, f32, f64");
}

std::array<hsize_t, Shape::kMaxRank> extents(const Shape& shape) {
  std::array<hsize_t, Shape::kMaxRank> out{};
  for (int axis = 0; axis < shape.rank(); ++axis) out[axis] = static_cast<hsize_t>(shape[axis]);
  return out;
}

}  // namespace

void silence_hdf5() {
  thread_local bool silent = false;
  if (!silent) silent = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
}

std::string hdf5_reason() {
  std::string reason;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &reason);
  return reason.empty() ? "no reason given" : reason;
}

Hdf5Handle memory_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return copy_of(H5T_NATIVE_FLOAT);
    case DType::kF64:
      return copy_of(H5T_NATIVE_DOUBLE);
    case DType::kU8:
      return copy_of(H5T_NATIVE_UINT8);
    case DType::kI8:
      return copy_of(H5T_NATIVE_INT8);
    case DType::kI16:
      return copy_of(H5T_NATIVE_INT16);
    case DType::kI32:
      return copy_of(H5T_NATIVE_INT32);
    case DType::kI64:
      return copy_of(H5T_NATIVE_INT64);
    case DType::kF16:
      return small_float(5, 10, 15);
    case DType::kBF16:
      return small_float(8, 7, 127);
  }
  broken_invariant("dtype ", static_cast<int>(dtype), " is not known");
}

DType dtype_of(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return integer_dtype(H5Tget_size(type), H5Tget_sign(type) == H5T_SGN_2);
    case H5T_FLOAT:
      return float_dtype(type);
    case H5T_STRING:
      bad_input("texts are not numbers");
    case H5T_COMPOUND:
      bad_input("records (compound type) are not read");
    case H5T_ENUM:
      bad_input("enumerations are not read");
    default:
      bad_input("its type is not numeric");
  }
}

Hdf5Handle dataspace(const Shape& shape) {
  const auto dims = extents(shape);
  const hid_t id = shape.rank() == 0 ? H5Screate(H5S_SCALAR)
                                     : H5Screate_simple(shape.rank(), dims.data(), nullptr);
  return Hdf5Handle(check_hdf5(id, shape.to_string(), "H5Screate"), H5Sclose);
}

Hdf5Handle select_rows(const Shape& shape, std::int64_t begin, std::int64_t end) {
  Hdf5Handle space = dataspace(shape);
  if (shape.rank() == 0) return space;
  const auto count = extents(shape.with(0, end - begin));
  std::array<hsize_t, Shape::kMaxRank> start{};
  start[0] = static_cast<hsize_t>(begin);
  check_hdf5(
      H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr),
      shape.to_string(), "H5Sselect_hyperslab");
  return space;
}

Shape shape_of(hid_t space) {
  check_input(H5Sget_simple_extent_type(space) != H5S_NULL, "it has no elements (null dataspace)");
  const int rank = check_hdf5(H5Sget_simple_extent_ndims(space), "shape", "H5Sget_ndims");
  check_input(rank <= Shape::kMaxRank, "it has ", rank, " dimensions; at most ", Shape::kMaxRank,
              " are read");
  std::array<hsize_t, Shape::kMaxRank> dims{};
  check_hdf5(H5Sget_simple_extent_dims(space, dims.data(), nullptr), "shape", "H5Sget_dims");
  std::array<std::int64_t, Shape::kMaxRank> out{};
  std::int64_t bytes = 8;  // of the widest element
  for (int axis = 0; axis < rank; ++axis) {
    out[axis] = static_cast<std::int64_t>(dims[axis]);
    check_input(out[axis] >= 0 &&
                    !__builtin_mul_overflow(bytes, std::max(out[axis], std::int64_t{1}), &bytes),
                "its extents are not possible: their product is over 2^63 bytes");
  }
  return Shape(std::span<const std::int64_t>(out.data(), static_cast<std::size_t>(rank)));
}

}  // namespace lockstep
