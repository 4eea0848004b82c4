// CUDA kernels of concatenation and of its gradient: the whole is `rows` rows, and each part is a strip of them. Elements
// of any type are moved in units of up to 16 bytes, as large as all strips and addresses are multiples of.
#include <vector>

#include "core/kernel/cuda_elementwise.h"
#include "ops/concat/concat.h"

namespace lockstep {
namespace {

constexpr int kMostParts = 16;  // of a launch
constexpr int kUnits = 4;       // that a thread has in flight

// Neighbouring parts, in units.
struct Strips {
  int parts = 0;
  void* part[kMostParts];
  std::int64_t begin[kMostParts + 1];  // of each part in a row of these parts, and the end
  std::int64_t offset, stride;         // where that row begins in a row of the whole; from one to the next
  std::int64_t count;                  // of all rows
  Divisor width;                       // of a row of these parts
  void* whole;
};

// kJoin: the parts into the whole; else the whole into the parts.
template <typename Unit, bool kJoin>
__global__ void __launch_bounds__(kThreads) move(const __grid_constant__ Strips strips) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kUnits * kThreads + threadIdx.x;
  Unit unit[kUnits];
  Unit* to[kUnits];
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    const std::int64_t i = first + u * kThreads;
    if (i >= strips.count) break;
    const std::int64_t row = strips.width.quotient(i), column = i - row * strips.width.divisor;
    void* part = strips.part[0];
    std::int64_t begin = 0, end = strips.begin[1];
    for (int p = 1; p < strips.parts; ++p) {
      if (column < strips.begin[p]) break;
      part = strips.part[p];
      begin = strips.begin[p];
      end = strips.begin[p + 1];
    }
    Unit* in_part = static_cast<Unit*>(part) + row * (end - begin) + (column - begin);
    Unit* in_whole = static_cast<Unit*>(strips.whole) + row * strips.stride + strips.offset + column;
    unit[u] = kJoin ? *in_part : *in_whole;
    to[u] = kJoin ? in_whole : in_part;
  }
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    if (first + u * kThreads < strips.count) *to[u] = unit[u];
  }
}

// The parts of an op, in bytes.
struct Parts {
  std::int64_t rows = 1;
  std::vector<std::size_t> bytes;  // of a row of each part
  std::size_t whole = 0;           // of a row of the whole

  Parts(std::span<const TensorType> parts, int axis) {
    for (const TensorType& part : parts) {
      const int at = axis < 0 ? axis + part.shape.rank() : axis;
      rows = part.shape.elements(0, at);
      bytes.push_back(static_cast<std::size_t>(part.shape.elements(at, part.shape.rank())) * size_of(part.dtype));
      whole += bytes.back();
    }
  }

  bool fit(std::size_t unit, void* const* memory, const void* whole_memory) const {
    bool fits = is_aligned(whole_memory, unit);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      fits &= bytes[i] % unit == 0 && (bytes[i] == 0 || is_aligned(memory[i], unit));
    }
    return fits;
  }

  template <typename Unit, bool kJoin>
  void launch_units(const Launch& on, void* const* memory, void* whole_memory) const {
    constexpr auto kUnit = static_cast<std::int64_t>(sizeof(Unit));
    Strips strips = {};
    strips.whole = whole_memory;
    strips.stride = static_cast<std::int64_t>(whole) / kUnit;
    for (std::size_t next = 0; next < bytes.size(); strips.offset += strips.begin[strips.parts]) {
      for (strips.parts = 0; strips.parts < kMostParts && next < bytes.size(); ++strips.parts, ++next) {
        strips.part[strips.parts] = memory[next];
        strips.begin[strips.parts + 1] = strips.begin[strips.parts] + static_cast<std::int64_t>(bytes[next]) / kUnit;
      }
      const std::int64_t width = strips.begin[strips.parts];
      strips.count = rows * width;
      strips.width = Divisor(width, strips.count);
      launch(on, blocks_for(strips.count, kUnits * kThreads), kThreads, move<Unit, kJoin>, strips);
    }
  }

  template <bool kJoin>
  void launch_all(const Launch& on, void* const* memory, void* whole_memory) const {
    if (fit(16, memory, whole_memory)) return launch_units<uint4, kJoin>(on, memory, whole_memory);
    if (fit(4, memory, whole_memory)) return launch_units<std::uint32_t, kJoin>(on, memory, whole_memory);
    if (fit(2, memory, whole_memory)) return launch_units<std::uint16_t, kJoin>(on, memory, whole_memory);
    launch_units<std::uint8_t, kJoin>(on, memory, whole_memory);
  }
};

Kernel concat_cuda(const KernelRequest& request) {
  return {"concat_cuda", [parts = Parts(request.inputs, request.op_as<ConcatOp>().axis())](const Launch& on) {
            parts.launch_all<true>(on, on.inputs, on.outputs[0]);
          }};
}

Kernel concat_backward_cuda(const KernelRequest& request) {
  return {"concat_backward_cuda",
          [parts = Parts(request.outputs, request.op_as<ConcatBackwardOp>().axis())](const Launch& on) {
            parts.launch_all<false>(on, on.outputs, on.inputs[0]);
          }};
}

}  // namespace

void register_concat_cuda(KernelRegistry& registry) {
  registry.add("concat", DeviceKind::kCuda, {concat_cuda, nullptr});
  registry.add("concat_backward", DeviceKind::kCuda, {concat_backward_cuda, nullptr});
}

}  // namespace lockstep
