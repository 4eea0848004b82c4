#include "datasets/dataset.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <iomanip>
#include <mutex>
#include <numeric>
#include <thread>

#include "core/base/error.h"
#include "core/base/hdf5/hdf5.h"
#include "core/base/machine.h"
#include "core/base/settings.h"

namespace lockstep {
namespace {

std::string gibibytes(double bytes) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(bytes < 1e8 ? 4 : 1) << bytes / 0x1p30 << " GiB";
  return out.str();
}

// The names asked for, or all arrays that have samples.
std::vector<std::string> array_names(const Hdf5File& file, const std::vector<std::string>& wanted) {
  if (!wanted.empty()) {
    std::vector<std::string> names = wanted;
    std::ranges::sort(names);
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
  }
  std::vector<std::string> names;
  for (const Hdf5Array& array : file.arrays()) {
    if (array.shape.rank() > 0 && !array.is_bookkeeping) names.push_back(array.name);
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

// Arrays begin on cache lines.
std::size_t on_line(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

}  // namespace

// ---- Opening -----------------------------------------------------------------------------------

std::shared_ptr<const Dataset> Dataset::open(const std::string& source,
                                             const DatasetOptions& options) {
  return open(std::vector<std::string>{source}, options);
}

std::shared_ptr<const Dataset> Dataset::open(const std::vector<std::string>& sources,
                                             const DatasetOptions& options) {
  const std::shared_ptr<Dataset> dataset = describe(sources, options.arrays);
  const std::vector<bool> all(dataset->arrays_.size(), true);
  const std::size_t bytes = dataset->bytes_to_hold(all);
  const std::size_t limit = options.memory_limit > 0 ? options.memory_limit : available_memory();
  if (bytes > limit) {
    environment_failed(dataset->files_[0], dataset->files_.size() > 1 ? " and the other shards" : "", ": ",
                       gibibytes(static_cast<double>(bytes)), " of samples do not fit into ",
                       gibibytes(static_cast<double>(limit)), " of memory");
  }
  dataset->hold(all, line_memory(bytes));
  dataset->load(0, 1, 1);
  return dataset;
}

std::shared_ptr<Dataset> Dataset::describe(const std::vector<std::string>& sources,
                                           const std::vector<std::string>& arrays, std::size_t block_bytes) {
  check_input(!sources.empty(), "a dataset without files: expected at least one source");
  std::shared_ptr<Dataset> dataset(new Dataset());
  for (const std::string& source : sources) {
    for (std::string& path : resolve_source(source)) dataset->files_.push_back(std::move(path));
  }
  std::vector<std::string> names;
  for (const std::string& path : dataset->files_) {
    const Hdf5File file(path);
    if (names.empty()) names = array_names(file, arrays);
    const std::vector<const Hdf5Array*> found = arrays_of(file, names);
    if (dataset->arrays_.empty()) dataset->describe_arrays(file, found);
    Shard shard{dataset->size_, {}};
    const auto bytes = std::make_shared<const ReadOnlyFile>(path);
    for (std::size_t i = 0; i < found.size(); ++i) {
      const DatasetArray& first = dataset->arrays_[i];
      check_input(found[i]->dtype == first.dtype && sample_of(*found[i]) == first.sample, path,
                  ": array \"", first.name, "\" has ",
                  described(found[i]->dtype, sample_of(*found[i])), ", in ", dataset->files_[0], " it has ",
                  described(first.dtype, first.sample));
      shard.readers.emplace_back(file, *found[i], bytes);
    }
    dataset->size_ += found[0]->rows();
    dataset->shards_.push_back(std::move(shard));
  }
  dataset->check_some();
  dataset->cut_into_blocks(block_bytes);
  return dataset;
}

void Dataset::describe_arrays(const Hdf5File& shard, const std::vector<const Hdf5Array*>& found) {
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
  values_.resize(arrays_.size(), nullptr);
}

// A block has whole chunks of the arrays that make up most of a row.
void Dataset::cut_into_blocks(std::size_t block_bytes) {
  const std::size_t largest = std::ranges::max(row_bytes_);
  const std::size_t row = std::max<std::size_t>(1, std::accumulate(row_bytes_.begin(), row_bytes_.end(), std::size_t{0}));
  for (std::size_t s = 0; s < shards_.size(); ++s) {
    const std::int64_t begin = shards_[s].first_row;
    const std::int64_t end = s + 1 < shards_.size() ? shards_[s + 1].first_row : size_;
    std::int64_t chunk = 1;
    for (std::size_t a = 0; a < shards_[s].readers.size(); ++a) {
      if (row_bytes_[a] * 8 >= largest) chunk = std::max(chunk, shards_[s].readers[a].rows_of_chunk());
    }
    const auto chunks = static_cast<std::int64_t>(block_bytes / (row * static_cast<std::size_t>(chunk)));
    const std::int64_t rows = chunk * std::max<std::int64_t>(1, chunks);
    for (std::int64_t first = begin; first < end; first += rows) {
      blocks_.push_back({first, std::min(first + rows, end)});
    }
  }
}

std::shared_ptr<const Dataset> Dataset::from_memory(const std::string& name,
                                                    std::vector<MemoryArray> arrays) {
  check_input(!arrays.empty(), name, ": has no arrays of samples");
  std::ranges::sort(arrays, {}, &MemoryArray::name);
  std::shared_ptr<Dataset> dataset(new Dataset());
  dataset->files_ = {name};
  dataset->shards_.push_back({});
  for (const MemoryArray& array : arrays) {
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
  }
  dataset->values_.resize(arrays.size(), nullptr);
  dataset->check_some();
  dataset->cut_into_blocks(kBlockBytes);
  const std::vector<bool> all(arrays.size(), true);
  dataset->hold(all, line_memory(dataset->bytes_to_hold(all)));
  for (std::size_t a = 0; a < arrays.size(); ++a) {
    std::ranges::copy(arrays[a].bytes, dataset->values_[a]);
  }
  return dataset;
}

void Dataset::check_some() const {
  check_input(size_ > 0, files_[0], files_.size() > 1 ? " and the other shards" : "", ": array \"",
              arrays_[0].name, "\" has no samples");
}

// ---- What there is -----------------------------------------------------------------------------

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

std::string Dataset::place(int array, std::int64_t index) const {
  const auto after = std::ranges::upper_bound(shards_, index, {}, &Shard::first_row);
  const auto file = static_cast<std::size_t>(after - shards_.begin() - 1);
  return text(files_[file], ": array \"", arrays_[static_cast<std::size_t>(array)].name, "\", row ",
              index - shards_[file].first_row);
}

std::int64_t Dataset::block_of(std::int64_t row) const {
  const auto after = std::ranges::upper_bound(blocks_, row, {}, &RowBlock::begin);
  return after - blocks_.begin() - 1;
}

// ---- Reading -----------------------------------------------------------------------------------

template <typename Body>
void Dataset::for_shards(Range rows, const Body& body) const {
  const auto after = std::ranges::upper_bound(shards_, rows.begin, {}, &Shard::first_row);
  std::int64_t at = rows.begin;
  for (auto shard = after - shards_.begin() - 1; at < rows.end; ++shard) {
    const auto next = static_cast<std::size_t>(shard + 1);
    const std::int64_t shard_end = next < shards_.size() ? shards_[next].first_row : size_;
    const std::int64_t end = std::min(rows.end, shard_end);
    const std::int64_t first = shards_[static_cast<std::size_t>(shard)].first_row;
    body(shards_[static_cast<std::size_t>(shard)], Range{at - first, end - first}, at - rows.begin);
    at = end;
  }
}

bool Dataset::rows_alone(int array) const {
  return held(array) || std::ranges::all_of(shards_, [array](const Shard& shard) {
           return shard.readers[static_cast<std::size_t>(array)].rows_of_chunk() == 1;
         });
}

void Dataset::read(int array, Range rows, std::byte* to, Scratch& scratch) const {
  require(rows.begin >= 0 && rows.begin <= rows.end && rows.end <= size_, "rows [", rows.begin, ", ", rows.end,
          ") of ", size_);
  if (rows.size() == 0) return;
  if (held(array)) {
    const std::size_t row_bytes = row_bytes_[static_cast<std::size_t>(array)];
    std::memcpy(to, row(array, rows.begin), static_cast<std::size_t>(rows.size()) * row_bytes);
    return;
  }
  read_files(array, rows, to, scratch);
}

void Dataset::read_files(int array, Range rows, std::byte* to, Scratch& scratch) const {
  const auto index = static_cast<std::size_t>(array);
  for_shards(rows, [&](const Shard& shard, Range in_shard, std::int64_t offset) {
    shard.readers[index].read(in_shard.begin, in_shard.end,
                              to + static_cast<std::size_t>(offset) * row_bytes_[index], scratch.reader_);
  });
}

void Dataset::expect(int array, Range rows) const {
  if (held(array)) return;
  for_shards(rows, [&](const Shard& shard, Range in_shard, std::int64_t) {
    shard.readers[static_cast<std::size_t>(array)].expect(in_shard.begin, in_shard.end);
  });
}

const std::byte* Dataset::block_bytes(int array, RowBlock block, std::vector<std::byte>& room,
                                      Scratch& scratch) const {
  if (held(array)) return row(array, block.begin);
  const std::size_t bytes = static_cast<std::size_t>(block.size()) * row_bytes_[static_cast<std::size_t>(array)];
  if (room.size() < bytes) room.resize(bytes);
  read(array, block, room.data(), scratch);
  return room.data();
}

// ---- Holding -----------------------------------------------------------------------------------

std::vector<bool> Dataset::smallest_within(std::size_t bytes) const {
  std::vector<std::size_t> order(arrays_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [this](std::size_t a) { return row_bytes_[a]; });
  std::vector<bool> which(arrays_.size(), false);
  for (const std::size_t a : order) {
    which[a] = true;
    if (bytes_to_hold(which) > bytes) {
      which[a] = false;
      break;
    }
  }
  return which;
}

std::size_t Dataset::bytes_to_hold(const std::vector<bool>& which) const {
  std::size_t bytes = 0;
  for (std::size_t a = 0; a < arrays_.size(); ++a) {
    if (which[a]) bytes += on_line(static_cast<std::size_t>(size_) * row_bytes_[a]);
  }
  return bytes;
}

void Dataset::hold(const std::vector<bool>& which, std::shared_ptr<std::byte> memory) {
  require(memory_ == nullptr, "a dataset is held twice");
  memory_ = std::move(memory);
  std::byte* at = memory_.get();
  for (std::size_t a = 0; a < arrays_.size(); ++a) {
    if (!which[a]) continue;
    values_[a] = at;
    at += on_line(static_cast<std::size_t>(size_) * row_bytes_[a]);
  }
}

bool Dataset::all_held() const {
  return std::ranges::find(values_, nullptr) == values_.end();
}

void Dataset::load(int part, int parts, int threads) const {
  const auto count = static_cast<std::int64_t>(blocks_.size());
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    Scratch scratch;
    try {
      // Neighbouring blocks go to neighbouring parts: all read along together.
      for (std::int64_t k = next++; part + k * parts < count; k = next++) {
        const RowBlock block = blocks_[static_cast<std::size_t>(part + k * parts)];
        for (std::size_t a = 0; a < arrays_.size(); ++a) {
          if (values_[a] == nullptr) continue;
          std::byte* const to = values_[a] + static_cast<std::size_t>(block.begin) * row_bytes_[a];
          read_files(static_cast<int>(a), block, to, scratch);
        }
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = count;
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(work);
  work();
  for (std::thread& thread : others) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace lockstep
