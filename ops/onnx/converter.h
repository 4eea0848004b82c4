// How an op is written as ONNX. A converter is found by the op's name, as a kernel is, and lies in
// the op's room: ops/<op>/<op>_onnx.cpp, with a line in ops/register.cpp.
//
// ONNX's images are (batch, channels, height, width), Lockstep's (batch, height, width, channels).
// So a value may be there in two layouts; a converter says which it reads and which it makes, and a
// Transpose is put in where they differ, once for each value. What does not care (elementwise ops)
// takes a value as it comes: then a chain of convolutions has one Transpose before and one behind.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/graph/graph.h"
#include "ops/onnx/onnx_builder.h"

namespace lockstep {

enum class OnnxLayout {
  kLast,   // channels last, as in Lockstep
  kFirst,  // axis 1 are the channels; of values with three axes or more
};

class OnnxConversion;

// One node of the graph that is converted. Axes and shapes are Lockstep's unless a layout is named.
class OnnxNodeContext {
 public:
  OnnxNodeContext(OnnxConversion& conversion, const Node& node)
      : conversion_(conversion), node_(node) {}

  template <typename ConcreteOp>
  const ConcreteOp& op_as() const {
    const auto* concrete = dynamic_cast<const ConcreteOp*>(node_.op.get());
    require(concrete != nullptr, node_.op->name(), ": the converter was made for another op");
    return *concrete;
  }
  const std::string& name() const { return node_.name; }
  std::size_t inputs() const { return node_.inputs.size(); }
  const TensorType& input_type(int i) const;
  const TensorType& output_type(int i) const;

  // The name of an input in the file, in that layout.
  std::string input(int i, OnnxLayout layout = OnnxLayout::kLast);
  // A layout in which the input is there already.
  OnnxLayout layout_of(int i) const;
  // The numbers of an input that is constant: a parameter, a statistic, a fill; null where it is
  // not. A converter that wants them in another order makes its own constant of them.
  const std::vector<float>* constant_input(int i) const;
  // The name of an input's value, for constants made of it.
  const std::string& input_name(int i) const;

  // Where constants are made.
  OnnxBuilder& builder();
  // Adds a node and returns the name of its output.
  std::string add(const std::string& type, std::vector<std::string> inputs,
                  std::vector<OnnxAttribute> attributes = {});

  // Says what output i of the op is called, and in which layout it is.
  void output(int i, const std::string& name, OnnxLayout layout = OnnxLayout::kLast);
  // Output i is this constant.
  void constant_output(int i, std::vector<float> values);

 private:
  OnnxConversion& conversion_;
  const Node& node_;
};

// Throws bad_input where ONNX cannot say it; the node's name and op are put before.
using OnnxConverter = std::function<void(OnnxNodeContext&)>;

class OnnxRegistry {
 public:
  void add(const std::string& op_name, OnnxConverter converter);
  // nullptr where there is none.
  const OnnxConverter* find(std::string_view op_name) const;

 private:
  std::map<std::string, OnnxConverter, std::less<>> converters_;
};

// The axis `axis` (from the end where negative) of a value of that rank, in the layout.
std::int64_t onnx_axis(int axis, int rank, OnnxLayout layout);

// What converts a whole graph into the nodes of a builder.
class OnnxConversion {
 public:
  // The numbers of a state; throws bad_input where it has none.
  using StateValues = std::function<std::vector<float>(const Value& state)>;
  // All outlive the conversion.
  OnnxConversion(const Graph& graph, const OnnxRegistry& registry, StateValues states,
                 OnnxBuilder& builder);

  // Input `id` of the graph is called `name`, in Lockstep's layout. Before convert().
  void set_input(ValueId id, const std::string& name);
  // Converts all nodes. Throws bad_input naming the layer and the op that has no converter.
  void convert();
  // The name of a value in the file, in Lockstep's layout.
  std::string name_of_value(ValueId id) { return name_of(id, OnnxLayout::kLast); }

 private:
  friend class OnnxNodeContext;
  struct Place {
    std::string last, first;  // names in the two layouts; empty where it is not there
    std::optional<std::vector<float>> constant;
  };

  std::string name_of(ValueId id, OnnxLayout layout);
  const std::vector<float>* constant(ValueId id);

  const Graph& graph_;
  const OnnxRegistry& registry_;
  StateValues states_;
  OnnxBuilder& builder_;
  std::vector<Place> places_;  // by value
};

}  // namespace lockstep
