// A device: memory, and streams of work. One worker has one device. The CPU device is in
// core/device/cpu_device.h; the GPU's comes from a module that is opened at run time.
//
// A device outlives its memory and everything that was made for it. Calls come from one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace lockstep {

enum class DeviceKind { kCpu, kCuda };

std::string name_of(DeviceKind kind);  // "cpu", "cuda"

class Device;

// A block of device memory, aligned to kMemoryAlignment bytes; freed with the object.
inline constexpr std::size_t kMemoryAlignment = 64;

// What memory is for.
enum class MemoryKind {
  kPrivate,  // the device's own
  kShared,   // the same, but other workers of this machine may read it in place, where the device can
  kStaging,  // of the host, from which copies to the device are fastest: page-locked for a GPU
};

class Memory {
 public:
  Memory() = default;
  Memory(Device* device, void* data, std::size_t bytes, MemoryKind kind)
      : device_(device), data_(data), bytes_(bytes), kind_(kind) {}
  ~Memory();
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  std::byte* at(std::size_t offset) const { return static_cast<std::byte*>(data_) + offset; }

 private:
  Device* device_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  MemoryKind kind_ = MemoryKind::kPrivate;
};

class Device {
 public:
  virtual ~Device() = default;

  virtual DeviceKind kind() const = 0;
  virtual std::string name() const = 0;        // as printed: the processor's or GPU's model
  virtual std::size_t memory_limit() const = 0;  // bytes that one worker may hope for

  // Zeroed memory. Throws failed environment naming the bytes where there is not enough. Staging memory may be asked for
  // and freed by any thread.
  Memory allocate(std::size_t bytes, MemoryKind kind = MemoryKind::kPrivate);

  // Whether kernels read host memory in its place: then nothing has to be copied in.
  virtual bool reads_host_memory() const = 0;

  // Copies between host and device; done when the call returns.
  virtual void copy_in(void* device_to, const void* host_from, std::size_t bytes) = 0;
  virtual void copy_out(void* host_to, const void* device_from, std::size_t bytes) = 0;

  // Waits until everything that was launched is done.
  virtual void synchronize() = 0;

 protected:
  friend class Memory;
  virtual void* allocate_bytes(std::size_t bytes, MemoryKind kind) = 0;  // zeroed; null where there is none
  virtual void free_bytes(void* data, std::size_t bytes, MemoryKind kind) = 0;
};

}  // namespace lockstep
