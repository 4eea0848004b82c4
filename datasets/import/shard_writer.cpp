#include "datasets/import/shard_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <numeric>
#include <set>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/hdf5/hdf5.h"
#include "datasets/dataset.h"
#include "datasets/import/staging_folder.h"
#include "datasets/sampler.h"
#include "datasets/shard_name.h"
#include "datasets/split.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kChunkBytes = std::size_t{512} << 10;
constexpr std::size_t kBlockBytesWritten = std::size_t{1} << 20;

constexpr std::size_t kMaxSampleBytes = std::size_t{1} << 31;  // a chunk has fewer than 2^32

// One set that is written: which samples, in which order.
struct Part {
  std::string name;
  std::int64_t shards = 1;
  Range range;                    // of the source, where `order` is not used
  std::vector<std::int64_t> ids;  // in the order of writing
  bool by_ids = false;

  std::int64_t size() const {
    return by_ids ? static_cast<std::int64_t>(ids.size()) : range.size();
  }
};

void check_options(const SampleSource& source, const ShardOptions& options) {
  check_input(!options.name.empty(), "the name of the dataset is empty; give one with --name");
  check_input(options.name.find('/') == std::string::npos, "the name \"", options.name,
              "\" has a slash; give the directory as the output");
  check_input(options.shards >= 1 && options.shards <= 99999, "the number of shards is ",
              options.shards, ", expected 1 .. 99999");
  check_input(options.compress >= 0 && options.compress <= 9, "the level of compression is ",
              options.compress, ", expected 0 .. 9");
  check_input(options.test_fraction >= 0 && options.test_fraction < 1, "the test part is ",
              options.test_fraction, ", expected at least 0 and less than 1");
  check_input(!source.is_series() || !options.shuffle,
              "the rows are a series: their order means something, so they are not shuffled here; "
              "training shuffles the windows that it cuts");
  check_input(!source.is_series() || !options.stratify,
              "the rows are a series: the test part is its end, and cannot be stratified");
  check_input(!options.stratify || options.test_fraction > 0,
              "only a split can be stratified; give the fraction of the test part");
  std::set<std::string> names;
  for (const SourceArray& array : source.arrays()) {
    check_input(!array.name.empty() && array.name.find('/') == std::string::npos &&
                    array.name.find_first_not_of('.') != std::string::npos,
                "an array is named \"", array.name, "\"; expected a name without slashes");
    check_input(array.row_bytes() <= kMaxSampleBytes, "a sample of \"", array.name, "\" takes ",
                array.row_bytes(), " bytes, expected at most ", kMaxSampleBytes);
    check_input(names.insert(array.name).second, "two arrays are named \"", array.name, '"');
  }
  check_input(source.size() > 0, "there are no samples to write");
}

// The labels of all samples.
std::vector<std::int32_t> labels_of(SampleSource& source) {
  const auto& arrays = source.arrays();
  const auto y = std::ranges::find(arrays, "y", &SourceArray::name);
  check_input(y != arrays.end(),
              "only data with labels can be stratified, and there is no array \"y\"");
  const auto index = static_cast<std::size_t>(y - arrays.begin());
  check_input(!is_floating(y->dtype) && y->sample.elements() == 1,
              "only data with classes can be "
              "stratified; \"y\" is ",
              name_of(y->dtype), " of shape ", y->sample, " for each sample");
  const auto rows = static_cast<std::int64_t>(kBlockBytesWritten / y->row_bytes());
  std::vector<std::byte> bytes(static_cast<std::size_t>(rows) * y->row_bytes());
  std::vector<std::int32_t> out;
  out.reserve(static_cast<std::size_t>(source.size()));
  for (std::int64_t begin = 0; begin < source.size(); begin += rows) {
    const Range block{begin, std::min(begin + rows, source.size())};
    source.read(index, block, bytes.data());
    for (std::int64_t i = 0; i < block.size(); ++i) {
      const std::byte* at = bytes.data() + static_cast<std::size_t>(i) * y->row_bytes();
      std::int64_t value = 0;
      switch (y->dtype) {
        case DType::kU8:
          value = std::to_integer<int>(*at);
          break;
        case DType::kI8:
          value = static_cast<std::int8_t>(*at);
          break;
        case DType::kI16: {
          std::int16_t v;
          std::memcpy(&v, at, sizeof v);
          value = v;
          break;
        }
        case DType::kI32: {
          std::int32_t v;
          std::memcpy(&v, at, sizeof v);
          value = v;
          break;
        }
        default:
          std::memcpy(&value, at, sizeof value);
      }
      check_input(value == static_cast<std::int32_t>(value), "sample ", begin + i, ": label ",
                  value, " is no class; expected a number below 2^31");
      out.push_back(static_cast<std::int32_t>(value));
    }
  }
  return out;
}

