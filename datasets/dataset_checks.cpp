// What a dataset knows of its values: checks, and rows as numbers.
#include <cmath>
#include <limits>
#include <numeric>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "datasets/convert.h"
#include "datasets/dataset.h"

namespace lockstep {
namespace {

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
void convert_row(const DatasetArray& about, const std::byte* row, To* out) {
  const std::int64_t elements = about.sample.elements();
  with_values(about.dtype, row, [&](const auto* values) {
    for (std::int64_t i = 0; i < elements; ++i) {
      if constexpr (std::is_class_v<std::remove_cvref_t<decltype(values[i])>>) {
        out[i] = static_cast<To>(static_cast<float>(values[i]));
      } else {
        out[i] = static_cast<To>(values[i]);
      }
    }
  });
}

template <typename To>
void gather_as(const Dataset& dataset, int array, std::span<const std::int64_t> ids, To* out) {
  const DatasetArray& about = dataset.arrays()[static_cast<std::size_t>(array)];
  Dataset::Scratch scratch;
  std::vector<std::byte> room;
  for (const std::int64_t id : ids) {
    convert_row(about, dataset.block_bytes(array, {id, id + 1}, room, scratch), out);
    out += about.sample.elements();
  }
}

}  // namespace

void Dataset::gather(int array, std::span<const std::int64_t> ids, float* out) const {
  gather_as(*this, array, ids, out);
}

void Dataset::gather(int array, std::span<const std::int64_t> ids, std::int32_t* out) const {
  gather_as(*this, array, ids, out);
}

// A header that ends in a newline cannot run into the values: their number is in it.
std::string Dataset::header_of(std::size_t array) const {
  return text(arrays_[array].name, ' ', name_of(arrays_[array].dtype), ' ', size_, arrays_[array].sample, '\n');
}

std::uint64_t Dataset::fingerprint_of_values() const {
  Xxh3 hash;
  for (std::size_t i = 0; i < arrays_.size(); ++i) {
    const std::string header = header_of(i);
    hash.update(std::as_bytes(std::span(header)));
    for_each_block(static_cast<int>(i), [&](std::int64_t, std::int64_t rows, const std::byte* bytes) {
      hash.update({bytes, static_cast<std::size_t>(rows) * row_bytes_[i]});
    });
  }
  return hash.digest();
}

std::uint64_t Dataset::fingerprint() const {
  Xxh3 hash;
  for (std::size_t i = 0; i < arrays_.size(); ++i) {
    const std::string header = header_of(i);
    hash.update(std::as_bytes(std::span(header)));
    if (values_[i] != nullptr) {
      hash.update({values_[i], static_cast<std::size_t>(size_) * row_bytes_[i]});
      continue;
    }
    for (const Shard& shard : shards_) {
      const std::uint64_t stored = shard.readers[i].fingerprint();
      hash.update(std::as_bytes(std::span(&stored, 1)));
    }
  }
  return hash.digest();
}

void Dataset::check_finite(int array, std::int64_t first, std::int64_t rows, const std::byte* values) const {
  const DatasetArray& about = arrays_[static_cast<std::size_t>(array)];
  if (!is_floating(about.dtype)) return;
  const std::int64_t elements = about.sample.elements();
  // Training computes in f32: what is infinite there is no number here.
  constexpr double kLargest = std::numeric_limits<float>::max();
  const std::int64_t bad = first_bad(about.dtype, values, rows * elements,
                                     [](double value) { return !(std::abs(value) <= kLargest); });
  if (bad == rows * elements) return;
  const double value = element(about.dtype, values, bad);
  bad_input(place(array, first + bad / elements), ": element ", bad % elements, " is ", value, ", expected a ",
            std::isfinite(value) ? "number that fits into f32 (at most 3.4e38)" : "finite number");
}

void Dataset::check_labels(int array, std::int64_t first, std::int64_t rows, const std::byte* values,
                           std::int64_t classes) const {
  const DatasetArray& about = arrays_[static_cast<std::size_t>(array)];
  const std::int64_t elements = about.sample.elements();
  const auto end = static_cast<double>(classes);
  const std::int64_t bad = first_bad(about.dtype, values, rows * elements, [end](double value) {
    return !(value >= 0.0 && value < end && value == std::floor(value));
  });
  if (bad == rows * elements) return;
  bad_input(place(array, first + bad / elements), ": label ", element(about.dtype, values, bad),
            ", expected a whole number in [0, ", classes, ")");
}

void Dataset::check_finite(int array) const {
  if (!is_floating(arrays_[static_cast<std::size_t>(array)].dtype)) return;
  for_each_block(array, [&](std::int64_t first, std::int64_t rows, const std::byte* values) {
    check_finite(array, first, rows, values);
  });
}

void Dataset::check_range(int array, double low, double high) const {
  const DatasetArray& about = arrays_[static_cast<std::size_t>(array)];
  const std::int64_t elements = about.sample.elements();
  for_each_block(array, [&](std::int64_t first, std::int64_t rows, const std::byte* values) {
    const std::int64_t bad = first_bad(about.dtype, values, rows * elements,
                                       [=](double value) { return !(value >= low && value <= high); });
    if (bad == rows * elements) return;
    bad_input(place(array, first + bad / elements), ": target ", element(about.dtype, values, bad), ", expected a number in [",
              low, ", ", high, "]");
  });
}

void Dataset::check_labels(int array, std::int64_t classes) const {
  for_each_block(array, [&](std::int64_t first, std::int64_t rows, const std::byte* values) {
    check_labels(array, first, rows, values, classes);
  });
}

std::int64_t Dataset::count_classes(int array) const {
  const DatasetArray& about = arrays_[static_cast<std::size_t>(array)];
  double largest = -1.0;
  for_each_block(array, [&](std::int64_t first, std::int64_t rows, const std::byte* data) {
    check_labels(array, first, rows, data, std::numeric_limits<std::int32_t>::max());
    with_values(about.dtype, data, [&](const auto* values) {
      for (std::int64_t i = 0; i < rows * about.sample.elements(); ++i) {
        largest = std::max(largest, as_double(values[i]));
      }
    });
  });
  return static_cast<std::int64_t>(largest) + 1;
}

Shape Windows::rows_of(std::int64_t rows, const Shape& row) {
  std::vector<std::int64_t> dims{rows};
  dims.insert(dims.end(), row.dims().begin(), row.dims().end());
  return Shape(dims);
}

Subset whole(std::shared_ptr<const Dataset> dataset, const Windows& windows) {
  Subset out{std::move(dataset), {}, windows};
  const std::int64_t count = windows.count(out.dataset->size());
  check_input(count > 0, out.dataset->files()[0], ": has ", out.dataset->size(), " rows, a window takes ",
              windows.span());
  out.ids.resize(static_cast<std::size_t>(count));
  std::iota(out.ids.begin(), out.ids.end(), std::int64_t{0});
  return out;
}

}  // namespace lockstep
