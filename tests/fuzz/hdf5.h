// An HDF5 file: its arrays through Hdf5RowReader, and as a dataset.
//
// The library itself does not survive every damage to metadata without checksums (formats before 1.10). What it does not
// survive when it reads descriptions ends a child process (core/base/hdf5/trial.h), as in the program.
#pragma once

#include <memory>
#include <vector>

#include "core/base/file.h"
#include "core/base/hdf5/hdf5.h"
#include "core/base/hdf5/row_reader.h"
#include "core/base/hdf5/trial.h"
#include "datasets/dataset.h"
#include "tests/fuzz/target.h"

namespace lockstep::fuzz {

// Bytes of rows that are read at a time; an array of longer rows is not read.
constexpr std::size_t kMostRowBytes = std::size_t{1} << 20;

inline void read_attributes(const Hdf5File& file, const std::string& array) {
  for (const char* name : {"name", "class_names", "feature_names", "xxh3", "vocabulary"}) {
    file.text(array, name);
    file.texts(array, name);
    file.integer(array, name);
    file.real(array, name);
  }
}

inline void read_rows(const Hdf5RowReader& reader, std::int64_t begin, std::int64_t end) {
  // Of exactly that size, so that a byte written behind it is seen.
  const std::size_t bytes = static_cast<std::size_t>(end - begin) * reader.array().row_bytes();
  const auto rows = std::make_unique<std::byte[]>(bytes);
  Hdf5RowReader::Scratch scratch;
  reader.read(begin, end, rows.get(), scratch);
}

inline void read_array(const Hdf5File& file, const Hdf5Array& array,
                       const std::shared_ptr<const ReadOnlyFile>& bytes) {
  read_attributes(file, array.name);
  const Hdf5RowReader reader(file, array, bytes);
  reader.fingerprint();
  const std::size_t row = array.row_bytes();
  if (row == 0 || row > kMostRowBytes) return;
  const std::int64_t rows = reader.rows(), some = static_cast<std::int64_t>(kMostRowBytes / row);
  reader.expect(0, rows);
  read_rows(reader, 0, std::min(rows, some));
  read_rows(reader, std::max<std::int64_t>(0, rows - some), rows);
}

inline void read_dataset(const std::string& path) {
  const auto dataset = Dataset::describe({path});
  expect(dataset->size() > 0 && !dataset->blocks().empty(), "a dataset without rows");
  expect(dataset->blocks().back().end == dataset->size(), "blocks that are not all rows");
  Dataset::Scratch scratch;
  for (const RowBlock& block : {dataset->blocks().front(), dataset->blocks().back()}) {
    for (std::size_t a = 0; a < dataset->arrays().size(); ++a) {
      const std::size_t row = dataset->arrays()[a].sample_bytes();
      if (row > kMostRowBytes) continue;
      const Range rows{block.begin,
                       std::min(block.end, block.begin + static_cast<std::int64_t>(64))};
      std::vector<std::byte> values(static_cast<std::size_t>(rows.size()) * row);
      dataset->read(static_cast<int>(a), rows, values.data(), scratch);
    }
  }
}

inline void fuzz_hdf5(const std::string& path) {
  bool survives = false;
  read_or_refuse(path, [&] {
    try_hdf5({path});
    survives = true;
  });
  if (!survives) return;
  read_or_refuse(path, [&] {
    const Hdf5File file(path);
    const auto bytes = std::make_shared<const ReadOnlyFile>(path);
    read_or_refuse(path, [&] { read_attributes(file, ""); });
    for (const Hdf5Array& array : file.arrays())
      read_or_refuse(path, [&] { read_array(file, array, bytes); });
  });
  read_or_refuse(path, [&] { read_dataset(path); });
}

}  // namespace lockstep::fuzz
