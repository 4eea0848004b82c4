// CUDA kernels of the binary ops and of scale. Where one operand has the shape of the result and the other is repeated in
// one way (a number, a vector along the last axis, a column), elements are found with one or two divisions of an index
// and loaded side by side; whatever else broadcasts goes element by element over the loops.
#include "ops/binary/binary_cuda.h"
#include "ops/broadcast_cuda.h"

namespace lockstep {
namespace {

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
