#include "core/base/hdf5/check.h"

#include <algorithm>
#include <array>

namespace lockstep {
namespace {

// The library's drivers add time, address and sizes to what they say, over two lines; what is kept is the
// system's reason.
std::string short_form(std::string description) {
  constexpr const char* kBefore = "error message = '";
  const std::size_t begin = description.find(kBefore);
  if (begin != std::string::npos) {
    const std::size_t word = begin + std::string(kBefore).size();
    const std::string reason = description.substr(word, description.find('\'', word) - word);
    description = description.substr(0, description.find(": ")) + ": " + reason;
  }
  std::ranges::replace(description, '\n', ' ');
  return description;
}

// Called from the innermost error outwards; keeps the first.
herr_t keep_innermost(unsigned, const H5E_error2_t* error, void* out) {
  auto& reason = *static_cast<std::string*>(out);
  if (reason.empty() && error->desc != nullptr) {
    reason = text(error->func_name == nullptr ? "" : error->func_name, ": ", short_form(error->desc));
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

constexpr const char* kSupported =
    "supported are whole numbers of 1, 2, 4 and 8 bytes, f16, bf16, f32, f64";

// Whole numbers; what has no dtype of its own is widened.
DType integer_dtype(std::size_t bytes, bool is_signed) {
  switch (bytes) {
    case 1: return is_signed ? DType::kI8 : DType::kU8;
    case 2: return is_signed ? DType::kI16 : DType::kI32;
    case 4: return is_signed ? DType::kI32 : DType::kI64;
    case 8: return DType::kI64;
    default: bad_input("integers of ", bytes, " bytes are not read; ", kSupported);
  }
}

DType float_dtype(hid_t type) {
  const std::size_t bytes = H5Tget_size(type);
  std::size_t sign = 0, exponent = 0, exponent_bits = 0, fraction = 0, fraction_bits = 0;
  check_hdf5(H5Tget_fields(type, &sign, &exponent, &exponent_bits, &fraction, &fraction_bits),
             "float type", "H5Tget_fields");
  check_input(fraction == 0 && exponent == fraction_bits && sign == fraction_bits + exponent_bits,
              "floats whose fraction, exponent and sign lie in another order are not read; ",
              kSupported);
  if (bytes == 4 && exponent_bits == 8 && fraction_bits == 23) return DType::kF32;
  if (bytes == 8 && exponent_bits == 11 && fraction_bits == 52) return DType::kF64;
  if (bytes == 2 && exponent_bits == 5 && fraction_bits == 10) return DType::kF16;
  if (bytes == 2 && exponent_bits == 8 && fraction_bits == 7) return DType::kBF16;
  bad_input("floats of ", bytes, " bytes with ", exponent_bits, " bits of exponent are not read; ",
            kSupported);
}

std::array<hsize_t, Shape::kMaxRank> extents(const Shape& shape) {
  std::array<hsize_t, Shape::kMaxRank> out{};
  for (int axis = 0; axis < shape.rank(); ++axis) out[axis] = static_cast<hsize_t>(shape[axis]);
  return out;
}

}  // namespace

void silence_hdf5() {
  // At the end of the process the library would try once more to write what it could not, and crash.
  static const herr_t no_exit_handler = H5dont_atexit();
  (void)no_exit_handler;
  thread_local bool silent = false;
  if (!silent) silent = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
}

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  if (H5get_libversion(&major, &minor, &release) < 0) return "of an unknown version";
  return text(major, ".", minor, ".", release);
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

Hdf5Element element_of(hid_t type) {
  Hdf5Element element;
  element.bytes = H5Tget_size(type);
  const H5T_class_t kind = H5Tget_class(type);
  switch (kind) {
    case H5T_INTEGER:
      element.is_signed = H5Tget_sign(type) == H5T_SGN_2;
      element.dtype = integer_dtype(element.bytes, element.is_signed);
      break;
    case H5T_BITFIELD:  // PyTables' truth values
      check_input(element.bytes == 1, "bit fields of ", element.bytes, " bytes are not read");
      element.is_signed = false;
      element.dtype = DType::kU8;
      return element;
    case H5T_FLOAT:
      element.dtype = float_dtype(type);
      break;
    case H5T_ENUM: {  // h5py's truth values, netCDF's categories: the numbers behind the names
      const Hdf5Handle numbers(check_hdf5(H5Tget_super(type), "enumeration", "H5Tget_super"), H5Tclose);
      element = element_of(numbers.id());
      const bool truth = element.bytes == 1 && H5Tget_nmembers(type) == 2;
      if (truth) element.dtype = DType::kU8;
      return element;
    }
    case H5T_STRING:
      bad_input("texts are not numbers");
    case H5T_COMPOUND:
      bad_input("records (compound type, complex numbers) are not read");
    default:
      bad_input("its type is not numeric");
  }
  check_input(H5Tget_precision(type) == 8 * element.bytes, "numbers of ", H5Tget_precision(type),
              " bits in ", element.bytes, " bytes are not read");
  const H5T_order_t order = H5Tget_order(type);
  check_input(element.bytes == 1 || order == H5T_ORDER_LE || order == H5T_ORDER_BE,
              "its order of bytes is not read");
  element.big_endian = element.bytes > 1 && order == H5T_ORDER_BE;
  return element;
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

Shape possible_shape(std::span<const hsize_t> extents, const char* what) {
  std::array<std::int64_t, Shape::kMaxRank> out{};
  std::int64_t elements = 1;
  for (std::size_t axis = 0; axis < extents.size(); ++axis) {
    out[axis] = static_cast<std::int64_t>(extents[axis]);
    const bool fits =
        out[axis] >= 0 &&
        !__builtin_mul_overflow(elements, std::max(out[axis], std::int64_t{1}), &elements);
    check_input(fits && elements <= Shape::kMostElements, what,
                " not possible: their product is over 2^48 elements");
  }
  return Shape(std::span<const std::int64_t>(out.data(), extents.size()));
}

Shape shape_of(hid_t space) {
  check_input(H5Sget_simple_extent_type(space) != H5S_NULL, "it has no elements (null dataspace)");
  const int rank = check_hdf5(H5Sget_simple_extent_ndims(space), "shape", "H5Sget_ndims");
  check_input(rank <= Shape::kMaxRank, "it has ", rank, " dimensions; at most ", Shape::kMaxRank,
              " are read");
  std::array<hsize_t, Shape::kMaxRank> dims{};
  check_hdf5(H5Sget_simple_extent_dims(space, dims.data(), nullptr), "shape", "H5Sget_dims");
  return possible_shape(std::span(dims).first(static_cast<std::size_t>(rank)), "its extents are");
}

}  // namespace lockstep
