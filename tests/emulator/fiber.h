// A function with a stack of its own, that can stop in the middle and go on later. Fibers of one thread of the host; an
// exception does not leave one.
#pragma once

#include <cstddef>

namespace lockstep::emulator {

class Fiber {
 public:
  // Fibers that run by turns have different numbers.
  explicit Fiber(unsigned number);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next enter() calls entry(argument), which never returns. What the fiber was doing is forgotten.
  void prepare(void (*entry)(void*), void* argument);
  // Goes on in the fiber until it leaves. REQUIRES: called from outside of all fibers.
  void enter();
  // Back to whoever entered. REQUIRES: called in this fiber.
  void leave();

 private:
  static void begin(Fiber* fiber);

  std::size_t colour_;
  std::byte* mapping_;  // a page that nobody may touch, then the stack
  void* inside_ = nullptr;   // stack pointers of the two sides, while they wait
  void* outside_ = nullptr;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  // What the address sanitizer wants to know at each switch.
  void* inside_fake_ = nullptr;
  const void* outside_bottom_ = nullptr;
  std::size_t outside_size_ = 0;
};

}  // namespace lockstep::emulator
