#include "ops/onnx/onnx_builder.h"

#include "core/base/error.h"

namespace lockstep {

std::int64_t onnx_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 1;
    case DType::kU8:
      return 2;
    case DType::kI8:
      return 3;
    case DType::kI16:
      return 5;
    case DType::kI32:
      return 6;
    case DType::kI64:
      return 7;
    case DType::kF16:
      return 10;
    case DType::kF64:
      return 11;
    case DType::kBF16:
      return 16;
  }
  broken_invariant("ONNX has no number for a type");
}

std::string OnnxBuilder::unique(const std::string& name) {
  std::string out = name;
  for (int number = 1; !names_.insert(out).second; ++number) out = text(name, "_", number);
  return out;
}

void OnnxBuilder::input(const std::string& name, DType dtype, const Shape& shape) {
  require(names_.insert(name).second, "onnx: two inputs are named \"", name, "\"");
  graph_.inputs.push_back({name, dtype, shape});
}

std::string OnnxBuilder::constant(const std::string& name, DType dtype, const Shape& shape,
                                  const void* values, std::size_t bytes) {
  const auto elements = static_cast<std::size_t>(shape.elements());
  require(bytes == elements * size_of(dtype), "onnx: constant \"", name, "\" of ", shape, " has ",
          bytes, " bytes");
  OnnxTensor tensor{unique(name), dtype, shape, std::vector<std::byte>(bytes)};
  if (bytes > 0) std::memcpy(tensor.bytes.data(), values, bytes);
  graph_.tensors.push_back(std::move(tensor));
  return graph_.tensors.back().name;
}

std::string OnnxBuilder::node(const std::string& name, const std::string& type,
                              std::vector<std::string> inputs,
                              std::vector<OnnxAttribute> attributes) {
  const std::string output = unique(name + "/" + type);
  graph_.nodes.push_back({type, output, std::move(inputs), {output}, std::move(attributes)});
  return output;
}

void OnnxBuilder::output(const std::string& name, DType dtype, const Shape& shape,
                         const std::string& value) {
  const std::string output = unique(name);
  graph_.nodes.push_back({"Identity", output, {value}, {output}, {}});
  graph_.outputs.push_back({output, dtype, shape});
}

}  // namespace lockstep
