// A function with a stack of its own, that can stop in the middle and go on later. Fibers of one thread of the host; an
// exception does not leave one.
#pragma once

#include <cstddef>

namespace lockstep::emulator {

class Fiber {
 public:
  // The thread of the host itself, as one to come from and go back to.
  Fiber() = default;
  // One with a stack, on which it calls entry(argument), which never returns. Fibers that run by turns have different
  // numbers.
  Fiber(void (*entry)(void*), void* argument, unsigned number);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // `from`, which runs, stops, and `to` goes on where it stopped.
  static void go(Fiber& from, Fiber& to);

 private:
  static void begin(Fiber* fiber);
  void prepare_stack(std::byte* top);

  std::byte* mapping_ = nullptr;  // a page that nobody may touch, then the stack
  void* stopped_ = nullptr;       // the stack pointer
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  // What the address sanitizer wants to know at each switch.
  const void* bottom_ = nullptr;
  std::size_t size_ = 0;
  void* fake_stack_ = nullptr;
};

}  // namespace lockstep::emulator
