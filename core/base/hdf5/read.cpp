#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <span>

#include "core/base/hdf5/check.h"
#include "core/base/hdf5/hdf5.h"
#include "core/base/settings.h"

namespace lockstep {
namespace {

// A file may link a group into itself; deeper groups than this are not followed.
constexpr int kMaxDepth = 16;

// True where the file has the HDF5 signature, at 0 or at 512, 1024, 2048, ... (user block).
bool has_signature(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::uint64_t size = file_size(path);
  std::array<char, 8> bytes{};
  for (std::uint64_t at = 0; at + bytes.size() <= size; at = at == 0 ? 512 : at * 2) {
    in.seekg(static_cast<std::streamoff>(at));
    if (!in.read(bytes.data(), bytes.size())) return false;
    if (std::memcmp(bytes.data(), "\x89HDF\r\n\x1a\n", bytes.size()) == 0) return true;
  }
  return false;
}

// Why H5Fopen failed, in words that say what to do.
[[noreturn]] void open_failed(const std::string& path) {
  const std::string reason = hdf5_reason();
  if (reason.find("truncated file") != std::string::npos) {
    bad_input(path, ": the HDF5 file is truncated (", reason, "); copy or write it again");
  }
  if (reason.find("lock file") != std::string::npos) {
    bad_input(path,
              ": the HDF5 file is locked: a program has it open for writing, or its file "
              "system has no locks (then set HDF5_USE_FILE_LOCKING=FALSE in the environment)");
  }
  if (reason.find("already open for write") != std::string::npos) {
    bad_input(path,
              ": the HDF5 file is being written, or its writer was killed before closing it; "
              "wait, or write it again");
  }
  bad_input(path, ": cannot be opened as HDF5: ", reason);
}

std::string filter_name(hid_t properties, unsigned index) {
  unsigned flags = 0, config = 0;
  std::array<unsigned, 8> values{};
  std::size_t count = values.size();
  std::array<char, 64> name{};
  const H5Z_filter_t filter = H5Pget_filter2(properties, index, &flags, &count, values.data(),
                                             name.size() - 1, name.data(), &config);
  switch (filter) {
    case H5Z_FILTER_DEFLATE:
      return text("gzip ", values[0]);
    case H5Z_FILTER_SHUFFLE:
      return "shuffle";
    case H5Z_FILTER_FLETCHER32:
      return "fletcher32";
    case H5Z_FILTER_SZIP:
      return "szip";
    default:
      return name[0] != 0 ? std::string(name.data()) : text("filter ", filter);
  }
}

constexpr std::size_t kMostNameBytes = 4096;

// netCDF marks a dimension that has no values of its own by an attribute; MATLAB's groups of what is
// referred to begin with '#'.
bool is_bookkeeping(hid_t dataset, const std::string& name) {
  if (name.starts_with("#")) return true;
  if (H5Aexists(dataset, "CLASS") <= 0 || H5Aexists(dataset, "NAME") <= 0) return false;
  const Hdf5Handle attribute(H5Aopen(dataset, "NAME", H5P_DEFAULT), H5Aclose);
  const Hdf5Handle type(H5Aget_type(attribute.id()), H5Tclose);
  if (H5Tget_class(type.id()) != H5T_STRING || H5Tis_variable_str(type.id()) > 0) return false;
  const Hdf5Handle space(H5Aget_space(attribute.id()), H5Sclose);
  const std::size_t length = H5Tget_size(type.id());
  if (H5Sget_simple_extent_npoints(space.id()) != 1 || length > kMostNameBytes) return false;
  std::string text(length, '\0');
  if (H5Aread(attribute.id(), type.id(), text.data()) < 0) return false;
  return text.starts_with("This is a netCDF dimension but not a netCDF variable");
}

// The fixed or variable length texts of an attribute.
std::vector<std::string> read_texts(hid_t attribute, const std::string& path,
                                    const std::string& where) {
  const Hdf5Handle type(H5Aget_type(attribute), H5Tclose);
  const Hdf5Handle space(H5Aget_space(attribute), H5Sclose);
  const hssize_t points = H5Sget_simple_extent_npoints(space.id());
  const std::size_t length = H5Tget_size(type.id());
  // A damaged size must not cost memory. Of variable length, a place in the file stands for a text.
  check_input(
      points >= 0 && length > 0 && static_cast<std::uint64_t>(points) <= file_size(path) / length,
      where, ": claims ", points, " texts of ", length,
      " bytes, more than the file has: it is damaged");
  const auto count = static_cast<std::size_t>(points);
  std::vector<std::string> out;
  if (H5Tis_variable_str(type.id()) > 0) {
    std::vector<char*> texts(count, nullptr);
    check_stored(H5Aread(attribute, type.id(), texts.data()), where, "H5Aread");
    for (const char* one : texts) out.emplace_back(one == nullptr ? "" : one);
    H5Dvlen_reclaim(type.id(), space.id(), H5P_DEFAULT, texts.data());
    return out;
  }
  std::string bytes(count * length, '\0');
  check_stored(H5Aread(attribute, type.id(), bytes.data()), where, "H5Aread");
  for (std::size_t i = 0; i < count; ++i) {
    const std::string one = bytes.substr(i * length, length);
    out.push_back(one.substr(0, one.find('\0')));
  }
  return out;
}

// H5T_INTEGER or H5T_FLOAT of an attribute that is one number, H5T_NO_CLASS of others. The library
// converts numbers of damaged types past their end, so they have to be of a type that arrays have.
H5T_class_t class_of_number(hid_t attribute) {
  const Hdf5Handle type(H5Aget_type(attribute), H5Tclose);
  const Hdf5Handle space(H5Aget_space(attribute), H5Sclose);
  const H5T_class_t kind = H5Tget_class(type.id());
  const bool one = H5Sget_simple_extent_npoints(space.id()) == 1;
  if (!one || (kind != H5T_INTEGER && kind != H5T_FLOAT)) return H5T_NO_CLASS;
  try {
    element_of(type.id());
  } catch (const Error&) {
    return H5T_NO_CLASS;
  }
  return kind;
}

}  // namespace

Hdf5Handle& Hdf5Handle::operator=(Hdf5Handle&& other) noexcept {
  if (this != &other) {
    reset();
    id_ = std::exchange(other.id_, -1);
    close_ = other.close_;
  }
  return *this;
}

int Hdf5Handle::reset() {
  if (id_ < 0) return 0;
  return close_(std::exchange(id_, -1));
}

std::size_t Hdf5Array::row_bytes() const {
  const std::int64_t elements = shape.rank() == 0 ? 1 : shape.elements(1, shape.rank());
  return static_cast<std::size_t>(elements) * size_of(dtype);
}

Hdf5File::Hdf5File(const std::string& path) : path_(path) {
  silence_hdf5();
  check_input(!is_directory(path), path, ": is a directory, expected an HDF5 file");
  check_input(is_file(path), path, ": no such file");
  std::ifstream probe(path, std::ios::binary);
  if (!probe) file_failed(path, "open", errno);
  check_input(file_size(path) > 0, path, ": is empty, expected an HDF5 file");
  check_input(has_signature(path), path, ": is not an HDF5 file (it has no HDF5 signature)");
  // A file system without locks (NFS, Lustre, read-only mounts) is read without them.
  const Hdf5Handle access(check_hdf5(H5Pcreate(H5P_FILE_ACCESS), path, "H5Pcreate"), H5Pclose);
  check_hdf5(H5Pset_file_locking(access.id(), true, true), path, "H5Pset_file_locking");
  file_ = Hdf5Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id()), H5Fclose);
  if (!file_.open()) open_failed(path);
  list("", 0);
  std::ranges::sort(arrays_, {}, &Hdf5Array::name);
}

