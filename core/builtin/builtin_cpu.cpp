// CPU kernels of fill, cast, accumulate, copy and pack: one pass over memory each.
#include <cstring>

#include "core/base/bfloat16.h"
#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "core/device/cpu_device.h"

namespace lockstep {
namespace {

constexpr std::int64_t kGrain = 1 << 15;  // elements worth a thread of their own

int threads_of(const KernelRequest& request) {
  return static_cast<const CpuDevice&>(request.device).threads();
}

template <typename T>
Kernel make_fill(T value, std::int64_t count, int threads) {
  return {"fill_cpu", [=](const Launch& launch) {
            T* out = launch.output<T>(0);
            parallel_for(threads, count, kGrain, [&](std::int64_t begin, std::int64_t end) {
              std::fill(out + begin, out + end, value);
            });
          }};
}

Kernel fill_cpu(const KernelRequest& request) {
  const double value = request.op_as<FillOp>().value();
  const std::int64_t count = request.outputs[0].elements();
  const int threads = threads_of(request);
  switch (request.outputs[0].dtype) {
    case DType::kF32:
      return make_fill(static_cast<float>(value), count, threads);
    case DType::kBF16:
      return make_fill(BFloat16(static_cast<float>(value)), count, threads);
    case DType::kI32:
      return make_fill(static_cast<std::int32_t>(value), count, threads);
    case DType::kI64:
      return make_fill(static_cast<std::int64_t>(value), count, threads);
    default:
      bad_input("fill: no kernel for ", request.outputs[0].to_string());
  }
}

template <typename From, typename To>
Kernel make_cast(std::int64_t count, int threads) {
  return {"cast_cpu", [=](const Launch& launch) {
            const From* x = launch.input<From>(0);
            To* y = launch.output<To>(0);
            parallel_for(threads, count, kGrain, [&](std::int64_t begin, std::int64_t end) {
              for (std::int64_t i = begin; i < end; ++i) y[i] = To(static_cast<float>(x[i]));
            });
          }};
}

Kernel cast_cpu(const KernelRequest& request) {
  const DType from = request.inputs[0].dtype, to = request.outputs[0].dtype;
  const std::int64_t count = request.outputs[0].elements();
  const int threads = threads_of(request);
  if (from == DType::kF32 && to == DType::kBF16) return make_cast<float, BFloat16>(count, threads);
  if (from == DType::kBF16 && to == DType::kF32) return make_cast<BFloat16, float>(count, threads);
  if (from == DType::kI32 && to == DType::kF32) {
    return make_cast<std::int32_t, float>(count, threads);
  }
  if (from == DType::kU8 && to == DType::kF32) {
    return make_cast<std::uint8_t, float>(count, threads);
  }
  bad_input("cast: no kernel from ", name_of(from), " to ", name_of(to));
}

template <typename T>
Kernel make_accumulate(std::int64_t count, int threads) {
  return {"accumulate_cpu", [=](const Launch& launch) {
            const T* a = launch.input<T>(0);
            const T* b = launch.input<T>(1);
            T* y = launch.output<T>(0);
            parallel_for(threads, count, kGrain, [&](std::int64_t begin, std::int64_t end) {
              for (std::int64_t i = begin; i < end; ++i) {
                y[i] = T(static_cast<float>(a[i]) + static_cast<float>(b[i]));
              }
            });
          }};
}

Kernel accumulate_cpu(const KernelRequest& request) {
  const std::int64_t count = request.outputs[0].elements();
  const int threads = threads_of(request);
  switch (request.outputs[0].dtype) {
    case DType::kF32:
      return make_accumulate<float>(count, threads);
    case DType::kBF16:
      return make_accumulate<BFloat16>(count, threads);
    default:
      bad_input("accumulate: no kernel for ", request.outputs[0].to_string());
  }
}

Kernel copy_cpu(const KernelRequest& request) {
  const std::size_t bytes = request.inputs[0].bytes();
  return {"copy_cpu", [=](const Launch& launch) {
            if (bytes > 0) std::memcpy(launch.outputs[0], launch.inputs[0], bytes);
          }};
}

Kernel pack_cpu(const KernelRequest& request) {
  std::vector<std::size_t> bytes;
  for (const TensorType& type : request.inputs) {
    check_input(type.layout == nullptr, "pack: input is ", type.to_string(),
                ", expected row-major");
    bytes.push_back(type.bytes());
  }
  return {"pack_cpu", [bytes = std::move(bytes)](const Launch& launch) {
            std::byte* out = launch.output<std::byte>(0);
            for (std::size_t i = 0; i < bytes.size(); ++i) {
              // An input that was computed in place is there already.
              if (launch.inputs[i] != out && bytes[i] > 0) {
                std::memcpy(out, launch.inputs[i], bytes[i]);
              }
              out += bytes[i];
            }
          }};
}

}  // namespace

void register_builtin_cpu(KernelRegistry& registry) {
  registry.add("fill", DeviceKind::kCpu, {fill_cpu, nullptr});
  registry.add("cast", DeviceKind::kCpu, {cast_cpu, nullptr});
  registry.add("accumulate", DeviceKind::kCpu, {accumulate_cpu, nullptr});
  registry.add("copy", DeviceKind::kCpu, {copy_cpu, nullptr});
  registry.add("pack", DeviceKind::kCpu, {pack_cpu, nullptr});
}

}  // namespace lockstep
