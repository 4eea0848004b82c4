// CUDA kernels of elementwise chains. Chains that trainings are full of have a kernel of their own, a function of the
// elementwise kernels. Any other is made into a short list of instructions, which the kernel has among its parameters: a
// thread decodes an instruction once for eight elements. The result of the instruction before is in registers; one that is
// read later waits in shared memory, where an index may be computed. What is bf16 is converted when it is loaded or stored,
// and rounded in between where the ops one after another would round.
#include <array>
#include <optional>
#include <vector>

#include "core/builtin/builtin.h"
#include "core/kernel/cuda_elementwise.h"
#include "ops/activation/activation_cuda.h"
#include "ops/bias/bias.h"
#include "ops/binary/binary_cuda.h"
#include "ops/elementwise_chain/elementwise_chain.h"

namespace lockstep {
namespace {

constexpr int kMostSteps = static_cast<int>(ElementwiseChainOp::kMostSteps);
constexpr int kMostInputs = static_cast<int>(ElementwiseChainOp::kMostInputs);

template <typename T>
__device__ inline float rounded_to(float value) {
  return to_float(from_float<T>(value));
}

// ---- Instructions ----------------------------------------------------------------------------------

enum class Code : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kScale,
  kCopy,
  kForward,                                                        // + ActivationKind
  kBackward = kForward + int(ActivationKind::kGeluApproximate) + 1,  // + ActivationKind
};

struct Instruction {
  Code code = Code::kCopy;
  bool rounds = false;  // the result is bf16
  // Where the operands are: an input's number, kPrevious, or kSlot + a slot.
  std::uint8_t a = 0, b = 0;
  std::uint8_t slot = kNoSlot;  // where the result waits as well
  float parameter = 0;

  static constexpr std::uint8_t kPrevious = 100, kSlot = 101, kNoSlot = 255;
};

Code operator+(Code code, ActivationKind kind) {
  return static_cast<Code>(static_cast<int>(code) + static_cast<int>(kind));
}

// The instruction of a step, without its operands.
Instruction instruction_of(const Op& op) {
  Instruction out;
  if (const auto* activation = dynamic_cast<const ActivationOp*>(&op)) {
    out.code = Code::kForward + activation->activation().kind;
    out.parameter = static_cast<float>(activation->activation().negative_slope);
  } else if (const auto* backward = dynamic_cast<const ActivationBackwardOp*>(&op)) {
    out.code = Code::kBackward + backward->activation().kind;
    out.parameter = static_cast<float>(backward->activation().negative_slope);
  } else if (const auto* binary = dynamic_cast<const BinaryOp*>(&op)) {
    switch (binary->kind()) {
      case BinaryKind::kAdd:
        out.code = Code::kAdd;
        break;
      case BinaryKind::kSubtract:
        out.code = Code::kSubtract;
        break;
      case BinaryKind::kMultiply:
        out.code = Code::kMultiply;
        break;
      case BinaryKind::kDivide:
        out.code = Code::kDivide;
        break;
    }
  } else if (const auto* scale = dynamic_cast<const ScaleOp*>(&op)) {
    out.code = Code::kScale;
    out.parameter = static_cast<float>(scale->factor());
  } else if (dynamic_cast<const CastOp*>(&op) == nullptr) {
    const bool adds =
        dynamic_cast<const AccumulateOp*>(&op) != nullptr || dynamic_cast<const BiasOp*>(&op) != nullptr;
    require(adds, "elementwise_chain: no instruction for ", op.to_string());
    out.code = Code::kAdd;
  }
  return out;
}

// ---- Program ---------------------------------------------------------------------------------------

constexpr int kPack = 4;              // neighbours that are loaded at once
constexpr int kPacks = 2;             // of a thread
constexpr int kValues = kPack * kPacks;
static_assert(kPacks == 2);

struct Input {
  const void* x = nullptr;
  ChainInput kind = ChainInput::kFull;
  bool bf16 = false, wide = false;
};

struct Program {
  std::int64_t count = 0;
  void* y = nullptr;
  bool y_bf16 = false, y_wide = false;
  Divisor columns;  // elements of vectors
  int steps = 0, slots = 0;
  Input inputs[kMostInputs];
  Instruction instructions[kMostSteps];

  Program(const ElementwiseChainOp& chain, std::int64_t count) : count(count) {
    std::int64_t length = 1;
    for (std::size_t i = 0; i < chain.inputs().size(); ++i) {
      inputs[i].kind = chain.input_kind(i);
      inputs[i].bf16 = chain.inputs()[i].dtype == DType::kBF16;
      if (inputs[i].kind == ChainInput::kVector) length = chain.inputs()[i].elements();
    }
    columns = Divisor(length, count);
    y_bf16 = chain.results().back().dtype == DType::kBF16;
    place_results(chain);
  }

