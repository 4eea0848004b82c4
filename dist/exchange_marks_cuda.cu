#include <cstring>

#include "core/kernel/cuda_kernel.h"
#include "dist/exchange_marks.h"

namespace lockstep {
namespace {

// Counts, so that the same exchange of the next step is another mark.
__global__ void leave_mark(std::uint64_t* counter, std::uint64_t* shown, std::uint32_t number) {
  const std::uint64_t count = *counter + 1;
  *counter = count;
  *shown = count << 32 | number;
}

}  // namespace

ExchangeMarks::ExchangeMarks(Device& device)
    : counter_(device.allocate(sizeof(std::uint64_t), MemoryKind::kPrivate, "marks of the exchange")),
      shown_(device.allocate(sizeof(std::uint64_t), MemoryKind::kStaging, "marks of the exchange")) {}

std::uint32_t ExchangeMarks::number_of(const char* what) {
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (std::strcmp(names_[i], what) == 0) return static_cast<std::uint32_t>(i + 1);
  }
  names_.push_back(what);
  return static_cast<std::uint32_t>(names_.size());
}

void ExchangeMarks::mark(const Launch& on, std::uint32_t number) const {
  launch(on, dim3(1), 1, leave_mark, static_cast<std::uint64_t*>(counter_.data()), static_cast<std::uint64_t*>(shown_.data()),
         number);
}

ExchangeMarks::Last ExchangeMarks::last(std::int64_t now) {
  const std::uint64_t shown = __atomic_load_n(static_cast<const std::uint64_t*>(shown_.data()), __ATOMIC_ACQUIRE);
  if (shown != seen_) {
    seen_ = shown;
    since_ = now;
  }
  const auto number = static_cast<std::uint32_t>(shown);
  if (number == 0) return {};
  return {names_.at(number - 1), static_cast<double>(now - since_) * 1e-9};
}

}  // namespace lockstep
