// CPU kernel of elementwise chains. The chain is made into a short list of instructions, each a
// loop over one block of at most 512 floats; the blocks between instructions stay in L1. What is
// bf16 is converted when it is loaded or stored, and rounded in between where the ops one after
// another would round.
#include <algorithm>
#include <array>
#include <bit>
#include <type_traits>
#include <vector>

#include "core/builtin/builtin.h"
#include "ops/activation/activation_math.h"
#include "ops/bias/bias.h"
#include "ops/binary/binary_math.h"
#include "ops/cpu_kernel.h"
#include "ops/elementwise_chain/elementwise_chain.h"

namespace lockstep {
namespace {

constexpr std::int64_t kBlock = 512;  // floats
constexpr std::size_t kMostSlots = ElementwiseChainOp::kMostInputs + ElementwiseChainOp::kMostSteps;

// ---- Instructions ------------------------------------------------------------------------------

// y[i] = f(a[i], b[i]) for a block; b is a for functions of one operand.
using BlockFunction = void (*)(const float* a, const float* b, float* y, std::int64_t n,
                               float parameter);

struct Scale {
  float factor;
  [[gnu::always_inline]] float operator()(float x) const { return factor * x; }
};
struct Copy {
  [[gnu::always_inline]] float operator()(float x) const { return x; }
};
template <typename Function>
struct BackwardOf : Function {
  [[gnu::always_inline]] float operator()(float dy, float saved) const {
    return Function::backward(dy, saved);
  }
};

[[gnu::always_inline]] inline float round_to_bf16(float value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(BFloat16::rounded(value)) << 16);
}

template <typename Function, bool kRound>
void run_block(const float* a, const float* b, float* y, std::int64_t n, float parameter) {
  const Function function = [&] {
    if constexpr (std::is_empty_v<Function>) {
      return Function{};
    } else {
      return Function{parameter};
    }
  }();
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    float value;
    if constexpr (std::is_invocable_v<Function, float, float>) {
      value = function(a[i], b[i]);
    } else {
      value = function(a[i]);
    }
    y[i] = kRound ? round_to_bf16(value) : value;
  }
}

template <typename Function>
BlockFunction block_of(bool round) {
  return round ? run_block<Function, true> : run_block<Function, false>;
}

struct Instruction {
  BlockFunction run = nullptr;
  float parameter = 0;
  int a = 0, b = 0;  // slots of the operands
};

// The instruction of a step, without its slots. `round`: the result is bf16.
Instruction instruction_of(const Op& op, bool round) {
  if (const auto* activation = dynamic_cast<const ActivationOp*>(&op)) {
    const Activation& f = activation->activation();
    return {activation_math::with_function(
                f, [&](auto function) { return block_of<decltype(function)>(round); }),
            static_cast<float>(f.negative_slope)};
  }
  if (const auto* backward = dynamic_cast<const ActivationBackwardOp*>(&op)) {
    const Activation& f = backward->activation();
    return {activation_math::with_function(
                f, [&](auto function) { return block_of<BackwardOf<decltype(function)>>(round); }),
            static_cast<float>(f.negative_slope)};
  }
  if (const auto* binary = dynamic_cast<const BinaryOp*>(&op)) {
    return {binary_math::with_function(
        binary->kind(), [&](auto function) { return block_of<decltype(function)>(round); })};
  }
  if (const auto* scale = dynamic_cast<const ScaleOp*>(&op)) {
    return {block_of<Scale>(round), static_cast<float>(scale->factor())};
  }
  if (dynamic_cast<const CastOp*>(&op) != nullptr) return {block_of<Copy>(round)};
  const bool adds = dynamic_cast<const AccumulateOp*>(&op) != nullptr ||
                    dynamic_cast<const BiasOp*>(&op) != nullptr;
  require(adds, "elementwise_chain: no instruction for ", op.to_string());
  return {block_of<binary_math::Add>(round)};
}