void Hdf5File::list(const std::string& group, int depth) {
  const std::string where = path_ + ": /" + group;
  const Hdf5Handle node(
      check_stored(H5Gopen2(file_.id(), ("/" + group).c_str(), H5P_DEFAULT), where, "H5Gopen2"),
      H5Gclose);
  H5G_info_t members{};
  check_stored(H5Gget_info(node.id(), &members), where, "H5Gget_info");
  for (hsize_t i = 0; i < members.nlinks; ++i) {
    std::array<char, 1024> link{};
    check_stored(H5Lget_name_by_idx(node.id(), ".", H5_INDEX_NAME, H5_ITER_INC, i, link.data(),
                                    link.size(), H5P_DEFAULT),
                 where, "H5Lget_name_by_idx");
    const std::string name = group.empty() ? link.data() : group + "/" + link.data();
    const hid_t id = H5Oopen(node.id(), link.data(), H5P_DEFAULT);
    if (id < 0) {
      unreadable_[name] = "cannot be opened: " + hdf5_reason();
      continue;
    }
    const Hdf5Handle object(id, H5Oclose);
    const H5I_type_t kind = H5Iget_type(id);
    if (kind == H5I_GROUP && depth < kMaxDepth) list(name, depth + 1);
    if (kind != H5I_DATASET) continue;
    try {
      arrays_.push_back(describe(id, name));
    } catch (const Error& error) {
      unreadable_[name] = error.what();
    }
  }
}

