// Small shards for the tests, and the messages of errors.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/hdf5/hdf5.h"
#include "datasets/dataset.h"
#include "tests/core/temporary_directory.h"

namespace lockstep {

template <typename Value>
struct TypeOf;
template <>
struct TypeOf<float> {
  static constexpr DType kType = DType::kF32;
};
template <>
struct TypeOf<double> {
  static constexpr DType kType = DType::kF64;
};
template <>
struct TypeOf<std::uint8_t> {
  static constexpr DType kType = DType::kU8;
};
template <>
struct TypeOf<std::int32_t> {
  static constexpr DType kType = DType::kI32;
};
template <>
struct TypeOf<std::int64_t> {
  static constexpr DType kType = DType::kI64;
};

template <typename Value>
MemoryArray array_of(const std::string& name, const Shape& shape,
                     const std::vector<Value>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {name, TypeOf<Value>::kType, shape, {bytes.begin(), bytes.end()}};
}

inline void write_shard(const std::string& path, const std::vector<MemoryArray>& arrays) {
  Hdf5Writer writer(path);
  for (const MemoryArray& array : arrays) {
    writer.write(array.name, array.dtype, array.shape, array.bytes.data());
  }
  writer.commit();
}

// The message of the error of that kind that `action` throws, "" where it throws none.
template <typename Action>
std::string message_of(const Action& action, ErrorKind kind = ErrorKind::kBadInput) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "";
}

}  // namespace lockstep
