// CUDA kernels of the binary ops and of scale. Where one operand has the shape of the result and the other is repeated in
// one way (a number, a vector along the last axis, a column), elements are found with one or two divisions of an index
// and loaded side by side; whatever else broadcasts goes element by element over the loops.
#include "core/kernel/cuda_elementwise.h"
#include "ops/binary/binary_cuda.h"
#include "ops/broadcast_loops.h"

namespace lockstep {
namespace {

// How an operand meets the elements of the result.
struct Meeting {
  enum class Kind { kFull, kRepeated, kOther } kind = Kind::kOther;
  std::int64_t inner = 1, period = 1;  // of kRepeated: element i / inner % period
};

Meeting meeting_of(const BroadcastLoops& loops, const std::array<std::int64_t, Shape::kMaxRank>& strides) {
  std::int64_t inner = 1, moving = 0, inner_of_moving = 1, period = 1;
  bool full = true;
  for (int axis = loops.rank - 1; axis >= 0; --axis) {
    full &= strides[axis] == inner;
    if (strides[axis] != 0) {
      ++moving;
      inner_of_moving = inner;
      period = loops.extent[axis];
    }
    inner *= loops.extent[axis];
  }
  if (full) return {Meeting::Kind::kFull};
  if (moving <= 1) return {Meeting::Kind::kRepeated, inner_of_moving, period};
  return {};
}

// Element i of the result is found by the loops that it is in.
template <typename T>
struct Looped {
  using Element = T;
  static constexpr std::size_t kSize = sizeof(T);
  static constexpr bool wide = true;
  const T* x = nullptr;
  int rank = 0;
  Divisor extent[Shape::kMaxRank];
  std::int64_t stride[Shape::kMaxRank] = {};

  Looped(const BroadcastLoops& loops, const std::array<std::int64_t, Shape::kMaxRank>& strides) : rank(loops.rank) {
    std::int64_t count = loops.inner() * loops.outer();
    for (int axis = rank - 1; axis >= 0; --axis) {
      extent[axis] = Divisor(loops.extent[axis], count);
      stride[axis] = strides[axis];
    }
  }
  Looped of(const T* memory) const {
    Looped out = *this;
    out.x = memory;
    return out;
  }
  template <int N>
  void prepare() {}
  template <bool kFast, int N>
  __device__ void load(std::int64_t first, int n, T (&to)[N]) const {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      std::int64_t rest = first + k, at = 0;
#pragma unroll
      for (int axis = Shape::kMaxRank - 1; axis >= 0; --axis) {
        if (axis >= rank) continue;
        const std::int64_t next = extent[axis].quotient(rest);
        at += (rest - next * extent[axis].divisor) * stride[axis];
        rest = next;
      }
      to[k] = kFast || k < n ? x[at] : T{};
    }
  }
};

template <typename T, typename Function>
Kernel make_binary(const std::string& name, const Function& f, const BroadcastLoops& loops, std::int64_t count) {
  const Meeting a = meeting_of(loops, loops.a_stride), b = meeting_of(loops, loops.b_stride);
  using Kind = Meeting::Kind;
  if (a.kind == Kind::kFull && b.kind == Kind::kFull) {
    return {name, [=](const Launch& on) {
              launch_elementwise(on, count, on.output<T>(0), f, Full<T>{on.input<T>(0)}, Full<T>{on.input<T>(1)});
            }};
  }
  if (a.kind == Kind::kFull && b.kind == Kind::kRepeated) {
    const Repeated<T> second = repeated<T>(nullptr, b.inner, b.period, count);
    return {name, [=](const Launch& on) {
              launch_elementwise(on, count, on.output<T>(0), f, Full<T>{on.input<T>(0)}, second.of(on.input<T>(1)));
            }};
  }
  if (a.kind == Kind::kRepeated && b.kind == Kind::kFull) {
    const Repeated<T> first = repeated<T>(nullptr, a.inner, a.period, count);
    return {name, [=](const Launch& on) {
              launch_elementwise(on, count, on.output<T>(0), f, first.of(on.input<T>(0)), Full<T>{on.input<T>(1)});
            }};
  }
  const Looped<T> first(loops, loops.a_stride), second(loops, loops.b_stride);
  return {name, [=](const Launch& on) {
            launch_elementwise(on, count, on.output<T>(0), f, first.of(on.input<T>(0)), second.of(on.input<T>(1)));
          }};
}

Kernel binary_cuda(const KernelRequest& request) {
  const auto& op = request.op_as<BinaryOp>();
  const BroadcastLoops loops(request.inputs[0].shape, request.inputs[1].shape, request.outputs[0].shape);
  const std::int64_t count = request.outputs[0].elements();
  return for_cuda_floating(request, request.outputs[0].dtype, [&]<typename T>(T) {
    return cuda_binary::with_function(op.kind(), [&](auto function) {
      return make_binary<T>(text(op.name(), "_cuda"), function, loops, count);
    });
  });
}

Kernel scale_cuda(const KernelRequest& request) {
  const cuda_binary::Scale scale{static_cast<float>(request.op_as<ScaleOp>().factor())};
  const std::int64_t count = request.outputs[0].elements();
  return for_cuda_floating(request, request.outputs[0].dtype, [&]<typename T>(T) -> Kernel {
    return {"scale_cuda", [=](const Launch& on) {
              launch_elementwise(on, count, on.output<T>(0), scale, Full<T>{on.input<T>(0)});
            }};
  });
}

}  // namespace

void register_binary_cuda(KernelRegistry& registry) {
  for (const char* name : {"add", "subtract", "multiply", "divide"}) {
    registry.add(name, DeviceKind::kCuda, {binary_cuda, nullptr});
  }
  registry.add("scale", DeviceKind::kCuda, {scale_cuda, nullptr});
}

}  // namespace lockstep
