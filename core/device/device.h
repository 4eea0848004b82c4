// A device: memory, and streams of work. One worker has one device. The CPU device is in
// core/device/cpu_device.h; the GPU's comes from a module that is opened at run time.
//
// The CPU has done a kernel's work when its launch returns. A device that queues work (queues_work) takes launches in
// order on each stream and goes on beside the host; events say what has been done, and order streams among each other.
//
// A device outlives its memory and everything that was made for it. Calls come from one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>

namespace lockstep {

enum class DeviceKind { kCpu, kCuda };

std::string name_of(DeviceKind kind);  // "cpu", "cuda"

class AlgorithmCache;
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
  Memory(Device* device, void* data, std::size_t bytes, MemoryKind kind, const char* purpose)
      : device_(device), data_(data), bytes_(bytes), kind_(kind), purpose_(purpose) {}
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
  const char* purpose_ = nullptr;
};

// Streams of a device. Work of one stream is done one after another. Copies between host and device have a stream of
// their own, beside which the others compute.
enum class StreamKind : std::uint8_t { kCompute, kCommunication, kCopy };
inline constexpr std::size_t kStreams = 3;

// A point in a stream.
class Event {
 public:
  virtual ~Event() = default;
  // The point is behind everything that was launched on `stream` so far. An event that was never recorded is done.
  virtual void record(StreamKind stream) = 0;
  // What is launched on `stream` from here on begins after the point.
  virtual void hold(StreamKind stream) = 0;
  virtual bool done() const = 0;
  // The host waits for the point.
  virtual void wait() = 0;
  // Seconds from the point `earlier` to this one. REQUIRES: both are done, and were made for timing.
  virtual double seconds_since(const Event& earlier) const = 0;
};

// Launches that were recorded once and are launched again as one.
class Recording {
 public:
  virtual ~Recording() = default;
  // On the compute stream.
  virtual void launch() = 0;
};

struct Transfer {
  void* to = nullptr;
  const void* from = nullptr;
  std::size_t bytes = 0;
};

class Device {
 public:
  virtual ~Device() = default;

  virtual DeviceKind kind() const = 0;
  virtual std::string name() const = 0;        // as printed: the processor's or GPU's model
  virtual std::size_t memory_limit() const = 0;  // bytes that one worker may hope for

  // Zeroed memory. `purpose` is what messages call it, and must live for ever (a literal). Throws failed environment
  // where there is not enough, with who holds what. Staging memory may be asked for and freed by any thread.
  Memory allocate(std::size_t bytes, MemoryKind kind = MemoryKind::kPrivate, const char* purpose = "other memory");
  // Bytes that are allocated now, by purpose; staging memory is not counted where it is no memory of the device.
  std::map<std::string, std::size_t> memory_in_use() const;

  // Whether kernels read host memory in its place: then nothing has to be copied in.
  virtual bool reads_host_memory() const = 0;

  // Copies between host and device, after everything that was launched; done when the call returns.
  virtual void copy_in(void* device_to, const void* host_from, std::size_t bytes) = 0;
  virtual void copy_out(void* host_to, const void* device_from, std::size_t bytes) = 0;

  // Waits until everything that was launched is done.
  virtual void synchronize() = 0;

  // Which algorithms of libraries its kernels use; null where no kernel has a choice that is kept.
  virtual AlgorithmCache* algorithms() { return nullptr; }

  // Host memory that is often copied from and to, and is not of this device: page-locked where that makes the copies faster.
  // Where it cannot be, copies are only slower. Undone before the memory is freed.
  virtual void page_lock(void*, std::size_t) {}
  virtual void page_unlock(void*) {}

  // ---- Devices that queue work -----------------------------------------------------------------

  virtual bool queues_work() const { return false; }
  // What kernels launch on (Launch::stream); null on the CPU.
  virtual void* stream(StreamKind) { return nullptr; }
  // An event; one for timing is slower to record.
  virtual std::unique_ptr<Event> make_event(bool for_timing = false);
  // Queues copies within device and staging memory on `stream`, in one launch. At most kMostTransfers.
  static constexpr std::size_t kMostTransfers = 8;
  virtual void copy(StreamKind stream, std::span<const Transfer> transfers);
  // Queues the writing of the device's clock, u64 in nanoseconds, at `to` in its memory or in staging memory.
  virtual void stamp(StreamKind stream, void* to);
  // Both, in one launch where the device can.
  virtual void copy_and_stamp(StreamKind stream, std::span<const Transfer> transfers, void* to);
  // Records what `work` launches instead of launching it. It begins and ends on the compute stream; other streams join
  // by events. Nothing in it waits for the host.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& work);
  // Called now and then while the host waits for the device, with the seconds that it has waited: it may throw.
  void while_waiting(std::function<void(double seconds)> look) { look_ = std::move(look); }

 protected:
  friend class Memory;
  virtual void* allocate_bytes(std::size_t bytes, MemoryKind kind) = 0;  // zeroed; null where there is none
  virtual void free_bytes(void* data, std::size_t bytes, MemoryKind kind) = 0;
  void look(double waited) const {
    if (look_) look_(waited);
  }

 private:
  void count(const char* purpose, MemoryKind kind, std::ptrdiff_t bytes);
  std::string table_of_memory() const;

  mutable std::mutex counting_;
  std::map<std::string, std::size_t> in_use_;  // by purpose
  std::function<void(double)> look_;
};

}  // namespace lockstep
