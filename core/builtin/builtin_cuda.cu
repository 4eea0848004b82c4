// CUDA kernels of fill, cast, accumulate, copy and pack: one pass over memory each.
#include "core/builtin/builtin.h"
#include "core/kernel/cuda_kernel.h"

namespace lockstep {
namespace {

constexpr int kEach = 4;  // elements that a thread has at once

// y[i] = f(i) for all i < count; neighbouring threads have neighbouring elements.
template <typename T, typename Function>
__global__ void generate(T* y, std::int64_t count, Function f) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x; i < count; i += stride) {
    y[i] = f(i);
  }
}

template <typename T, typename Function>
void launch_generate(const Launch& on, T* y, std::int64_t count, Function f) {
  launch(on, striding_blocks(count, kThreads * kEach), kThreads, generate<T, Function>, y, count, f);
}

template <typename T>
struct Constant {
  T value;
  __device__ T operator()(std::int64_t) const { return value; }
};

template <typename T>
Kernel make_fill(T value, std::int64_t count) {
  return {"fill_cuda", [=](const Launch& on) { launch_generate(on, on.output<T>(0), count, Constant<T>{value}); }};
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

__device__ inline float number(float x) { return x; }
__device__ inline float number(BFloat16 x) { return to_float(x); }
__device__ inline float number(std::int32_t x) { return static_cast<float>(x); }
__device__ inline float number(std::uint8_t x) { return static_cast<float>(x); }

template <typename From, typename To>
struct Converted {
  const From* x;
  __device__ To operator()(std::int64_t i) const { return from_float<To>(number(x[i])); }
};

template <typename From, typename To>
Kernel make_cast(std::int64_t count) {
  return {"cast_cuda", [=](const Launch& on) {
            launch_generate(on, on.output<To>(0), count, Converted<From, To>{on.input<From>(0)});
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

template <typename T>
struct Sum {
  const T *a, *b;
  __device__ T operator()(std::int64_t i) const { return from_float<T>(to_float(a[i]) + to_float(b[i])); }
};

Kernel accumulate_cuda(const KernelRequest& request) {
  const std::int64_t count = request.outputs[0].elements();
  return for_cuda_floating(request, request.outputs[0].dtype, [&]<typename T>(T) -> Kernel {
    return {"accumulate_cuda", [=](const Launch& on) {
              launch_generate(on, on.output<T>(0), count, Sum<T>{on.input<T>(0), on.input<T>(1)});
            }};
  });
}

void queue_copy(const Launch& on, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0 || to == from) return;
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(on.stream)),
             "cudaMemcpyAsync");
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
