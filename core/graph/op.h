// The op contract. An op is an immutable description of a computation: its shape rule, its gradient
// and its traits. There is no device in it: a kernel is found by (op name, device kind), see
// core/kernel.
//
// Passes never ask which op they look at; everything that they need to know is a trait.
// Thread-safe: all members are const.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/graph/type.h"

namespace lockstep {

class Graph;
class Backward;
struct Node;
using ValueId = std::int32_t;  // index into a graph's values
using NodeId = std::int32_t;   // index into a graph's nodes
inline constexpr ValueId kNoValue = -1;

// What the mixed-precision pass does with the floating-point inputs of an op.
enum class Precision {
  kLow,     // cast to bf16: compute-bound (matrix products, convolutions)
  kFollow,  // cast the other floating inputs to the type of input 0 (elementwise)
  kAsIs,  // takes bf16 or f32 data with f32 parameters as they come (bias, normalisation, pooling)
  kFull,  // cast to f32: losses, softmax, reductions
};

struct Traits {
  // Output element i depends only on element i of each input; all inputs and outputs have one
  // shape.
  bool elementwise = false;
  // As `elementwise`, and zero inputs give zero outputs (so padded layouts stay valid).
  bool keeps_zero = false;
  // Output 0 may be computed in the memory of this input where nobody needs it afterwards; -1:
  // none.
  int may_overwrite = -1;
  // Output 0 is the memory of input 0 from `view_offset` bytes on: no kernel runs.
  bool view = false;
  std::size_t view_offset = 0;
  // The inputs lie one after another in the memory of output 0 (each aligned to its element): no
  // kernel runs where the producers can write there.
  bool pack = false;
  // Bit i: input i is overwritten (an optimizer's parameter). Output j is the new value of the j-th
  // overwritten input and has its memory; outputs behind those are results as of any op. Readers of
  // the old value must come before this node.
  std::uint32_t mutates = 0;
  bool overwrites(std::size_t input) const { return input < 32 && (mutates >> input & 1u) != 0; }
  // Runs even if nobody reads its outputs (collectives; nodes that mutate have this implied).
  bool side_effect = false;
  // Output 0 is the sum of input 0 over all microbatches of the batch. Alone, in a graph of one
  // microbatch, it is a copy; the distribute pass puts the sum in its place.
  bool sums_microbatches = false;
  // Exchanges data with other workers: runs on the communication stream.
  bool communicates = false;
  Precision precision = Precision::kFull;
  // An f32 input that the op takes in the bf16 of its input 0 as well, and that it loses nothing by on devices which round it
  // anyway (a bias that a library adds); -1: none.
  int may_be_low = -1;
};

class Op {
 public:
  virtual ~Op() = default;

  // "conv2d": the key of the kernel registry.
  virtual std::string_view name() const = 0;
  // Every attribute that changes the result, as printed: "stride=(2, 2) padding=same". Two ops with
  // equal name and attributes compute the same.
  virtual std::string attributes() const { return {}; }
  // Output types from input types. Throws bad_input where they do not fit; the message starts with
  // what does not fit ("weight (3, 3) needs 4 input channels, input has 1"), the graph adds the
  // node's name.
  virtual std::vector<TensorType> infer(std::span<const TensorType> inputs) const = 0;
  virtual Traits traits() const { return {}; }
  // Adds nodes that compute the cotangents of the inputs from those of the outputs. The default is
  // an op without a gradient: its inputs receive none.
  virtual void gradient(Backward& backward) const;
  // Floating-point operations of one run, counting a multiply-add as 2.
  virtual double flops(std::span<const TensorType> inputs,
                       std::span<const TensorType> outputs) const;
  // name() and attributes() in one string.
  std::string to_string() const;
};

// What Op::gradient works with: one node of the forward graph, and the graph to add nodes to.
class Backward {
 public:
  virtual ~Backward() = default;
  virtual Graph& graph() = 0;
  virtual const Node& node() const = 0;
  // Name for the nodes that are added: "<forward node>/gradient".
  virtual std::string name() const = 0;
  ValueId input(int i) const;
  ValueId output(int i) const;
  // The cotangent of output i in the dtype of that output, or kNoValue where nothing depends on it.
  virtual ValueId cotangent(int i) const = 0;
  // The same, but f32 where it was handed over as f32 although the output is bf16.
  virtual ValueId wide_cotangent(int i) const = 0;
  // Whether anyone needs the cotangent of input i; do not compute what is not wanted.
  virtual bool wants(int i) const = 0;
  // Hands over the cotangent of input i; must have its shape, and its dtype or f32 (gradients of
  // bf16 weights stay f32). Several are summed.
  virtual void accumulate(int i, ValueId cotangent) = 0;
};

}  // namespace lockstep
