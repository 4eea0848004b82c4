#include "datasets/verify.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/hdf5/hdf5.h"
#include "core/base/hdf5/row_reader.h"
#include "datasets/convert.h"
#include "datasets/dataset.h"

namespace lockstep {
namespace {

// A shard that could be opened.
struct OpenShard {
  std::string path;
  std::unique_ptr<Hdf5File> file;
  std::shared_ptr<const ReadOnlyFile> bytes;
};

Shape sample_of(const Hdf5Array& array) { return array.shape.slice(1, array.shape.rank()); }

class Verification {
 public:
  Verification(const std::string& source, const VerifyOptions& options) : options_(options) {
    for (const std::string& path : resolve_source(source)) open(path);
  }

  VerifyReport run() {
    if (shards_.empty()) return std::move(report_);
    const std::vector<std::string> names = array_names();
    check_input(options_.target.empty() || std::ranges::find(names, options_.target) != names.end(), shards_[0].path,
                ": no array \"", options_.target, "\"");
    check_shards(names);
    Xxh3 fingerprint;
    for (const std::string& name : names) verify_array(name, fingerprint);
    if (report_.good()) report_.fingerprint = hex_of(fingerprint.digest());
    return std::move(report_);
  }

 private:
  void add(const std::string& problem) {
    if (report_.problems.size() < VerifyReport::kMostProblems) {
      report_.problems.push_back(problem);
    } else {
      ++report_.more;
    }
  }

  void open(const std::string& path) {
    try {
      OpenShard shard{path, std::make_unique<Hdf5File>(path), std::make_shared<const ReadOnlyFile>(path)};
      for (const auto& [name, why] : shard.file->unreadable()) {
        if (options_.target == name) add(text(path, ": array \"", name, "\": ", why));
      }
      shards_.push_back(std::move(shard));
    } catch (const Error& error) {
      add(error.what());
    }
  }

  // Of the first shard that can be read, sorted.
  std::vector<std::string> array_names() const {
    std::vector<std::string> names;
    for (const Hdf5Array& array : shards_[0].file->arrays()) {
      if (array.shape.rank() > 0 && !array.is_bookkeeping) names.push_back(array.name);
    }
    return names;
  }

  void check_shards(const std::vector<std::string>& names) {
    if (names.empty()) add(text(shards_[0].path, ": has no arrays of samples"));
    for (const OpenShard& shard : shards_) {
      const Hdf5Array* first = nullptr;
      for (const std::string& name : names) {
        const Hdf5Array* const array = shard.file->find(name);
        if (array == nullptr) {
          add(text(shard.path, ": no array \"", name, "\", which ", shards_[0].path, " has"));
          continue;
        }
        const Hdf5Array& model = shards_[0].file->array(name);
        if (array->shape.rank() == 0 || array->dtype != model.dtype || sample_of(*array) != sample_of(model)) {
          add(text(shard.path, ": array \"", name, "\" is ", name_of(array->dtype), array->shape, ", in ", shards_[0].path,
                   " it is ", name_of(model.dtype), model.shape));
          continue;
        }
        if (first == nullptr) first = array;
        if (array->rows() != first->rows()) {
          add(text(shard.path, ": array \"", name, "\" has ", array->rows(), " samples, array \"", first->name, "\" has ",
                   first->rows(), "; they must be equal"));
        }
        all_bytes_ += static_cast<std::uint64_t>(array->rows()) * array->row_bytes();
      }
      if (first != nullptr) report_.samples += first->rows();
    }
  }

  void verify_array(const std::string& name, Xxh3& fingerprint) {
    const Hdf5Array& model = shards_[0].file->array(name);
    const std::string header =
        text(name, ' ', name_of(model.dtype), ' ', report_.samples, sample_of(model), '\n');
    fingerprint.update(std::as_bytes(std::span(header)));
    for (const OpenShard& shard : shards_) {
      const Hdf5Array* const array = shard.file->find(name);
      if (array == nullptr || array->shape.rank() == 0 || array->dtype != model.dtype || sample_of(*array) != sample_of(model)) continue;
      try {
        verify_shard(shard, *array, fingerprint);
      } catch (const Error& error) {
        add(error.what());
      }
    }
  }

