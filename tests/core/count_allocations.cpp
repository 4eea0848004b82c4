#include "tests/core/count_allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

extern "C" const char __executable_start, etext;  // by the linker: the program's own code

namespace lockstep {
namespace {

std::atomic<std::int64_t> calls{0}, own_calls{0};

void* counted(std::size_t bytes, const void* caller) {
  ++calls;
  if (caller >= &__executable_start && caller < &etext) ++own_calls;
  if (void* data = std::malloc(bytes)) return data;
  throw std::bad_alloc();
}

}  // namespace

std::int64_t allocations_so_far() { return calls; }
std::int64_t own_allocations_so_far() { return own_calls; }

}  // namespace lockstep

void* operator new(std::size_t bytes) { return lockstep::counted(bytes, __builtin_return_address(0)); }
void* operator new[](std::size_t bytes) { return lockstep::counted(bytes, __builtin_return_address(0)); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return lockstep::counted(bytes, __builtin_return_address(0));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* data) noexcept { std::free(data); }
void operator delete[](void* data) noexcept { std::free(data); }
void operator delete(void* data, std::size_t) noexcept { std::free(data); }
void operator delete[](void* data, std::size_t) noexcept { std::free(data); }