  // With the memory of a launch.
  Program of(const Launch& on, std::size_t input_count) const {
    Program out = *this;
    for (std::size_t i = 0; i < input_count; ++i) {
      Input& input = out.inputs[i];
      input.x = on.inputs[i];
      input.wide = is_aligned(input.x, input.bf16 ? 2 * kPack : 4 * kPack) &&
                   (input.kind != ChainInput::kVector || columns.divisor % kPack == 0);
    }
    out.y = on.outputs[0];
    out.y_wide = is_aligned(out.y, y_bf16 ? 2 * kPack : 4 * kPack);
    return out;
  }

 private:
  // A result that another than the next step reads takes a slot whose last reader has run.
  void place_results(const ElementwiseChainOp& chain) {
    const int first_result = static_cast<int>(chain.inputs().size());
    steps = static_cast<int>(chain.steps().size());
    std::vector<int> last_reader(static_cast<std::size_t>(steps), -1);
    for (int k = 0; k < steps; ++k) {
      for (const int operand : chain.steps()[k].operands) {
        if (operand >= first_result) last_reader[operand - first_result] = k;
      }
    }
    std::vector<std::uint8_t> free;
    for (int k = 0; k < steps; ++k) {
      Instruction& instruction = instructions[k];
      instruction = instruction_of(*chain.steps()[k].op);
      instruction.rounds = chain.results()[k].dtype == DType::kBF16;
      auto place = [&](int operand) -> std::uint8_t {
        if (operand < first_result) return static_cast<std::uint8_t>(operand);
        if (operand - first_result == k - 1) return Instruction::kPrevious;
        return Instruction::kSlot + instructions[operand - first_result].slot;
      };
      instruction.a = place(chain.steps()[k].operands.front());
      instruction.b = place(chain.steps()[k].operands.back());
      for (int earlier = 0; earlier < k; ++earlier) {  // an instruction may write where it reads
        if (last_reader[earlier] == k && instructions[earlier].slot != Instruction::kNoSlot) {
          free.push_back(instructions[earlier].slot);
        }
      }
      if (last_reader[k] <= k + 1) continue;
      if (free.empty()) free.push_back(static_cast<std::uint8_t>(slots++));
      instruction.slot = free.back();
      free.pop_back();
    }
  }
};

// ---- The kernel of any chain -------------------------------------------------------------------------

// Where an input has what meets element i.
__device__ inline std::int64_t place_of(const Program& program, const Input& input, std::int64_t i) {
  if (input.kind == ChainInput::kFull) return i;
  return input.kind == ChainInput::kVector ? program.columns.remainder(i) : 0;
}

// An operand: pack p begins at element first + p * step. What is bf16 stays two to a word until unpack(), so that nothing
// waits for it before the other operand is asked for.
struct Operand {
  float value[kValues];
  bool packed = false;

  __device__ void load(const Program& program, const Input& input, std::int64_t first, std::int64_t step) {
    packed = input.bf16;
    const bool whole = first + (kPacks - 1) * step + kPack <= program.count;
    if (!whole || !input.wide || input.kind == ChainInput::kScalar) {
      input.bf16 ? load_halves(program, input, first, step) : load_floats(program, input, first, step);
      return;
    }
    // Both packs are asked for at once.
    const std::int64_t place[kPacks] = {place_of(program, input, first), place_of(program, input, first + step)};
    if (input.bf16) {
      std::uint32_t words[kPacks][kPack / 2];
#pragma unroll
      for (int p = 0; p < kPacks; ++p) {
        load_pack(reinterpret_cast<const std::uint32_t*>(static_cast<const BFloat16*>(input.x) + place[p]), words[p]);
      }
#pragma unroll
      for (int i = 0; i < kValues / 2; ++i) value[i] = __uint_as_float(words[i / (kPack / 2)][i % (kPack / 2)]);
    } else {
      float floats[kPacks][kPack];
#pragma unroll
      for (int p = 0; p < kPacks; ++p) load_pack(static_cast<const float*>(input.x) + place[p], floats[p]);
#pragma unroll
      for (int i = 0; i < kValues; ++i) value[i] = floats[i / kPack][i % kPack];
    }
  }
  __device__ void unpack() {
    if (!packed) return;
#pragma unroll
    for (int i = kValues - 2; i >= 0; i -= 2) {
      const unsigned word = __float_as_uint(value[i / 2]);
      value[i + 1] = __uint_as_float(word & 0xffff0000u);
      value[i] = __uint_as_float(word << 16);
    }
  }