  void verify_shard(const OpenShard& shard, const Hdf5Array& array, Xxh3& fingerprint) {
    const Hdf5RowReader reader(*shard.file, array, shard.bytes);
    Hdf5RowReader::Scratch scratch;
    const std::size_t row_bytes = array.row_bytes();
    const std::int64_t chunk = std::max<std::int64_t>(1, reader.rows_of_chunk());
    const auto fitting = static_cast<std::int64_t>(kBlockBytes / std::max<std::size_t>(1, row_bytes * static_cast<std::size_t>(chunk)));
    const std::int64_t rows = chunk * std::max<std::int64_t>(1, fitting);
    std::vector<std::byte> room(static_cast<std::size_t>(std::min(rows, array.rows())) * row_bytes);
    Xxh3 values;
    bool complete = true;
    found_ = {};
    for (std::int64_t begin = 0; begin < array.rows(); begin += rows) {
      const std::int64_t end = std::min(begin + rows, array.rows());
      const std::span<const std::byte> block(room.data(), static_cast<std::size_t>(end - begin) * row_bytes);
      try {
        reader.read(begin, end, room.data(), scratch);
      } catch (const Error& error) {
        add(error.what());
        complete = false;
        continue;
      }
      values.update(block);
      fingerprint.update(block);
      look_at_values(shard, array, begin, end, room.data());
      report_.bytes += block.size();
      if (options_.progress && all_bytes_ > 0) options_.progress(static_cast<double>(report_.bytes) / static_cast<double>(all_bytes_));
    }
    tell_values(shard, array);
    if (complete) compare_checksum(shard, array, values.digest());
  }

  // The first of each kind, and how many there are.
  struct Found {
    std::int64_t not_finite = 0, first_row = 0, wrong_labels = 0, first_label_row = 0;
    double value = 0, label = 0;
  };

  void look_at_values(const OpenShard& shard, const Hdf5Array& array, std::int64_t begin, std::int64_t end, const std::byte* bytes) {
    const bool labels = array.name == options_.target;
    if (!labels && !is_floating(array.dtype)) return;
    const std::int64_t elements = sample_of(array).elements();
    const auto below = static_cast<double>(labels ? classes_of(shard, array) : 0);
    with_values(array.dtype, bytes, [&](const auto* values) {
      for (std::int64_t i = 0; i < (end - begin) * elements; ++i) {
        const double value = as_double(values[i]);
        if (!std::isfinite(value)) {
          if (found_.not_finite++ > 0) continue;
          found_.first_row = begin + i / elements;
          found_.value = value;
        } else if (labels && !(value >= 0 && value == std::floor(value) && (below == 0 || value < below))) {
          if (found_.wrong_labels++ > 0) continue;
          found_.first_label_row = begin + i / elements;
          found_.label = value;
        }
      }
    });
  }

  std::int64_t classes_of(const OpenShard& shard, const Hdf5Array& array) const {
    if (options_.classes > 0) return options_.classes;
    const auto names = shard.file->texts(array.name, "class_names");
    return names ? static_cast<std::int64_t>(names->size()) : 0;
  }

  void tell_values(const OpenShard& shard, const Hdf5Array& array) {
    const auto and_more = [](std::int64_t count) { return count > 1 ? text(" (and ", count - 1, " more)") : std::string(); };
    if (found_.not_finite > 0) {
      add(text(shard.path, ": array \"", array.name, "\", row ", found_.first_row, ": ", found_.value, and_more(found_.not_finite),
               ", expected finite numbers"));
    }
    if (found_.wrong_labels > 0) {
      const std::int64_t below = classes_of(shard, array);
      add(text(shard.path, ": array \"", array.name, "\", row ", found_.first_label_row, ": label ", found_.label,
               and_more(found_.wrong_labels), ", expected whole numbers ",
               below > 0 ? text("in [0, ", below, ")") : std::string("from 0 on")));
    }
  }

  void compare_checksum(const OpenShard& shard, const Hdf5Array& array, std::uint64_t digest) {
    const auto stored = shard.file->text(array.name, "xxh3");
    if (!stored) return;
    ++report_.checksums;
    if (*stored == hex_of(digest)) return;
    add(text(shard.path, ": array \"", array.name, "\": the values have checksum ", hex_of(digest), ", written was ", *stored,
             ": they were changed since"));
  }

  const VerifyOptions& options_;
  std::vector<OpenShard> shards_;
  std::uint64_t all_bytes_ = 0;
  Found found_;
  VerifyReport report_;
};

}  // namespace

VerifyReport verify_dataset(const std::string& source, const VerifyOptions& options) {
  return Verification(source, options).run();
}

}  // namespace lockstep