// Puts the ids in an order that is a pure function of seed and count.
void shuffle(std::uint64_t seed, std::vector<std::int64_t>& ids) {
  std::vector<std::int64_t> order(ids.size()), out(ids.size());
  fill_epoch_order(SampleOrder::kShuffled, seed, 0, order);
  for (std::size_t i = 0; i < ids.size(); ++i) out[i] = ids[static_cast<std::size_t>(order[i])];
  ids = std::move(out);
}

std::vector<Part> parts_of(SampleSource& source, const ShardOptions& options) {
  const std::int64_t size = source.size();
  std::vector<Part> parts;
  if (options.test_fraction == 0) {
    parts.push_back({options.name, options.shards, {0, size}, {}, false});
  } else {
    const std::int64_t tests = std::llround(static_cast<double>(options.shards) *
                                            options.test_fraction / (1 - options.test_fraction));
    const std::int64_t shards[] = {options.shards, std::clamp<std::int64_t>(tests, 1, 99999)};
    parts.push_back({options.name + "-train", shards[0], {}, {}, true});
    parts.push_back({options.name + "-test", shards[1], {}, {}, true});
    if (source.is_series()) {
      check_input(size >= 2, "a series of ", size, " rows cannot be split; expected at least 2");
      const std::int64_t cut = std::clamp<std::int64_t>(
          size - std::llround(static_cast<double>(size) * options.test_fraction), 1, size - 1);
      parts[0].range = {0, cut};
      parts[1].range = {cut, size};
      parts[0].by_ids = parts[1].by_ids = false;
    } else {
      Split cut = options.stratify
                      ? split_stratified(options.seed, labels_of(source), options.test_fraction)
                      : split(options.seed, size, options.test_fraction);
      parts[0].ids = std::move(cut.train);
      parts[1].ids = std::move(cut.test);
    }
  }
  for (Part& part : parts) {
    if (options.shuffle && !part.by_ids) {
      part.by_ids = true;
      part.ids.resize(static_cast<std::size_t>(size));
      std::iota(part.ids.begin(), part.ids.end(), std::int64_t{0});
    }
    if (options.shuffle) shuffle(options.seed, part.ids);
    check_input(part.shards <= part.size(), options.source.empty() ? part.name : options.source,
                ": ", part.size(), " samples do not fill ", part.shards, " shards",
                parts.size() > 1 ? " of " + part.name : "");
  }
  return parts;
}

// Reads the samples [rows) of a part, as few ranges as possible.
void read_rows(SampleSource& source, std::size_t array, const Part& part, Range rows,
               std::byte* to) {
  if (!part.by_ids) {
    source.read(array, {part.range.begin + rows.begin, part.range.begin + rows.end}, to);
    return;
  }
  const std::size_t row_bytes = source.arrays()[array].row_bytes();
  for (std::int64_t at = rows.begin; at < rows.end;) {
    const std::int64_t id = part.ids[static_cast<std::size_t>(at)];
    std::int64_t run = 1;
    while (at + run < rows.end && part.ids[static_cast<std::size_t>(at + run)] == id + run) ++run;
    source.read(array, {id, id + run}, to);
    to += static_cast<std::size_t>(run) * row_bytes;
    at += run;
  }
}

Hdf5Layout layout_for(std::int64_t rows, const SourceArray& array, int compress) {
  if (compress == 0) return {};
  const auto fitting =
      static_cast<std::int64_t>(kChunkBytes / std::max<std::size_t>(1, array.row_bytes()));
  const std::int64_t chunk = std::clamp<std::int64_t>(fitting, 1, std::max<std::int64_t>(1, rows));
  return {chunk, compress, size_of(array.dtype) > 1, false};
}

void set_attribute(Hdf5Writer& writer, const std::string& array, const std::string& name,
                   const AttributeValue& value) {
  if (const auto* word = std::get_if<std::string>(&value)) writer.set_text(array, name, *word);
  if (const auto* list = std::get_if<std::vector<std::string>>(&value))
    writer.set_texts(array, name, *list);
  if (const auto* whole = std::get_if<std::int64_t>(&value))
    writer.set_integer(array, name, *whole);
  if (const auto* real = std::get_if<double>(&value)) writer.set_real(array, name, *real);
}

class Writing {
 public:
  Writing(SampleSource& source, const ShardOptions& options, const ShardProgress& progress)
      : source_(source), options_(options), progress_(progress) {
    for (const SourceArray& array : source.arrays()) all_bytes_ += array.row_bytes();
  }

  // Writes the shard of `part` with its samples `rows`.
  void write(const std::string& path, const Part& part, Range rows) {
    Hdf5Writer writer(path);
    std::size_t bytes_before = 0;
    for (std::size_t i = 0; i < source_.arrays().size(); ++i) {
      write_array(writer, i, part, rows, bytes_before);
      bytes_before += source_.arrays()[i].row_bytes();
    }
    writer.set_text("", "name", options_.name);
    writer.set_text("", "source", options_.source);
    writer.commit();
    samples_done_ += rows.size();
  }

  // Says again how far it is, so that reading back can be stopped too.
  void tell() const {
    if (progress_) progress_(samples_done_, source_.size());
  }