 private:
  // One by one, where memory is not aligned, or ends.
  __device__ void load_floats(const Program& program, const Input& input, std::int64_t first, std::int64_t step) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      const std::int64_t at = first + i / kPack * step + i % kPack;
      value[i] = at < program.count ? static_cast<const float*>(input.x)[place_of(program, input, at)] : 0.0f;
    }
  }
  __device__ void load_halves(const Program& program, const Input& input, std::int64_t first, std::int64_t step) {
#pragma unroll
    for (int i = 0; i < kValues; i += 2) {
      std::uint32_t word = 0;
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const std::int64_t at = first + i / kPack * step + i % kPack + k;
        if (at >= program.count) continue;
        word |= std::uint32_t{static_cast<const BFloat16*>(input.x)[place_of(program, input, at)].bits} << (16 * k);
      }
      value[i / 2] = __uint_as_float(word);
    }
  }
};

template <typename T>
__device__ inline void store_output(const Program& program, std::int64_t first, std::int64_t step,
                                    const float (&from)[kValues]) {
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const std::int64_t i = first + p * step, left = program.count - i;
    if (left <= 0) break;
    T pack[kPack];
#pragma unroll
    for (int k = 0; k < kPack; ++k) pack[k] = from_float<T>(from[p * kPack + k]);
    store_elements(static_cast<T*>(program.y) + i, left < kPack ? static_cast<int>(left) : kPack, program.y_wide, pack);
  }
}

template <typename Function>
__device__ inline void apply(const Function& f, const float (&a)[kValues], const float (&b)[kValues],
                             float (&y)[kValues]) {
#pragma unroll
  for (int k = 0; k < kValues; ++k) y[k] = f(a[k], b[k]);
}
template <typename Function>
struct ForwardOf {
  Function function;
  __device__ float operator()(float a, float) const { return function(a); }
};
template <typename Function>
struct BackwardOf {
  Function function;
  __device__ float operator()(float a, float b) const { return function.backward(a, b); }
};

// y = f(a, b).
__device__ inline void execute(const Instruction& step, const float (&a)[kValues], const float (&b)[kValues],
                               float (&y)[kValues]) {
  using namespace cuda_activation;
  constexpr int kForward = static_cast<int>(Code::kForward), kBackward = static_cast<int>(Code::kBackward);
  switch (static_cast<int>(step.code)) {
    case static_cast<int>(Code::kAdd):
      return apply(cuda_binary::Add{}, a, b, y);
    case static_cast<int>(Code::kSubtract):
      return apply(cuda_binary::Subtract{}, a, b, y);
    case static_cast<int>(Code::kMultiply):
      return apply(cuda_binary::Multiply{}, a, b, y);
    case static_cast<int>(Code::kDivide):
      return apply(cuda_binary::Divide{}, a, b, y);
    case static_cast<int>(Code::kScale):
      return apply(ForwardOf<cuda_binary::Scale>{{step.parameter}}, a, b, y);
    case static_cast<int>(Code::kCopy):
      return apply(ForwardOf<Identity>{}, a, b, y);
    case kForward + static_cast<int>(ActivationKind::kRelu):
      return apply(ForwardOf<Relu>{}, a, b, y);
    case kForward + static_cast<int>(ActivationKind::kLeakyRelu):
      return apply(ForwardOf<LeakyRelu>{{step.parameter}}, a, b, y);
    case kForward + static_cast<int>(ActivationKind::kSigmoid):
      return apply(ForwardOf<Sigmoid>{}, a, b, y);
    case kForward + static_cast<int>(ActivationKind::kTanh):
      return apply(ForwardOf<Tanh>{}, a, b, y);
    case kForward + static_cast<int>(ActivationKind::kGelu):
      return apply(ForwardOf<Gelu>{}, a, b, y);
    case kForward + static_cast<int>(ActivationKind::kGeluApproximate):
      return apply(ForwardOf<GeluApproximate>{}, a, b, y);
    case kBackward + static_cast<int>(ActivationKind::kRelu):
      return apply(BackwardOf<Relu>{}, a, b, y);
    case kBackward + static_cast<int>(ActivationKind::kLeakyRelu):
      return apply(BackwardOf<LeakyRelu>{{step.parameter}}, a, b, y);
    case kBackward + static_cast<int>(ActivationKind::kSigmoid):
      return apply(BackwardOf<Sigmoid>{}, a, b, y);
    case kBackward + static_cast<int>(ActivationKind::kTanh):
      return apply(BackwardOf<Tanh>{}, a, b, y);
    case kBackward + static_cast<int>(ActivationKind::kGelu):
      return apply(BackwardOf<Gelu>{}, a, b, y);
    default:
      return apply(BackwardOf<GeluApproximate>{}, a, b, y);
  }
}

