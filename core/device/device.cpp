#include "core/device/device.h"

#include <utility>

#include "core/base/error.h"

namespace lockstep {

std::string name_of(DeviceKind kind) { return kind == DeviceKind::kCpu ? "cpu" : "cuda"; }

Memory::~Memory() {
  if (data_ != nullptr) device_->free_bytes(data_, bytes_, kind_);
}

Memory::Memory(Memory&& other) noexcept
    : device_(other.device_), data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_), kind_(other.kind_) {}

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(kind_, other.kind_);
  return *this;
}

Memory Device::allocate(std::size_t bytes, MemoryKind kind) {
  if (bytes == 0) return {};
  void* data = allocate_bytes(bytes, kind);
  if (data == nullptr) environment_failed("out of memory: ", bytes, " bytes on ", name());
  return Memory(this, data, bytes, kind);
}

}  // namespace lockstep
