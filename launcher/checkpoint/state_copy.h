// A second buffer for the state of a training: the training goes on in the first one while a writer reads the copy.
// Used by one thread at a time.
#pragma once

#include <future>
#include <memory>
#include <vector>

#include "core/device/device.h"
#include "launcher/checkpoint/tensor_slice.h"

namespace lockstep {

class StateCopy {
 public:
  // `live`: in the memory of `device`. Takes the memory; its pages are touched by a thread of its own, so that the first copy
  // is as fast as any. REQUIRES: `device` and the memory of `live` outlive the copy.
  StateCopy(Device& device, std::vector<TensorSlice> live);

  // Copies the live values, after everything that was launched. Cost: reading and writing them once.
  void take();
  // The slices as they were then.
  const std::vector<TensorSlice>& slices() const { return copied_; }

 private:
  void take_from_device();

  Device& device_;
  std::vector<TensorSlice> live_, copied_;
  std::shared_ptr<std::byte> memory_;  // of a device that reads host memory, else
  Memory staging_;
  std::future<void> touched_;  // waits in its destructor, before the memory goes
};

}  // namespace lockstep