// kSlots results can wait; a block has as many threads as they leave room for in shared memory.
template <int kSlots, int kBlock>
__global__ void __launch_bounds__(kBlock) run_program(const __grid_constant__ Program program) {
  __shared__ float slots[kSlots == 0 ? 1 : kSlots * kValues][kBlock];
  const int t = static_cast<int>(threadIdx.x);
  constexpr std::int64_t kStep = kBlock * kPack;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kPacks * kStep + t * kPack;
  float y[kValues] = {};
  auto fetch = [&](std::uint8_t place, Operand& to) {
    if (place == Instruction::kPrevious) {
#pragma unroll
      for (int k = 0; k < kValues; ++k) to.value[k] = y[k];
    } else if (place >= Instruction::kSlot) {
#pragma unroll
      for (int k = 0; k < kValues; ++k) to.value[k] = slots[(place - Instruction::kSlot) * kValues + k][t];
    } else {
      to.load(program, program.inputs[place], first, kStep);
    }
  };
#pragma unroll 1
  for (int step = 0; step < program.steps; ++step) {
    const Instruction& instruction = program.instructions[step];
    Operand a, b;
    fetch(instruction.a, a);
    if (instruction.b != instruction.a) {
      fetch(instruction.b, b);
      b.unpack();
      a.unpack();
    } else {
      a.unpack();
      b = a;
    }
    execute(instruction, a.value, b.value, y);
    if (instruction.rounds) {
#pragma unroll
      for (int k = 0; k < kValues; ++k) y[k] = rounded_to<BFloat16>(y[k]);
    }
    if (kSlots > 0 && instruction.slot != Instruction::kNoSlot) {
#pragma unroll
      for (int k = 0; k < kValues; ++k) slots[instruction.slot * kValues + k][t] = y[k];
    }
  }
  if (program.y_bf16) {
    store_output<BFloat16>(program, first, kStep, y);
  } else {
    store_output<float>(program, first, kStep, y);
  }
}

template <int kSlots, int kBlock>
Kernel make_program(const Program& program, std::size_t inputs) {
  return {text("elementwise_chain_cuda (", program.steps, " steps)"), [=](const Launch& on) {
            launch(on, blocks_for(program.count, kBlock * kValues), kBlock, run_program<kSlots, kBlock>,
                   program.of(on, inputs));
          }};
}

// ---- Frequent chains ---------------------------------------------------------------------------------

// An activation of a sum that is rounded to Middle, and its gradient for one.
template <typename Middle, typename Function>
struct OfSum {
  Function function;
  __device__ float operator()(float a, float b) const {
    return function(rounded_to<Middle>(cuda_binary::Add{}(a, b)));
  }
  __device__ float operator()(float a, float b, float saved) const {
    return function.backward(rounded_to<Middle>(cuda_binary::Add{}(a, b)), saved);
  }
};
// The gradient for a cotangent that is rounded to Middle.
template <typename Middle, typename Function>
struct OfCast {
  Function function;
  __device__ float operator()(float dy, float saved) const { return function.backward(rounded_to<Middle>(dy), saved); }
};

// Two steps, the second an activation of the first's result or its gradient for that, all of type T: a residual block's
// add and relu, the relu's gradient for a sum or a cast of cotangents, bias and activation.
class TwoSteps {
 public:
  TwoSteps(const ElementwiseChainOp& chain, std::int64_t count) : chain_(chain), count_(count) {}

  std::optional<Kernel> kernel() const {
    const auto& steps = chain_.steps();
    const int inputs = static_cast<int>(chain_.inputs().size());
    if (steps.size() != 2 || steps[1].operands.front() != inputs) return {};
    const auto* forward = dynamic_cast<const ActivationOp*>(steps[1].op.get());
    const auto* backward = dynamic_cast<const ActivationBackwardOp*>(steps[1].op.get());
    if (forward == nullptr && (backward == nullptr || steps[1].operands.back() >= inputs)) return {};
    if (chain_.results()[0].dtype != chain_.results()[1].dtype) return {};
    const ActivationKind kind = (forward != nullptr ? forward->activation() : backward->activation()).kind;
    const bool bf16 = chain_.results()[1].dtype == DType::kBF16;
    const bool backwards = backward != nullptr;
    if (kind == ActivationKind::kRelu) {
      return bf16 ? of<BFloat16, cuda_activation::Relu>(backwards) : of<float, cuda_activation::Relu>(backwards);
    }
    if (kind == ActivationKind::kGelu && !backwards) {
      return bf16 ? of<BFloat16, cuda_activation::Gelu>(false) : of<float, cuda_activation::Gelu>(false);
    }
    return {};
  }

