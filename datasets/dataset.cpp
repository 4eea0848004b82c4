#include "datasets/dataset.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iomanip>
#include <limits>
#include <numeric>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/hdf5/hdf5.h"
#include "core/base/machine.h"
#include "core/base/settings.h"
#include "datasets/convert.h"

namespace lockstep {
namespace {

std::string gibibytes(double bytes) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(bytes < 1e8 ? 4 : 1) << bytes / 0x1p30 << " GiB";
  return out.str();
}

// The names asked for, or all arrays that have samples.
std::vector<std::string> array_names(const Hdf5File& file, const DatasetOptions& options) {
  if (!options.arrays.empty()) {
    std::vector<std::string> names = options.arrays;
    std::ranges::sort(names);
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
  }
  std::vector<std::string> names;
  for (const Hdf5Array& array : file.arrays()) {
    if (array.shape.rank() > 0) names.push_back(array.name);
  }
  check_input(!names.empty(), file.path(), ": has no arrays of samples");
  return names;
}

// Arrays of one shard, of equal length.
std::vector<const Hdf5Array*> arrays_of(const Hdf5File& file,
                                        const std::vector<std::string>& names) {
  std::vector<const Hdf5Array*> out;
  for (const std::string& name : names) {
    const Hdf5Array& array = file.array(name);
    check_input(array.shape.rank() > 0, file.path(), ": array \"", name,
                "\" is a single value; expected one row for each sample");
    check_input(out.empty() || out[0]->rows() == array.rows(), file.path(), ": array \"", name,
                "\" has ", array.rows(), " samples, array \"", names[0], "\" has ",
                out.empty() ? 0 : out[0]->rows(), "; they must be equal");
    out.push_back(&array);
  }
  return out;
}

Shape sample_of(const Hdf5Array& array) {
  return array.shape.slice(1, array.shape.rank());
}

std::string described(DType dtype, const Shape& sample) {
  return text(name_of(dtype), " samples of ", sample);
}

// The index of the first element that `is_bad`, count where there is none.
template <typename IsBad>
std::int64_t first_bad(DType dtype, const std::byte* data, std::int64_t count,
                       const IsBad& is_bad) {
  return with_values(dtype, data, [&](const auto* values) {
    std::int64_t i = 0;
    while (i < count && !is_bad(as_double(values[i]))) ++i;
    return i;
  });
}

double element(DType dtype, const std::byte* data, std::int64_t index) {
  return with_values(dtype, data, [&](const auto* values) { return as_double(values[index]); });
}

template <typename To>
void gather_as(const Dataset& dataset, int array, std::span<const std::int64_t> ids, To* out) {
  const DatasetArray& about = dataset.arrays()[static_cast<std::size_t>(array)];
  const std::int64_t elements = about.sample.elements();
  for (const std::int64_t id : ids) {
    with_values(about.dtype, dataset.row(array, id), [&](const auto* values) {
      for (std::int64_t i = 0; i < elements; ++i) {
        if constexpr (std::is_class_v<std::remove_cvref_t<decltype(values[i])>>) {
          out[i] = static_cast<To>(static_cast<float>(values[i]));
        } else {
          out[i] = static_cast<To>(values[i]);
        }
      }
    });
    out += elements;
  }
}

}  // namespace

std::shared_ptr<const Dataset> Dataset::open(const std::string& source,
                                             const DatasetOptions& options) {
  return open(std::vector<std::string>{source}, options);
}

std::shared_ptr<const Dataset> Dataset::open(const std::vector<std::string>& sources,
                                             const DatasetOptions& options) {
  check_input(!sources.empty(), "a dataset without files: expected at least one source");
  std::shared_ptr<Dataset> dataset(new Dataset());
  for (const std::string& source : sources) {
    for (std::string& path : resolve_source(source)) dataset->files_.push_back(std::move(path));
  }
  dataset->read_shards(options);
  return dataset;
}

