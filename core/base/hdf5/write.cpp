#include <algorithm>
#include <array>

#include "core/base/hdf5/check.h"
#include "core/base/hdf5/hdf5.h"

namespace lockstep {
namespace {

// Stores no time of writing with the object, so that equal arrays give equal files.
void forget_times(hid_t properties, const std::string& where) {
  check_hdf5(H5Pset_obj_track_times(properties, false), where, "H5Pset_obj_track_times");
}

// Chunks and filters of `layout` for an array of `shape`.
Hdf5Handle creation_properties(const Shape& shape, const Hdf5Layout& layout,
                               const std::string& where) {
  Hdf5Handle properties(check_hdf5(H5Pcreate(H5P_DATASET_CREATE), where, "H5Pcreate"), H5Pclose);
  forget_times(properties.id(), where);
  if (layout.reserved) {
    check_hdf5(H5Pset_alloc_time(properties.id(), H5D_ALLOC_TIME_EARLY), where,
               "H5Pset_alloc_time");
    check_hdf5(H5Pset_fill_time(properties.id(), H5D_FILL_TIME_NEVER), where, "H5Pset_fill_time");
  }
  const bool filtered = layout.gzip > 0 || layout.shuffle || layout.checksum;
  require(layout.chunk_rows > 0 || !filtered, where, ": filters need chunks");
  if (layout.chunk_rows == 0 || shape.elements() == 0) return properties;
  std::array<hsize_t, Shape::kMaxRank> chunk{};
  for (int axis = 0; axis < shape.rank(); ++axis) chunk[axis] = static_cast<hsize_t>(shape[axis]);
  chunk[0] = std::min(chunk[0], static_cast<hsize_t>(layout.chunk_rows));
  check_hdf5(H5Pset_chunk(properties.id(), shape.rank(), chunk.data()), where, "H5Pset_chunk");
  if (layout.shuffle) check_hdf5(H5Pset_shuffle(properties.id()), where, "H5Pset_shuffle");
  if (layout.gzip > 0) {
    check_hdf5(H5Pset_deflate(properties.id(), static_cast<unsigned>(layout.gzip)), where,
               "H5Pset_deflate");
  }
  if (layout.checksum) check_hdf5(H5Pset_fletcher32(properties.id()), where, "H5Pset_fletcher32");
  return properties;
}

}  // namespace

Hdf5Writer::Hdf5Writer(std::string path, const FileSystem& files)
    : path_(std::move(path)), files_(files) {
  silence_hdf5();
  // The format of HDF5 1.8: smaller files, and attributes of more than 64 KiB.
  const Hdf5Handle access(check_hdf5(H5Pcreate(H5P_FILE_ACCESS), path_, "H5Pcreate"), H5Pclose);
  check_hdf5(H5Pset_libver_bounds(access.id(), H5F_LIBVER_V18, H5F_LIBVER_V18), path_,
             "H5Pset_libver_bounds");
  const Hdf5Handle creation(check_hdf5(H5Pcreate(H5P_FILE_CREATE), path_, "H5Pcreate"), H5Pclose);
  forget_times(creation.id(), path_);
  temporary_ = files_.create_temporary(path_);
  file_ = Hdf5Handle(H5Fcreate(temporary_.c_str(), H5F_ACC_TRUNC, creation.id(), access.id()),
                     H5Fclose);
  if (!file_.open()) {
    const std::string reason = hdf5_reason();
    files_.remove(temporary_);
    environment_failed(path_, ": cannot be created: ", reason);
  }
}

Hdf5Writer::~Hdf5Writer() {
  open_.clear();
  file_.reset();
  if (temporary_.empty()) return;
  try {
    files_.remove(temporary_);
  } catch (const Error&) {
    // The error that led here is on its way; a temporary left behind does no harm.
  }
}

void Hdf5Writer::make_groups(const std::string& array) {
  for (std::size_t slash = array.find('/'); slash != std::string::npos;
       slash = array.find('/', slash + 1)) {
    const std::string name = array.substr(0, slash), where = path_ + ": group \"" + name + '"';
    if (!groups_.insert(name).second) continue;
    const Hdf5Handle properties(check_hdf5(H5Pcreate(H5P_GROUP_CREATE), where, "H5Pcreate"), H5Pclose);
    forget_times(properties.id(), where);
    const hid_t id =
        H5Gcreate2(file_.id(), name.c_str(), H5P_DEFAULT, properties.id(), H5P_DEFAULT);
    const Hdf5Handle group(check_hdf5(id, where, "H5Gcreate2"), H5Gclose);
  }
}

void Hdf5Writer::create(const std::string& name, DType dtype, const Shape& shape,
                        const Hdf5Layout& layout) {
  silence_hdf5();
  const std::string where = text(path_, ": array \"", name, "\"");
  require(!open_.contains(name), where, " is created twice");
  const Hdf5Handle properties = creation_properties(shape, layout, where);
  make_groups(name);
  const Hdf5Handle type = memory_type(dtype);
  const Hdf5Handle space = dataspace(shape);
  const hid_t id = H5Dcreate2(file_.id(), name.c_str(), type.id(), space.id(), H5P_DEFAULT,
                              properties.id(), H5P_DEFAULT);
  open_[name] = {Hdf5Handle(check_hdf5(id, where, "H5Dcreate2"), H5Dclose), dtype, shape};
}

void Hdf5Writer::write(const std::string& name, std::int64_t begin, std::int64_t end,
                       const void* from) {
  silence_hdf5();
  const std::string where = text(path_, ": array \"", name, "\"");
  const auto found = open_.find(name);
  require(found != open_.end(), where, " is written before it is created");
  const Open& array = found->second;
  const std::int64_t rows = array.shape.rank() == 0 ? 1 : array.shape[0];
  require(begin >= 0 && begin <= end && end <= rows, where, ": rows [", begin, ", ", end, ") of ",
          rows);
  if (begin == end || array.shape.elements() == 0) return;
  const Hdf5Handle type = memory_type(array.dtype);
  const Hdf5Handle to = select_rows(array.shape, begin, end);
  const Hdf5Handle memory =
      dataspace(array.shape.rank() == 0 ? array.shape : array.shape.with(0, end - begin));
  check_hdf5(H5Dwrite(array.dataset.id(), type.id(), memory.id(), to.id(), H5P_DEFAULT, from),
             where, "H5Dwrite");
}

void Hdf5Writer::write(const std::string& name, DType dtype, const Shape& shape, const void* from,
                       const Hdf5Layout& layout) {
  create(name, dtype, shape, layout);
  write(name, 0, shape.rank() == 0 ? 1 : shape[0], from);
}

std::uint64_t Hdf5Writer::reserve(const std::string& name, DType dtype, const Shape& shape) {
  create(name, dtype, shape, {.reserved = true});
  if (shape.elements() == 0) return 0;
  const haddr_t offset = H5Dget_offset(object(name));
  require(offset != HADDR_UNDEF, path_, ": array \"", name, "\" has no place in the file");
  return offset;
}

std::int64_t Hdf5Writer::object(const std::string& array) const {
  if (array.empty()) return file_.id();
  const auto found = open_.find(array);
  require(found != open_.end(), path_, ": attribute of array \"", array, "\" before it is created");
  return found->second.dataset.id();
}

void Hdf5Writer::set_attribute(const std::string& array, const std::string& name, std::int64_t type,
                               std::int64_t space, const void* value) {
  const std::string where = text(path_, ": attribute \"", name, "\"");
  const hid_t id = H5Acreate2(object(array), name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT);
  const Hdf5Handle attribute(check_hdf5(id, where, "H5Acreate2"), H5Aclose);
  check_hdf5(H5Awrite(id, type, value), where, "H5Awrite");
}

void Hdf5Writer::set_text(const std::string& array, const std::string& name,
                          const std::string& value) {
  silence_hdf5();
  const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  check_hdf5(H5Tset_size(type.id(), value.size() + 1), name, "H5Tset_size");
  check_hdf5(H5Tset_cset(type.id(), H5T_CSET_UTF8), name, "H5Tset_cset");
  set_attribute(array, name, type.id(), dataspace({}).id(), value.c_str());
}

void Hdf5Writer::set_texts(const std::string& array, const std::string& name,
                           const std::vector<std::string>& values) {
  silence_hdf5();
  require(!values.empty(), path_, ": attribute \"", name, "\" is an empty list");
  std::size_t width = 1;
  for (const std::string& value : values) width = std::max(width, value.size() + 1);
  std::string bytes(values.size() * width, '\0');
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::ranges::copy(values[i], bytes.begin() + static_cast<std::ptrdiff_t>(i * width));
  }
  const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  check_hdf5(H5Tset_size(type.id(), width), name, "H5Tset_size");
  check_hdf5(H5Tset_cset(type.id(), H5T_CSET_UTF8), name, "H5Tset_cset");
  const Hdf5Handle space = dataspace({static_cast<std::int64_t>(values.size())});
  set_attribute(array, name, type.id(), space.id(), bytes.data());
}

void Hdf5Writer::set_integer(const std::string& array, const std::string& name,
                             std::int64_t value) {
  silence_hdf5();
  set_attribute(array, name, H5T_NATIVE_INT64, dataspace({}).id(), &value);
}

void Hdf5Writer::set_integers(const std::string& array, const std::string& name,
                              const std::vector<std::int64_t>& values) {
  silence_hdf5();
  const Hdf5Handle space = dataspace({static_cast<std::int64_t>(values.size())});
  set_attribute(array, name, H5T_NATIVE_INT64, space.id(), values.data());
}

void Hdf5Writer::set_real(const std::string& array, const std::string& name, double value) {
  silence_hdf5();
  set_attribute(array, name, H5T_NATIVE_DOUBLE, dataspace({}).id(), &value);
}

const std::string& Hdf5Writer::close() {
  silence_hdf5();
  for (auto& [name, array] : open_) {
    check_hdf5(array.dataset.reset(), path_ + ": array \"" + name + '"', "H5Dclose");
  }
  open_.clear();
  check_hdf5(file_.reset(), path_, "H5Fclose");
  return temporary_;
}

void Hdf5Writer::commit() {
  close();
  files_.publish(temporary_, path_);
  temporary_.clear();
}

}  // namespace lockstep