Hdf5Array Hdf5File::describe(std::int64_t dataset, const std::string& name) const {
  const Hdf5Handle type(H5Dget_type(dataset), H5Tclose);
  const Hdf5Handle space(H5Dget_space(dataset), H5Sclose);
  const Hdf5Handle properties(H5Dget_create_plist(dataset), H5Pclose);
  Hdf5Array array;
  array.name = name;
  array.dtype = element_of(type.id()).dtype;
  array.shape = shape_of(space.id());
  array.stored_bytes = H5Dget_storage_size(dataset);
  array.is_bookkeeping = is_bookkeeping(dataset, name);
  if (H5Pget_layout(properties.id()) == H5D_CHUNKED) {
    std::array<hsize_t, Shape::kMaxRank> dims{};
    check_stored(H5Pget_chunk(properties.id(), Shape::kMaxRank, dims.data()), name, "H5Pget_chunk");
    array.chunk = possible_shape(
        std::span(dims).first(static_cast<std::size_t>(array.shape.rank())), "its chunks are");
    const int filters = check_stored(H5Pget_nfilters(properties.id()), name, "H5Pget_nfilters");
    for (int i = 0; i < filters; ++i) {
      array.filters.push_back(filter_name(properties.id(), static_cast<unsigned>(i)));
    }
  }
  return array;
}

const Hdf5Array* Hdf5File::find(const std::string& name) const {
  const auto found = std::ranges::lower_bound(arrays_, name, {}, &Hdf5Array::name);
  return found != arrays_.end() && found->name == name ? &*found : nullptr;
}

const Hdf5Array& Hdf5File::array(const std::string& name) const {
  if (const Hdf5Array* found = find(name)) return *found;
  if (const auto reason = unreadable_.find(name); reason != unreadable_.end()) {
    bad_input(path_, ": array \"", name, "\": ", reason->second);
  }
  std::vector<std::string> names;
  std::string all;
  for (const Hdf5Array& one : arrays_) {
    names.push_back(one.name);
    all += (all.empty() ? "\"" : ", \"") + one.name + '"';
  }
  const std::string nearest = nearest_name(name, names);
  bad_input(path_, ": no array \"", name, '"',
            nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?",
            all.empty() ? "; the file has no arrays" : "; it has " + all);
}

void Hdf5File::read(const Hdf5Array& array, std::int64_t begin, std::int64_t end, void* to) const {
  require(begin >= 0 && begin <= end && end <= array.rows(), path_, ": rows [", begin, ", ", end,
          ") of array \"", array.name, "\" with ", array.rows());
  if (begin == end || array.row_bytes() == 0) return;
  silence_hdf5();
  const std::string where = path_ + ": array \"" + array.name + '"';
  const Hdf5Handle dataset(
      check_stored(H5Dopen2(file_.id(), array.name.c_str(), H5P_DEFAULT), where, "H5Dopen2"),
      H5Dclose);
  const Hdf5Handle type = memory_type(array.dtype);
  const Hdf5Handle from = select_rows(array.shape, begin, end);
  const Hdf5Handle memory =
      dataspace(array.shape.rank() == 0 ? array.shape : array.shape.with(0, end - begin));
  if (H5Dread(dataset.id(), type.id(), memory.id(), from.id(), H5P_DEFAULT, to) < 0) {
    bad_input(where, ", rows [", begin, ", ", end, "): cannot be read: ", hdf5_reason());
  }
}