// ---- Program -----------------------------------------------------------------------------------

// Where an input's floats of a block are found.
enum class Access {
  kDirect,     // in its memory, at the element or at the column of the block
  kConverted,  // the same, bf16: written into a buffer for each block
  kRepeated,   // a number or a short vector: written into a buffer once a run
};

struct Input {
  ChainInput kind;
  Access access;
  bool bf16;
  std::int64_t elements;
  int buffer = -1;  // kConverted, kRepeated
};

// The result is seen as rows of `row` elements; a block lies within a row. Without vectors there is
// one row; with a vector along the last axis a row is that axis, or several times it where it is
// short.
struct Program {
  std::int64_t elements = 0, row = 0, blocks_in_row = 0, blocks = 0;
  std::vector<Input> inputs;
  std::vector<Instruction> instructions;  // slots: inputs, then results of steps
  std::vector<int> result_buffers;        // by step; -1: written to the output
  bool output_bf16 = false;
  int buffers = 0;

  explicit Program(const ElementwiseChainOp& chain, std::int64_t count);
  void run(const Launch& launch, float* buffers, std::int64_t begin, std::int64_t end) const;

 private:
  void place_inputs(const ElementwiseChainOp& chain);
  void place_results(const ElementwiseChainOp& chain);
  void repeat_input(const void* memory, const Input& input, float* to) const;
};

void convert(const BFloat16* from, float* to, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) to[i] = float(from[i]);
}

Program::Program(const ElementwiseChainOp& chain, std::int64_t count) : elements(count) {
  std::int64_t vector = 0;
  for (std::size_t i = 0; i < chain.inputs().size(); ++i) {
    if (chain.input_kind(i) == ChainInput::kVector) vector = chain.inputs()[i].elements();
  }
  row = vector == 0 ? elements : vector * std::max<std::int64_t>(1, kBlock / vector);
  blocks_in_row = (row + kBlock - 1) / kBlock;
  blocks = (elements + row - 1) / row * blocks_in_row;
  place_inputs(chain);
  place_results(chain);
}

void Program::place_inputs(const ElementwiseChainOp& chain) {
  for (std::size_t i = 0; i < chain.inputs().size(); ++i) {
    const TensorType& type = chain.inputs()[i];
    Input input{chain.input_kind(i), Access::kDirect, type.dtype == DType::kBF16, type.elements()};
    if (input.kind == ChainInput::kScalar ||
        (input.kind == ChainInput::kVector && input.elements != row)) {
      input.access = Access::kRepeated;
    } else if (input.bf16) {
      input.access = Access::kConverted;
    }
    if (input.access != Access::kDirect) input.buffer = buffers++;
    inputs.push_back(input);
  }
}

// A step's result takes a buffer whose last reader has run; the last f32 result goes to the output.
void Program::place_results(const ElementwiseChainOp& chain) {
  const int first_result = static_cast<int>(inputs.size());
  const int steps = static_cast<int>(chain.steps().size());
  std::vector<int> last_reader(steps, steps);
  for (int k = 0; k < steps; ++k) {
    for (const int operand : chain.steps()[k].operands) {
      if (operand >= first_result) last_reader[operand - first_result] = k;
    }
  }
  output_bf16 = chain.results().back().dtype == DType::kBF16;
  std::vector<int> free;
  for (int k = 0; k < steps; ++k) {
    const ChainStep& step = chain.steps()[k];
    Instruction instruction =
        instruction_of(*step.op, k + 1 < steps && chain.results()[k].dtype == DType::kBF16);
    instruction.a = step.operands.front();
    instruction.b = step.operands.back();
    instructions.push_back(instruction);
    for (int earlier = 0; earlier < k; ++earlier) {  // an instruction may write where it reads
      if (last_reader[earlier] == k) free.push_back(result_buffers[earlier]);
    }
    if (k + 1 == steps && !output_bf16) {
      result_buffers.push_back(-1);
    } else if (free.empty()) {
      result_buffers.push_back(buffers++);
    } else {
      result_buffers.push_back(free.back());
      free.pop_back();
    }
  }
}

