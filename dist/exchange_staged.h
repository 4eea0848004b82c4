// The exchange of a device's memory through the memory of the host: for workers that share a GPU, and for builds without
// NCCL. Bits and waits are those of the kernels of the CPU (register_exchange_cpu), which do the work.
#pragma once

#include "core/kernel/kernel.h"
#include "dist/communicator.h"

namespace lockstep {

// Host memory for the values that are exchanged: the communicator's, where neighbours may borrow it, and page-locked for
// the device. Used by one thread at a time.
class Staging {
 public:
  // `heap` may be null: then any memory will do. Both outlive the object.
  Staging(SharedHeap* heap, Device& device) : heap_(heap), device_(device) {}
  ~Staging() { release(); }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Grows to at least `bytes`; the contents are lost.
  void reserve(std::size_t bytes);
  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void release();

  SharedHeap* heap_;
  Device& device_;
  Memory own_;  // where there is no heap
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Kernels of the exchange for DeviceKind::kCuda. They wait for the device and compute on the host (Kernel::on_host).
// `communicator` and `device` outlive them.
void register_exchange_staged(KernelRegistry& registry, Communicator& communicator, Device& device);

}  // namespace lockstep