void Dataset::read_shards(const DatasetOptions& options) {
  // All shards are checked before the first is read.
  std::vector<Hdf5File> shards;
  shards.reserve(files_.size());
  std::vector<std::string> names;
  double bytes = 0;
  for (const std::string& path : files_) {
    const Hdf5File& shard = shards.emplace_back(path);
    if (names.empty()) names = array_names(shard, options);
    const std::vector<const Hdf5Array*> found = arrays_of(shard, names);
    if (arrays_.empty()) describe(shard, found);
    for (std::size_t i = 0; i < found.size(); ++i) {
      const DatasetArray& first = arrays_[i];
      check_input(found[i]->dtype == first.dtype && sample_of(*found[i]) == first.sample, path,
                  ": array \"", first.name, "\" has ",
                  described(found[i]->dtype, sample_of(*found[i])), ", in ", files_[0], " it has ",
                  described(first.dtype, first.sample));
      bytes += static_cast<double>(found[i]->rows()) * static_cast<double>(found[i]->row_bytes());
    }
    first_row_.push_back(size_);
    size_ += found[0]->rows();
  }
  check_some();
  const std::size_t limit = options.memory_limit > 0 ? options.memory_limit : available_memory();
  if (bytes > static_cast<double>(limit)) {
    environment_failed(files_[0], files_.size() > 1 ? " and the other shards" : "", ": ",
                       gibibytes(bytes), " of samples do not fit into ",
                       gibibytes(static_cast<double>(limit)), " of memory");
  }
  for (std::size_t i = 0; i < arrays_.size(); ++i) {
    values_[i].resize(static_cast<std::size_t>(size_) * row_bytes_[i]);
    for (std::size_t s = 0; s < shards.size(); ++s) {
      const Hdf5Array& stored = shards[s].array(arrays_[i].name);
      shards[s].read(stored, 0, stored.rows(),
                     values_[i].data() + static_cast<std::size_t>(first_row_[s]) * row_bytes_[i]);
    }
  }
}

void Dataset::describe(const Hdf5File& shard, const std::vector<const Hdf5Array*>& found) {
  for (const Hdf5Array* array : found) {
    DatasetArray about;
    about.name = array->name;
    about.dtype = array->dtype;
    about.sample = sample_of(*array);
    about.feature_names =
        shard.texts(array->name, "feature_names").value_or(std::vector<std::string>{});
    about.class_names =
        shard.texts(array->name, "class_names").value_or(std::vector<std::string>{});
    row_bytes_.push_back(about.sample_bytes());
    arrays_.push_back(std::move(about));
  }
  values_.resize(arrays_.size());
}

std::shared_ptr<const Dataset> Dataset::from_memory(const std::string& name,
                                                    std::vector<MemoryArray> arrays) {
  check_input(!arrays.empty(), name, ": has no arrays of samples");
  std::ranges::sort(arrays, {}, &MemoryArray::name);
  std::shared_ptr<Dataset> dataset(new Dataset());
  dataset->files_ = {name};
  dataset->first_row_ = {0};
  for (MemoryArray& array : arrays) {
    check_input(array.shape.rank() > 0, name, ": array \"", array.name,
                "\" is a single value; expected one row for each sample");
    const auto needed = static_cast<std::size_t>(array.shape.elements()) * size_of(array.dtype);
    check_input(array.bytes.size() == needed, name, ": array \"", array.name, "\" of shape ",
                array.shape, " needs ", needed, " bytes, found ", array.bytes.size());
    check_input(dataset->arrays_.empty() || array.shape[0] == dataset->size_, name, ": array \"",
                array.name, "\" has ", array.shape[0], " samples, array \"", arrays[0].name,
                "\" has ", dataset->size_, "; they must be equal");
    dataset->size_ = array.shape[0];
    DatasetArray about;
    about.name = array.name;
    about.dtype = array.dtype;
    about.sample = array.shape.slice(1, array.shape.rank());
    dataset->row_bytes_.push_back(about.sample_bytes());
    dataset->arrays_.push_back(std::move(about));
    dataset->values_.push_back(std::move(array.bytes));
  }
  dataset->check_some();
  return dataset;
}

void Dataset::check_some() const {
  check_input(size_ > 0, files_[0], files_.size() > 1 ? " and the other shards" : "", ": array \"",
              arrays_[0].name, "\" has no samples");
}