std::vector<std::byte> Hdf5File::read(const std::string& name) const {
  const Hdf5Array& found = array(name);
  std::vector<std::byte> bytes(static_cast<std::size_t>(found.rows()) * found.row_bytes());
  read(found, 0, found.rows(), bytes.data());
  return bytes;
}

std::vector<std::string> Hdf5File::attributes(const std::string& array) const {
  silence_hdf5();
  const std::string object = "/" + array;
  const Hdf5Handle opened(check_stored(H5Oopen(file_.id(), object.c_str(), H5P_DEFAULT), path_ + ": " + object, "H5Oopen"),
                          H5Oclose);
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* name, const H5A_info_t*, void* into) -> herr_t {
    static_cast<std::vector<std::string>*>(into)->emplace_back(name);
    return 0;
  };
  check_stored(H5Aiterate2(opened.id(), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, add, &names), path_ + ": " + object,
               "H5Aiterate2");
  return names;
}

Hdf5Handle Hdf5File::attribute(const std::string& array, const std::string& name) const {
  silence_hdf5();
  const std::string object = "/" + array;
  if (H5Aexists_by_name(file_.id(), object.c_str(), name.c_str(), H5P_DEFAULT) <= 0) return {};
  const hid_t id =
      H5Aopen_by_name(file_.id(), object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT);
  return Hdf5Handle(check_stored(id, path_ + ": attribute " + name, "H5Aopen_by_name"), H5Aclose);
}

std::optional<std::vector<std::string>> Hdf5File::texts(const std::string& array,
                                                        const std::string& name) const {
  const Hdf5Handle found = attribute(array, name);
  if (!found.open()) return std::nullopt;
  const Hdf5Handle type(H5Aget_type(found.id()), H5Tclose);
  if (H5Tget_class(type.id()) != H5T_STRING) return std::nullopt;
  return read_texts(found.id(), path_, path_ + ": attribute " + name);
}

std::optional<std::string> Hdf5File::text(const std::string& array, const std::string& name) const {
  const auto all = texts(array, name);
  if (!all || all->size() != 1) return std::nullopt;
  return all->front();
}

std::optional<std::int64_t> Hdf5File::integer(const std::string& array,
                                              const std::string& name) const {
  const Hdf5Handle found = attribute(array, name);
  if (!found.open()) return std::nullopt;
  if (class_of_number(found.id()) != H5T_INTEGER) return std::nullopt;
  std::int64_t value = 0;
  check_stored(H5Aread(found.id(), H5T_NATIVE_INT64, &value), path_ + ": attribute " + name,
               "H5Aread");
  return value;
}

std::optional<std::vector<std::int64_t>> Hdf5File::integers(const std::string& array,
                                                            const std::string& name) const {
  const Hdf5Handle found = attribute(array, name);
  if (!found.open()) return std::nullopt;
  if (class_of_number(found.id()) != H5T_INTEGER) return std::nullopt;
  const std::string where = path_ + ": attribute " + name;
  const Hdf5Handle space(check_stored(H5Aget_space(found.id()), where, "H5Aget_space"), H5Sclose);
  const hssize_t count = H5Sget_simple_extent_npoints(space.id());
  // An attribute is small: its header holds at most 64 KiB.
  if (count < 0 || count > 8192) return std::nullopt;
  std::vector<std::int64_t> values(static_cast<std::size_t>(count));
  check_stored(H5Aread(found.id(), H5T_NATIVE_INT64, values.data()), where, "H5Aread");
  return values;
}

std::optional<double> Hdf5File::real(const std::string& array, const std::string& name) const {
  const Hdf5Handle found = attribute(array, name);
  if (!found.open()) return std::nullopt;
  if (class_of_number(found.id()) == H5T_NO_CLASS) return std::nullopt;
  double value = 0;
  check_stored(H5Aread(found.id(), H5T_NATIVE_DOUBLE, &value), path_ + ": attribute " + name,
               "H5Aread");
  return value;
}

}  // namespace lockstep