 private:
  bool is_full(int input, DType dtype) const {
    return chain_.inputs()[input].dtype == dtype && chain_.input_kind(input) == ChainInput::kFull;
  }

  template <typename T, typename Function>
  std::optional<Kernel> of(bool backwards) const {
    constexpr DType kType = std::is_same_v<T, float> ? DType::kF32 : DType::kBF16;
    const ChainStep& step = chain_.steps()[0];
    const int saved = backwards ? chain_.steps()[1].operands.back() : 0;
    if (backwards && !is_full(saved, kType)) return {};
    if (dynamic_cast<const CastOp*>(step.op.get()) != nullptr) {
      const int dy = step.operands.front();
      if (!backwards || !std::is_same_v<T, BFloat16> || !is_full(dy, DType::kF32)) return {};
      return of_cast<T, Function>(dy, saved);
    }
    if (instruction_of(*step.op).code != Code::kAdd) return {};
    int a = step.operands.front(), b = step.operands.back();
    if (!is_full(a, kType)) std::swap(a, b);  // a sum is the same
    if (!is_full(a, kType)) return {};
    if (is_full(b, kType)) return backwards ? of_full<T, Function>(a, b, saved) : of_full<T, Function>(a, b);
    if (backwards || chain_.input_kind(b) != ChainInput::kVector) return {};
    return chain_.inputs()[b].dtype == DType::kF32 ? of_vector<T, float, Function>(a, b)
                                                   : of_vector<T, T, Function>(a, b);
  }

  template <typename T, typename Function>
  Kernel of_full(int a, int b) const {
    return {"elementwise_chain_cuda (sum, activation)", [=, count = count_](const Launch& on) {
              launch_elementwise(on, count, on.output<T>(0), OfSum<T, Function>{}, Full<T>{on.input<T>(a)},
                                 Full<T>{on.input<T>(b)});
            }};
  }
  template <typename T, typename Function>
  Kernel of_full(int a, int b, int saved) const {
    return {"elementwise_chain_cuda (sum, gradient)", [=, count = count_](const Launch& on) {
              launch_elementwise(on, count, on.output<T>(0), OfSum<T, Function>{}, Full<T>{on.input<T>(a)},
                                 Full<T>{on.input<T>(b)}, Full<T>{on.input<T>(saved)});
            }};
  }
  template <typename T, typename Vector, typename Function>
  Kernel of_vector(int a, int b) const {
    const Repeated<Vector> vector = repeated<Vector>(nullptr, 1, chain_.inputs()[b].elements(), count_);
    return {"elementwise_chain_cuda (bias, activation)", [=, count = count_](const Launch& on) {
              launch_elementwise(on, count, on.output<T>(0), OfSum<T, Function>{}, Full<T>{on.input<T>(a)},
                                 vector.of(on.input<Vector>(b)));
            }};
  }
  template <typename T, typename Function>
  Kernel of_cast(int dy, int saved) const {
    return {"elementwise_chain_cuda (cast, gradient)", [=, count = count_](const Launch& on) {
              launch_elementwise(on, count, on.output<T>(0), OfCast<T, Function>{}, Full<float>{on.input<float>(dy)},
                                 Full<T>{on.input<T>(saved)});
            }};
  }

  const ElementwiseChainOp& chain_;
  std::int64_t count_;
};

Kernel elementwise_chain_cuda(const KernelRequest& request) {
  const auto& chain = request.op_as<ElementwiseChainOp>();
  const std::int64_t count = request.outputs[0].elements();
  if (std::optional<Kernel> frequent = TwoSteps(chain, count).kernel()) return std::move(*frequent);
  const Program program(chain, count);
  const std::size_t inputs = chain.inputs().size();
  if (program.slots == 0) return make_program<0, 256>(program, inputs);
  if (program.slots <= 2) return make_program<2, 256>(program, inputs);
  return make_program<kMostSteps, 64>(program, inputs);
}

}  // namespace

void register_elementwise_chain_cuda(KernelRegistry& registry) {
  registry.add("elementwise_chain", DeviceKind::kCuda, {elementwise_chain_cuda, nullptr});
}

}  // namespace lockstep
