#include "tests/core/count_allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace lockstep {
namespace {

std::atomic<std::int64_t> calls{0};

void* counted(std::size_t bytes) {
  ++calls;
  if (void* data = std::malloc(bytes)) return data;
  throw std::bad_alloc();
}

}  // namespace

std::int64_t allocations_so_far() { return calls; }

}  // namespace lockstep

void* operator new(std::size_t bytes) { return lockstep::counted(bytes); }
void* operator new[](std::size_t bytes) { return lockstep::counted(bytes); }
void operator delete(void* data) noexcept { std::free(data); }
void operator delete[](void* data) noexcept { std::free(data); }
void operator delete(void* data, std::size_t) noexcept { std::free(data); }
void operator delete[](void* data, std::size_t) noexcept { std::free(data); }
