// An ONNX graph as plain data: what converters make of a graph of Lockstep, and what
// launcher/weights/onnx_file.h writes. Nothing here knows protocol buffers.
//
// Operators are those of opset 17 (github.com/onnx/onnx, docs/Operators.md). The extent of axis 0
// of inputs and outputs is the batch, which is free in the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/shape.h"

namespace lockstep {

inline constexpr int kOnnxOpset = 17;

using OnnxAttributeValue =
    std::variant<std::int64_t, float, std::string, std::vector<std::int64_t>>;

struct OnnxAttribute {
  std::string name;
  OnnxAttributeValue value;
};

struct OnnxNode {
  std::string type;  // "Conv"
  std::string name;
  std::vector<std::string> inputs, outputs;
  std::vector<OnnxAttribute> attributes;
};

// A constant ("initializer").
struct OnnxTensor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::vector<std::byte> bytes;  // row-major, little-endian
};

// An input or output of the whole graph.
struct OnnxValue {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;  // of one batch; the extent of axis 0 does not count
};

struct OnnxGraph {
  std::vector<OnnxValue> inputs, outputs;
  std::vector<OnnxTensor> tensors;
  std::vector<OnnxNode> nodes;  // in an order in which they can run
};

// The number that ONNX has for a type (TensorProto.DataType).
std::int64_t onnx_type(DType dtype);

}  // namespace lockstep
