// CUDA kernels of fill, cast, accumulate, copy and pack: one pass over memory each.
#include "core/builtin/builtin.h"
#include "core/kernel/cuda_elementwise.h"

namespace lockstep {
namespace {

template <typename T>
struct Constant {
  T value;
  __device__ T operator()() const { return value; }
};

template <typename T>
Kernel make_fill(T value, std::int64_t count) {
  return {"fill_cuda", [=](const Launch& on) { launch_elementwise(on, count, on.output<T>(0), Constant<T>{value}); }};
}

Kernel fill_cuda(const KernelRequest& request) {
  const double value = request.op_as<FillOp>().value();
  const std::int64_t count = request.outputs[0].elements();
  switch (request.outputs[0].dtype) {
    case DType::kF32:
      return make_fill(static_cast<float>(value), count);
    case DType::kBF16:
      return make_fill(BFloat16(static_cast<float>(value)), count);
    case DType::kI32:
      return make_fill(static_cast<std::int32_t>(value), count);
    case DType::kI64:
      return make_fill(static_cast<std::int64_t>(value), count);
    default:
      bad_input("fill: no kernel for ", request.outputs[0].to_string());
  }
}

struct Same {
  __device__ float operator()(float x) const { return x; }
};

template <typename From, typename To>
Kernel make_cast(std::int64_t count) {
  return {"cast_cuda", [=](const Launch& on) {
            launch_elementwise(on, count, on.output<To>(0), Same{}, Full<From>{on.input<From>(0)});
          }};
}

Kernel cast_cuda(const KernelRequest& request) {
  const DType from = request.inputs[0].dtype, to = request.outputs[0].dtype;
  const std::int64_t count = request.outputs[0].elements();
  if (from == DType::kF32 && to == DType::kBF16) return make_cast<float, BFloat16>(count);
  if (from == DType::kBF16 && to == DType::kF32) return make_cast<BFloat16, float>(count);
  if (from == DType::kI32 && to == DType::kF32) return make_cast<std::int32_t, float>(count);
  if (from == DType::kU8 && to == DType::kF32) return make_cast<std::uint8_t, float>(count);
  bad_input("cast: no kernel from ", name_of(from), " to ", name_of(to));
}

struct Sum {
  __device__ float operator()(float a, float b) const { return __fadd_rn(a, b); }
};

Kernel accumulate_cuda(const KernelRequest& request) {
  const std::int64_t count = request.outputs[0].elements();
  return for_cuda_floating(request, request.outputs[0].dtype, [&]<typename T>(T) -> Kernel {
    return {"accumulate_cuda", [=](const Launch& on) {
              launch_elementwise(on, count, on.output<T>(0), Sum{}, Full<T>{on.input<T>(0)}, Full<T>{on.input<T>(1)});
            }};
  });
}

Kernel copy_cuda(const KernelRequest& request) {
  const std::size_t bytes = request.inputs[0].bytes();
  return {"copy_cuda", [=](const Launch& on) { queue_copy(on, on.outputs[0], on.inputs[0], bytes); }};
}

Kernel pack_cuda(const KernelRequest& request) {
  std::vector<std::size_t> bytes;
  for (const TensorType& type : request.inputs) bytes.push_back(type.bytes());
  return {"pack_cuda", [bytes = std::move(bytes)](const Launch& on) {
            std::byte* out = on.output<std::byte>(0);
            for (std::size_t i = 0; i < bytes.size(); ++i) {  // one that was computed in place is there already
              queue_copy(on, out, on.inputs[i], bytes[i]);
              out += bytes[i];
            }
          }};
}

}  // namespace

void register_builtin_cuda(KernelRegistry& registry) {
  registry.add("fill", DeviceKind::kCuda, {fill_cuda, nullptr});
  registry.add("cast", DeviceKind::kCuda, {cast_cuda, nullptr});
  registry.add("accumulate", DeviceKind::kCuda, {accumulate_cuda, nullptr});
  registry.add("copy", DeviceKind::kCuda, {copy_cuda, nullptr});
  registry.add("pack", DeviceKind::kCuda, {pack_cuda, nullptr});
}

}  // namespace lockstep
