#include "core/device/device.h"

#include <utility>

#include "core/base/error.h"

namespace lockstep {

std::string name_of(DeviceKind kind) { return kind == DeviceKind::kCpu ? "cpu" : "cuda"; }

Memory::~Memory() {
  if (data_ != nullptr) device_->free_bytes(data_, bytes_);
}

Memory::Memory(Memory&& other) noexcept
    : device_(other.device_), data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Memory Device::allocate(std::size_t bytes, bool shared) {
  if (bytes == 0) return {};
  void* data = allocate_bytes(bytes, shared);
  if (data == nullptr) environment_failed("out of memory: ", bytes, " bytes on ", name());
  return Memory(this, data, bytes);
}

}  // namespace lockstep
