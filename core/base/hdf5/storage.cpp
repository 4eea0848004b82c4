// Where the bytes of an array lie in its file, as the library knows it.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "core/base/file.h"
#include "core/base/hdf5/check.h"
#include "core/base/hdf5/hdf5.h"

namespace lockstep {
namespace {

constexpr H5Z_filter_t kFilterLzf = 32000;  // registered by h5py

// The filters of an array in the order of writing; false with the reason where one is not ours.
bool read_filters(hid_t properties, std::size_t element_bytes, std::vector<Hdf5Filter>& out,
                  std::string& why) {
  const int count = H5Pget_nfilters(properties);
  for (int i = 0; i < count; ++i) {
    unsigned flags = 0, config = 0;
    std::array<unsigned, 8> values{};
    std::size_t value_count = values.size();
    const H5Z_filter_t filter = H5Pget_filter2(properties, static_cast<unsigned>(i), &flags,
                                               &value_count, values.data(), 0, nullptr, &config);
    switch (filter) {
      case H5Z_FILTER_DEFLATE: out.push_back({Hdf5FilterKind::kGzip, 1}); break;
      case H5Z_FILTER_SHUFFLE:
        out.push_back({Hdf5FilterKind::kShuffle, value_count > 0 && values[0] > 0 ? values[0] : element_bytes});
        break;
      case H5Z_FILTER_FLETCHER32: out.push_back({Hdf5FilterKind::kFletcher32, 1}); break;
      case kFilterLzf: out.push_back({Hdf5FilterKind::kLzf, 1}); break;
      default:
        why = text("filter ", filter);
        return false;
    }
  }
  return true;
}

// The fill value as it is stored: nothing where it is zero.
std::vector<std::byte> fill_value(hid_t properties, hid_t type) {
  H5D_fill_value_t defined = H5D_FILL_VALUE_UNDEFINED;
  if (H5Pfill_value_defined(properties, &defined) < 0 || defined != H5D_FILL_VALUE_USER_DEFINED) return {};
  std::vector<std::byte> value(H5Tget_size(type));
  if (H5Pget_fill_value(properties, type, value.data()) < 0) return {};
  const bool zero = std::ranges::all_of(value, [](std::byte b) { return b == std::byte{0}; });
  return zero ? std::vector<std::byte>{} : value;
}

// Above this many chunks it is looked whether the file can be true.
constexpr double kManyChunks = 1e6;

// An array of which hardly anything was written has been damaged, or would take hours to search.
void check_chunk_count(hid_t dataset, hid_t space, double expected, const std::string& where) {
  hsize_t stored = 0;
  check_stored(H5Dget_num_chunks(dataset, space, &stored), where, "H5Dget_num_chunks");
  check_input(static_cast<double>(stored) * 64 >= expected, where, ": has ", expected, " chunks, of which ",
              stored, " were written: the file is damaged, or its chunks are far too small");
}

// HDF5 before 1.14.2 counts the places of chunks from the end of the user block, later versions from
// the begin of the file: the first stored chunk shows it.
std::uint64_t base_of_chunks(hid_t file, hid_t dataset, const std::string& path,
                             const std::vector<hsize_t>& where, std::uint64_t offset, std::size_t bytes) {
  const Hdf5Handle creation(H5Fget_create_plist(file), H5Pclose);
  hsize_t block = 0;
  if (H5Pget_userblock(creation.id(), &block) < 0 || block == 0) return 0;
  const ReadOnlyFile content(path);
  if (offset > content.size() || bytes > content.size() - offset) return 0;
  std::vector<std::byte> raw(bytes), read(bytes);
  std::uint32_t mask = 0;
  if (H5Dread_chunk(dataset, H5P_DEFAULT, where.data(), &mask, raw.data()) < 0) return block;
  content.read(offset, bytes, read.data());
  return std::memcmp(raw.data(), read.data(), bytes) == 0 ? 0 : block;
}

}  // namespace

Hdf5Storage Hdf5File::storage(const Hdf5Array& array) const {
  silence_hdf5();
  const std::string where = path_ + ": array \"" + array.name + '"';
  const Hdf5Handle dataset(
      check_stored(H5Dopen2(file_.id(), array.name.c_str(), H5P_DEFAULT), where, "H5Dopen2"), H5Dclose);
  const Hdf5Handle type(H5Dget_type(dataset.id()), H5Tclose);
  const Hdf5Handle space(H5Dget_space(dataset.id()), H5Sclose);
  const Hdf5Handle properties(H5Dget_create_plist(dataset.id()), H5Pclose);
  Hdf5Storage out;
  out.element = element_of(type.id());
  out.fill = fill_value(properties.id(), type.id());
  if (array.shape.elements() == 0) return out;

  const auto through_library = [&](std::string why) {
    out.kind = Hdf5Storage::Kind::kLibrary;
    out.why = std::move(why);
    return out;
  };
  switch (H5Pget_layout(properties.id())) {
    case H5D_CONTIGUOUS: {
      if (H5Pget_external_count(properties.id()) > 0) return through_library("external files");
      // Of an array that was never written the offset is "undefined", to which the library adds the
      // size of a user block; its status is right.
      H5D_space_status_t status = H5D_SPACE_STATUS_NOT_ALLOCATED;
      check_stored(H5Dget_space_status(dataset.id(), &status), where, "H5Dget_space_status");
      if (status == H5D_SPACE_STATUS_NOT_ALLOCATED) return out;
      const haddr_t offset = H5Dget_offset(dataset.id());
      if (offset != HADDR_UNDEF) out.offset = offset;
      return out;
    }
    case H5D_COMPACT: {
      // The library reads as much as the extents claim.
      const std::uint64_t needed =
          static_cast<std::uint64_t>(array.shape.elements()) * out.element.bytes;
      check_input(array.stored_bytes == needed, where, ": is of shape ", array.shape, ", ", needed,
                  " bytes, but its description holds ", array.stored_bytes,
                  ": the file is damaged");
      out.kind = Hdf5Storage::Kind::kCompact;
      out.content.resize(static_cast<std::size_t>(array.rows()) * array.row_bytes());
      read(array, 0, array.rows(), out.content.data());
      return out;
    }
    case H5D_CHUNKED:
      break;
    default:
      return through_library("a virtual array");
  }
  std::string why;
  if (!read_filters(properties.id(), out.element.bytes, out.filters, why)) return through_library(why);

  out.kind = Hdf5Storage::Kind::kChunked;
  const int rank = array.shape.rank();
  double expected = 1;
  for (int axis = 0; axis < rank; ++axis) {
    expected *= std::ceil(static_cast<double>(array.shape[axis]) / static_cast<double>(array.chunk[axis]));
  }
  if (expected > kManyChunks) check_chunk_count(dataset.id(), space.id(), expected, where);
  std::vector<hsize_t> at(static_cast<std::size_t>(rank), 0);
  std::uint64_t base = 0;
  bool knows_base = false;
  // Row-major through the grid of chunks.
  for (bool more = true; more;) {
    Hdf5Storage::Chunk chunk;
    unsigned mask = 0;
    haddr_t offset = HADDR_UNDEF;
    hsize_t bytes = 0;
    check_stored(H5Dget_chunk_info_by_coord(dataset.id(), at.data(), &mask, &offset, &bytes), where,
                 "H5Dget_chunk_info_by_coord");
    if (offset != HADDR_UNDEF && bytes > 0) {
      check_input(bytes <= UINT32_MAX, where, ": a chunk of ", bytes, " bytes is too large");
      if (!knows_base) base = base_of_chunks(file_.id(), dataset.id(), path_, at, offset, bytes);
      knows_base = true;
      chunk = {base + offset, static_cast<std::uint32_t>(bytes), mask};
    }
    out.chunks.push_back(chunk);
    more = false;
    for (int axis = rank; axis-- > 0 && !more;) {
      at[axis] += static_cast<hsize_t>(array.chunk[axis]);
      more = at[axis] < static_cast<hsize_t>(array.shape[axis]);
      if (!more) at[axis] = 0;
    }
  }
  return out;
}

}  // namespace lockstep
