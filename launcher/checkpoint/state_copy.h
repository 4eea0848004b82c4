// A second buffer for the state of a training: the training goes on in the first one while a writer reads the copy.
// Used by one thread at a time.
#pragma once

#include <future>
#include <memory>
#include <vector>

#include "launcher/checkpoint/tensor_slice.h"

namespace lockstep {

class StateCopy {
 public:
  // Takes the memory; its pages are touched by a thread of its own, so that the first copy is as fast as any.
  // REQUIRES: the memory of `live` outlives the copy.
  explicit StateCopy(std::vector<TensorSlice> live);

  // Copies the live values. Cost: reading and writing them once.
  void take();
  // The slices as they were then.
  const std::vector<TensorSlice>& slices() const { return copied_; }

 private:
  std::vector<TensorSlice> live_, copied_;
  std::shared_ptr<std::byte> memory_;
  std::future<void> touched_;  // waits in its destructor, before the memory goes
};

}  // namespace lockstep
