// Puts an OnnxGraph together and keeps its names apart.
#pragma once

#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "ops/onnx/onnx_graph.h"

namespace lockstep {

class OnnxBuilder {
 public:
  // An input of the whole graph. Inputs come before anything else: their names are kept as they are.
  void input(const std::string& name, DType dtype, const Shape& shape);
  // A constant; `name` is what it is called unless that is taken. Returns its name.
  template <typename Number>
  std::string constant(const std::string& name, const Shape& shape,
                       const std::vector<Number>& values);
  // One node with one output, called "<name>/<type>" unless that is taken. Returns the output's name.
  std::string node(const std::string& name, const std::string& type,
                   std::vector<std::string> inputs, std::vector<OnnxAttribute> attributes = {});
  // Makes `value` an output of the whole graph under this name, unless that is taken.
  void output(const std::string& name, DType dtype, const Shape& shape, const std::string& value);

  OnnxGraph finish() { return std::move(graph_); }

 private:
  std::string unique(const std::string& name);
  std::string constant(const std::string& name, DType dtype, const Shape& shape,
                       const void* values, std::size_t bytes);

  OnnxGraph graph_;
  std::set<std::string> names_;
};

template <typename Number>
std::string OnnxBuilder::constant(const std::string& name, const Shape& shape,
                                  const std::vector<Number>& values) {
  static_assert(std::is_same_v<Number, float> || std::is_same_v<Number, double> ||
                std::is_same_v<Number, std::int64_t>);
  constexpr DType kType = std::is_same_v<Number, float>    ? DType::kF32
                          : std::is_same_v<Number, double> ? DType::kF64
                                                           : DType::kI64;
  return constant(name, kType, shape, values.data(), values.size() * sizeof(Number));
}

}  // namespace lockstep
