#include "launcher/checkpoint/state_copy.h"

#include <cstring>

namespace lockstep {

StateCopy::StateCopy(std::vector<TensorSlice> live) : live_(std::move(live)), copied_(live_) {
  for (const TensorSlice& slice : live_) bytes_ += slice.bytes();
  memory_ = std::make_unique_for_overwrite<float[]>(bytes_ / sizeof(float));
  float* to = memory_.get();
  for (TensorSlice& slice : copied_) {
    slice.values = to;
    to += slice.range.size();
  }
  touched_ = std::async(std::launch::async, [this] { std::memset(memory_.get(), 0, bytes_); });
}

void StateCopy::take() {
  if (touched_.valid()) touched_.get();
  for (std::size_t i = 0; i < live_.size(); ++i) {
    std::memcpy(copied_[i].values, live_[i].values, live_[i].bytes());
  }
}

}  // namespace lockstep
