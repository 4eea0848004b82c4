#include "core/base/machine.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <new>
#include <string>

#include "core/base/error.h"

namespace lockstep {

std::size_t available_memory() {
  std::ifstream in("/proc/meminfo");
  std::string key;
  std::size_t kib = 0;
  for (std::string unit; in >> key >> kib; std::getline(in, unit)) {
    if (key == "MemAvailable:") return kib * 1024;
  }
  return static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

std::shared_ptr<std::byte> line_memory(std::size_t bytes) {
  constexpr std::align_val_t kLine{64};
  void* const memory = ::operator new(std::max<std::size_t>(bytes, 1), kLine, std::nothrow);
  if (memory == nullptr) environment_failed("there are no ", bytes, " bytes of memory");
  return {static_cast<std::byte*>(memory), [](std::byte* data) { ::operator delete(data, std::align_val_t{64}); }};
}

}  // namespace lockstep
