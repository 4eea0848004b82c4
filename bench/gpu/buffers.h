// The GPU that is measured, and the memory of a case on it.
#pragma once

#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "bench/gpu/kernel_case.h"
#include "core/device/device.h"
#include "core/kernel/kernel.h"

namespace lockstep::bench {

struct Gpu {
  std::unique_ptr<Device> device;
  KernelRegistry kernels;
};

// GPU 0, by the module of this build. Throws failed environment where there is none.
Gpu open_gpu(bool tf32);

// Fills memory of the device with random elements: a block of them again and again, as they take
// long to draw.
class Filler {
 public:
  explicit Filler(Device& device) : device_(device) {}
  // Floating elements are in [-1, 1), or in [0.5, 1.5) where they are to be positive; i64 ones
  // count from 0, other integers are in [0, bound).
  void fill(std::byte* to, const TensorType& type, std::int64_t bound, bool positive);

 private:
  const std::vector<std::byte>& block_of(DType dtype, std::int64_t bound, bool positive);

  Device& device_;
  std::map<std::tuple<DType, std::int64_t, bool>, std::vector<std::byte>> blocks_;
};

// Several sets of the inputs and outputs of a case: so many that the cache does not hold what a
// launch reads.
class Buffers {
 public:
  Buffers(Device& device, Filler& filler, const KernelCase& c);

  std::int64_t sets() const { return static_cast<std::int64_t>(inputs_.size()); }
  // Of launch i, which takes set i modulo sets().
  Launch launch(std::int64_t i, void* workspace, void* stream) const {
    return {inputs_[i % sets()].data(), outputs_[i % sets()].data(), workspace, stream};
  }

 private:
  Memory memory_;
  std::vector<std::vector<void*>> inputs_, outputs_;
};

}  // namespace lockstep::bench
