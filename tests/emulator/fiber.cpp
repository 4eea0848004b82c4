#include "tests/emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>

#include "core/base/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace lockstep::emulator {
namespace {

constexpr std::size_t kGuard = 4096;
constexpr std::size_t kStack = 256 << 10;  // of address space; pages that are never touched take no memory
// Stacks begin at different offsets in a page, or the tops of all would share a few lines of the cache.
constexpr std::size_t kColours = 64, kLine = 64;

#if defined(__SANITIZE_ADDRESS__)
thread_local Fiber* came_from = nullptr;
#endif

}  // namespace

#if defined(__x86_64__)

// Saves what a called function must keep (System V ABI) on the one stack, and goes on with what was saved on the other.
// Nobody here changes the rounding mode, so the control words stay.
extern "C" void lockstep_switch_stacks(void** save, void* load);
extern "C" void lockstep_first_entry();
asm(R"(
.text
.globl lockstep_switch_stacks
.hidden lockstep_switch_stacks
.type lockstep_switch_stacks, @function
lockstep_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size lockstep_switch_stacks, .-lockstep_switch_stacks
.globl lockstep_first_entry
.hidden lockstep_first_entry
.type lockstep_first_entry, @function
lockstep_first_entry:
  movq %r12, %rdi
  pushq $0
  jmpq *%r13
.size lockstep_first_entry, .-lockstep_first_entry
)");

void Fiber::prepare_stack(std::byte* top) {
  auto* word = reinterpret_cast<std::uint64_t*>(top);
  *--word = 0;  // a call leaves the stack pointer 8 bytes off a multiple of 16
  *--word = 0;
  *--word = reinterpret_cast<std::uint64_t>(&lockstep_first_entry);
  *--word = 0;                                               // rbp
  *--word = 0;                                               // rbx
  *--word = reinterpret_cast<std::uint64_t>(this);           // r12
  *--word = reinterpret_cast<std::uint64_t>(&Fiber::begin);  // r13
  *--word = 0;                                               // r14
  *--word = 0;                                               // r15
  stopped_ = word;
}

#else

// Elsewhere through the C library, which is slower: it saves the mask of signals at each switch.
namespace {
void lockstep_switch_stacks(void** save, void* load) {
  ucontext_t here;
  *save = &here;
  swapcontext(&here, static_cast<ucontext_t*>(load));
}
}  // namespace

void Fiber::prepare_stack(std::byte* top) {
  static_assert(sizeof(void*) == 8);
  auto* first = reinterpret_cast<ucontext_t*>(top - (sizeof(ucontext_t) + kLine - 1) / kLine * kLine);
  getcontext(first);
  first->uc_stack.ss_sp = mapping_ + kGuard;
  first->uc_stack.ss_size = static_cast<std::size_t>(reinterpret_cast<std::byte*>(first) - (mapping_ + kGuard));
  first->uc_link = nullptr;
  const auto self = reinterpret_cast<std::uintptr_t>(this);
  const auto start = static_cast<void (*)(unsigned, unsigned)>([](unsigned high, unsigned low) {
    begin(reinterpret_cast<Fiber*>(static_cast<std::uintptr_t>(high) << 32 | low));
  });
  makecontext(first, reinterpret_cast<void (*)()>(start), 2, static_cast<unsigned>(self >> 32),
              static_cast<unsigned>(self));
  stopped_ = first;
}

#endif

Fiber::Fiber(void (*entry)(void*), void* argument, unsigned number) : entry_(entry), argument_(argument) {
  void* data = mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED || mprotect(data, kGuard, PROT_NONE) != 0) environment_failed("mmap of a fiber's stack failed");
  mapping_ = static_cast<std::byte*>(data);
  bottom_ = mapping_ + kGuard;
  size_ = kStack;
  prepare_stack(mapping_ + kGuard + kStack - number % kColours * kLine);
}

Fiber::~Fiber() {
  if (mapping_ == nullptr) return;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(mapping_ + kGuard, kStack);  // it may have stopped in the middle
#endif
  munmap(mapping_, kGuard + kStack);
}

void Fiber::begin(Fiber* fiber) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &came_from->bottom_, &came_from->size_);
#endif
  fiber->entry_(fiber->argument_);
  __builtin_trap();
}

void Fiber::go(Fiber& from, Fiber& to) {
#if defined(__SANITIZE_ADDRESS__)
  came_from = &from;
  __sanitizer_start_switch_fiber(&from.fake_stack_, to.bottom_, to.size_);
#endif
  lockstep_switch_stacks(&from.stopped_, to.stopped_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.fake_stack_, nullptr, nullptr);
#endif
}

}  // namespace lockstep::emulator
