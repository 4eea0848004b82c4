// The kernels of the exchange for GPUs that reach each other: the scheme of dist/flat_exchange.h on the device's streams. Who
// carries the bytes is a GpuTransport: NCCL (dist/exchange_nccl.cpp), or in tests the local communicator. Part of the GPU's
// module.
#pragma once

#include <span>

#include "core/kernel/kernel.h"
#include "dist/communicator.h"
#include "dist/exchange_marks.h"
#include "dist/exchange_ops.h"

namespace lockstep {

// Each call queues one exchange on `stream` (Launch::stream): it begins when what was queued there before is done, and what
// is queued after it begins when it is done. All ranks make the same calls in the same order. Memory is the device's.
class GpuTransport {
 public:
  virtual ~GpuTransport() = default;

  // As Communicator::exchange.
  virtual void exchange(std::span<const Send> sends, std::span<const Receive> receives, void* stream) = 0;

  // In whatever order of summation the library likes. Rank r receives in `out` the sum over all ranks of the elements
  // `chunks[r]` of `in`.
  virtual void reduce_scatter(const float* in, float* out, std::span<const Range> chunks, void* stream) = 0;
  // Rank r has the elements `chunks[r]` of `data` and receives the others.
  virtual void all_gather(float* data, std::span<const Range> chunks, void* stream) = 0;
};

// `transport` and `marks` outlive the kernels.
void register_exchange_cuda(KernelRegistry& registry, GpuTransport& transport, ExchangeMarks& marks);

}  // namespace lockstep
