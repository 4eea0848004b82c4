// The memory of an emulated GPU: each block in pages of its own, at their end, with a page behind that nobody may touch.
// While it is not open, nobody may touch the blocks either: that is how memory of a GPU looks from the host.
//
// A segmentation fault in such a page, or in a kernel, is explained in one line on stderr before it ends the process. The
// address sanitizer also knows the few bytes between the end of a block and its page.
#pragma once

#include <cstddef>
#include <map>

namespace lockstep {

class DeviceMemory {
 public:
  DeviceMemory();
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  // Zeroed, aligned to kMemoryAlignment and, most often, to no more; null where there is none. REQUIRES: bytes > 0.
  void* allocate(std::size_t bytes);
  void free(void* data);

  // All blocks may be touched while one of these lives.
  class Open {
   public:
    explicit Open(DeviceMemory& memory) : memory_(memory) { memory.open(); }
    ~Open() { memory_.close(); }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;

   private:
    DeviceMemory& memory_;
  };

 private:
  void open();
  void close();
  void protect(int protection);

  struct Block {
    std::byte* pages;
    std::size_t bytes;
  };
  std::map<void*, Block> blocks_;
  int opened_ = 0;
};

// Memory of the host that is page-locked, which kernels may touch too.
void* allocate_staging(std::size_t bytes);
void free_staging(void* data, std::size_t bytes);

// Whether an address is one of the program, its heap, or the stack of the calling thread: what no kernel may touch. It is
// not known of all memory of the host: large blocks are not in the heap.
bool is_host_memory(const void* address);

}  // namespace lockstep