 private:
  void write_array(Hdf5Writer& writer, std::size_t index, const Part& part, Range rows,
                   std::size_t bytes_before) {
    const SourceArray& array = source_.arrays()[index];
    const Hdf5Layout layout = layout_for(rows.size(), array, options_.compress);
    std::vector<std::int64_t> dims = {rows.size()};
    dims.insert(dims.end(), array.sample.dims().begin(), array.sample.dims().end());
    writer.create(array.name, array.dtype, Shape(dims), layout);
    // Whole chunks, so that each is compressed once.
    const std::int64_t unit = std::max<std::int64_t>(1, layout.chunk_rows);
    const auto fitting =
        static_cast<std::int64_t>(kBlockBytesWritten / std::max<std::size_t>(1, array.row_bytes()));
    const std::int64_t block = std::max(unit, fitting / unit * unit);
    room_.resize(static_cast<std::size_t>(std::min(block, rows.size())) * array.row_bytes());
    Xxh3 hash;
    for (std::int64_t begin = 0; begin < rows.size(); begin += block) {
      const std::int64_t end = std::min(begin + block, rows.size());
      read_rows(source_, index, part, {rows.begin + begin, rows.begin + end}, room_.data());
      hash.update(
          std::span(room_).first(static_cast<std::size_t>(end - begin) * array.row_bytes()));
      writer.write(array.name, begin, end, room_.data());
      // In samples, as if all arrays of a shard were written at the same time.
      const double share = (static_cast<double>(rows.size()) * static_cast<double>(bytes_before) +
                            static_cast<double>(end) * static_cast<double>(array.row_bytes())) /
                           std::max(1.0, static_cast<double>(all_bytes_));
      if (progress_) progress_(samples_done_ + static_cast<std::int64_t>(share), source_.size());
    }
    for (const auto& [name, value] : array.attributes) {
      set_attribute(writer, array.name, name, value);
    }
    writer.set_text(array.name, "xxh3", hex_of(hash.digest()));
  }

  SampleSource& source_;
  const ShardOptions& options_;
  const ShardProgress& progress_;
  std::size_t all_bytes_ = 0;  // of a sample
  std::int64_t samples_done_ = 0;
  std::vector<std::byte> room_;
};

// Dataset::fingerprint() of the files as if they were in memory. Reads all of them.
std::uint64_t fingerprint_of(const std::vector<std::string>& files, const Writing& writing) {
  const auto dataset = Dataset::describe(files);
  Xxh3 hash;
  for (std::size_t i = 0; i < dataset->arrays().size(); ++i) {
    const DatasetArray& about = dataset->arrays()[i];
    const std::string header =
        text(about.name, ' ', name_of(about.dtype), ' ', dataset->size(), about.sample, '\n');
    hash.update(std::as_bytes(std::span(header)));
    dataset->for_each_block(
        static_cast<int>(i), [&](std::int64_t, std::int64_t rows, const std::byte* values) {
          hash.update({values, static_cast<std::size_t>(rows) * about.sample_bytes()});
          writing.tell();
        });
  }
  return hash.digest();
}

// Shards of a set of this name that are in the directory, and of its parts.
std::vector<std::string> shards_of(const std::string& directory, const std::string& name) {
  std::vector<std::string> out;
  if (!is_directory(directory)) return out;
  for (const std::string& file : list_files(directory)) {
    const auto shard = parse_shard_name(file);
    if (!shard) continue;
    if (shard->set == name || shard->set == name + "-train" || shard->set == name + "-test") {
      out.push_back((fs::path(directory) / file).string());
    }
  }
  return out;
}

}  // namespace

std::vector<WrittenSet> write_shards(SampleSource& source, const ShardOptions& options,
                                     const ShardProgress& progress) {
  check_options(source, options);
  const std::vector<std::string> existing = shards_of(options.output, options.name);
  check_input(existing.empty() || options.overwrite, existing.empty() ? "" : existing[0],
              ": exists already; give another name or output, or allow overwriting");
  const std::vector<Part> parts = parts_of(source, options);

  local_files().make_directories(options.output);
  StagingFolder staging(options.output, options.name);
  Writing writing(source, options, progress);
  std::vector<WrittenSet> sets;
  std::vector<std::string> staged;
  for (const Part& part : parts) {
    WrittenSet set{part.name, part.size(), {}, 0};
    std::vector<std::string> files;
    for (std::int64_t shard = 0; shard < part.shards; ++shard) {
      const std::string name = ShardName{part.name, shard, part.shards}.path();
      files.push_back(staging.path(name));
      writing.write(files.back(), part, piece_of(part.size(), part.shards, shard));
      set.files.push_back((fs::path(options.output) / name).string());
      staged.push_back(name);
    }
    set.fingerprint = fingerprint_of(files, writing);
    sets.push_back(std::move(set));
  }
  for (const std::string& old : existing) local_files().remove(old);
  if (!existing.empty()) local_files().sync(options.output);
  staging.publish(staged);
  return sets;
}

}  // namespace lockstep