int Dataset::find_or_none(const std::string& name) const {
  const auto found = std::ranges::lower_bound(arrays_, name, {}, &DatasetArray::name);
  if (found == arrays_.end() || found->name != name) return -1;
  return static_cast<int>(found - arrays_.begin());
}

int Dataset::find(const std::string& name) const {
  const int found = find_or_none(name);
  if (found >= 0) return found;
  std::vector<std::string> names;
  std::string all;
  for (const DatasetArray& array : arrays_) {
    names.push_back(array.name);
    all += (all.empty() ? "\"" : ", \"") + array.name + '"';
  }
  const std::string nearest = nearest_name(name, names);
  bad_input(files_[0], ": no array \"", name, '"',
            nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?", "; it has ", all);
}

std::size_t Dataset::bytes() const {
  return std::accumulate(row_bytes_.begin(), row_bytes_.end(), std::size_t{0}) *
         static_cast<std::size_t>(size_);
}

void Dataset::gather(int array, std::span<const std::int64_t> ids, float* out) const {
  gather_as(*this, array, ids, out);
}

void Dataset::gather(int array, std::span<const std::int64_t> ids, std::int32_t* out) const {
  gather_as(*this, array, ids, out);
}

std::uint64_t Dataset::fingerprint() const {
  Xxh3 hash;
  for (std::size_t i = 0; i < arrays_.size(); ++i) {
    // A header that ends in a newline cannot run into the values: their number is in it.
    const std::string header =
        text(arrays_[i].name, ' ', name_of(arrays_[i].dtype), ' ', size_, arrays_[i].sample, '\n');
    hash.update(std::as_bytes(std::span(header)));
    hash.update(values_[i]);
  }
  return hash.digest();
}

std::string Dataset::place(int array, std::int64_t index) const {
  const auto after = std::ranges::upper_bound(first_row_, index);
  const auto file = static_cast<std::size_t>(after - first_row_.begin() - 1);
  return text(files_[file], ": array \"", arrays_[static_cast<std::size_t>(array)].name, "\", row ",
              index - first_row_[file]);
}

void Dataset::check_finite(int array) const {
  const DatasetArray& about = arrays_[static_cast<std::size_t>(array)];
  if (!is_floating(about.dtype)) return;
  const std::int64_t elements = about.sample.elements();
  const std::byte* data = values_[static_cast<std::size_t>(array)].data();
  const std::int64_t bad = first_bad(about.dtype, data, size_ * elements,
                                     [](double value) { return !std::isfinite(value); });
  if (bad == size_ * elements) return;
  bad_input(place(array, bad / elements), ": element ", bad % elements, " is ",
            element(about.dtype, data, bad), ", expected a finite number");
}

void Dataset::check_labels(int array, std::int64_t classes) const {
  const DatasetArray& about = arrays_[static_cast<std::size_t>(array)];
  const std::int64_t elements = about.sample.elements();
  const std::byte* data = values_[static_cast<std::size_t>(array)].data();
  const auto end = static_cast<double>(classes);
  const std::int64_t bad = first_bad(about.dtype, data, size_ * elements, [end](double value) {
    return !(value >= 0.0 && value < end && value == std::floor(value));
  });
  if (bad == size_ * elements) return;
  bad_input(place(array, bad / elements), ": label ", element(about.dtype, data, bad),
            ", expected a whole number in [0, ", classes, ")");
}

std::int64_t Dataset::count_classes(int array) const {
  check_labels(array, std::numeric_limits<std::int32_t>::max());
  const DatasetArray& about = arrays_[static_cast<std::size_t>(array)];
  const std::int64_t count = size_ * about.sample.elements();
  return with_values(about.dtype, values_[static_cast<std::size_t>(array)].data(),
                     [&](const auto* values) {
                       double largest = -1.0;
                       for (std::int64_t i = 0; i < count; ++i) {
                         largest = std::max(largest, as_double(values[i]));
                       }
                       return static_cast<std::int64_t>(largest) + 1;
                     });
}

Subset whole(std::shared_ptr<const Dataset> dataset) {
  Subset out{std::move(dataset), {}};
  out.ids.resize(static_cast<std::size_t>(out.dataset->size()));
  std::iota(out.ids.begin(), out.ids.end(), std::int64_t{0});
  return out;
}

}  // namespace lockstep