// Writes a number or a short vector down as often as fits in a block.
void Program::repeat_input(const void* memory, const Input& input, float* to) const {
  const std::int64_t n = input.elements;
  if (input.bf16) {
    convert(static_cast<const BFloat16*>(memory), to, n);
  } else {
    std::copy_n(static_cast<const float*>(memory), n, to);
  }
  repeat_front(to, n, kBlock / n);
}

// Blocks [begin, end).
void Program::run(const Launch& launch, float* memory, std::int64_t begin, std::int64_t end) const {
  std::array<const float*, kMostSlots> slots;
  std::array<float*, ElementwiseChainOp::kMostSteps> results;
  const std::size_t count = inputs.size(), last = instructions.size() - 1;
  for (std::size_t i = 0; i < count; ++i) {
    if (inputs[i].access == Access::kDirect) continue;
    float* buffer = memory + inputs[i].buffer * kBlock;
    if (inputs[i].access == Access::kRepeated) repeat_input(launch.inputs[i], inputs[i], buffer);
    slots[i] = buffer;
  }
  for (std::size_t k = 0; k <= last; ++k) {
    if (result_buffers[k] < 0) continue;
    slots[count + k] = results[k] = memory + result_buffers[k] * kBlock;
  }
  for (std::int64_t block = begin; block < end; ++block) {
    const std::int64_t column = block % blocks_in_row * kBlock;
    const std::int64_t at = block / blocks_in_row * row + column;
    const std::int64_t n = std::min({kBlock, row - column, elements - at});
    if (n <= 0) break;  // the last row may end early
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t from = inputs[i].kind == ChainInput::kFull ? at : column;
      const int input = static_cast<int>(i);
      if (inputs[i].access == Access::kDirect) {
        slots[i] = launch.input<float>(input) + from;
      } else if (inputs[i].access == Access::kConverted) {
        convert(launch.input<BFloat16>(input) + from, memory + inputs[i].buffer * kBlock, n);
      }
    }
    if (!output_bf16) results[last] = launch.output<float>(0) + at;
    for (std::size_t k = 0; k <= last; ++k) {
      const Instruction& step = instructions[k];
      step.run(slots[step.a], slots[step.b], results[k], n, step.parameter);
    }
    if (!output_bf16) continue;
    BFloat16* to = launch.output<BFloat16>(0) + at;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) to[i] = results[last][i];
  }
}

Kernel elementwise_chain_cpu(const KernelRequest& request) {
  const auto& chain = request.op_as<ElementwiseChainOp>();
  const Program program(chain, request.outputs[0].elements());
  const std::int64_t worth = program.elements / (kElementGrain / 4);
  const int pieces = static_cast<int>(std::min<std::int64_t>(
      {cpu_threads(request), program.blocks, std::max<std::int64_t>(1, worth)}));
  const std::int64_t floats = program.buffers * kBlock;  // of each thread
  return {text("elementwise_chain_cpu (", program.instructions.size(), " steps)"),
          [=](const Launch& launch) {
            auto* workspace = static_cast<float*>(launch.workspace);
            parallel_for(pieces, pieces, 1, [&](std::int64_t first, std::int64_t last) {
              for (std::int64_t piece = first; piece < last; ++piece) {
                program.run(launch, workspace + piece * floats, program.blocks * piece / pieces,
                            program.blocks * (piece + 1) / pieces);
              }
            });
          },
          static_cast<std::size_t>(pieces * floats) * sizeof(float)};
}

}  // namespace

void register_elementwise_chain_cpu(KernelRegistry& registry) {
  registry.add("elementwise_chain", DeviceKind::kCpu, {elementwise_chain_cpu, nullptr});
}

}  // namespace lockstep
