// A GPU for tests, on the CPU: runs the project's CUDA kernels (emulated_kernels.h) thread by thread, and queues work as a
// GPU does.
//
// Nothing that is launched runs before somebody waits for it: the host (synchronize, Event::wait, copy_out), or work of
// another stream that is held until it is done. Whoever forgets to wait reads what was there before. One stream may be
// chosen that hurries: its work runs as soon as the events allow, ahead of what the others were given earlier; whoever
// forgets to hold it finds its memory overwritten too early.
//
// Its memory is closed while none of its work runs: the host that touches it gets a segmentation fault, and so does a
// kernel outside of its memory (device_memory.h).
//
// What CUDA does not allow in a recording throws here too: copies from and to the host, waiting, allocating, and streams
// that do not begin and end with the compute stream.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "core/device/device.h"
#include "tests/emulator/device_memory.h"

// What Launch::stream points to.
struct CUstream_st {
  lockstep::Device* device = nullptr;
  lockstep::StreamKind kind = lockstep::StreamKind::kCompute;
};

namespace lockstep {

class EmulatedDevice final : public Device {
 public:
  explicit EmulatedDevice(std::optional<StreamKind> hurries = std::nullopt);
  ~EmulatedDevice() override;

  DeviceKind kind() const override { return DeviceKind::kCuda; }
  std::string name() const override { return "emulated GPU"; }
  std::size_t memory_limit() const override;
  bool reads_host_memory() const override { return false; }
  void copy_in(void* device_to, const void* host_from, std::size_t bytes) override;
  void copy_out(void* host_to, const void* device_from, std::size_t bytes) override;
  void synchronize() override;

  bool queues_work() const override { return true; }
  void* stream(StreamKind kind) override { return &streams_[static_cast<std::size_t>(kind)]; }
  std::unique_ptr<Event> make_event(bool for_timing = false) override;
  void copy(StreamKind stream, std::span<const Transfer> transfers) override;
  void stamp(StreamKind stream, void* to) override;
  std::unique_ptr<Recording> record(const std::function<void()>& work) override;

  // Work that kernels queue (the emulated CUDA runtime).
  void queue(StreamKind stream, std::function<void()> work);
  // For tests whose kernels stand for transfers: `work` touches memory of the device from the host.
  void with_open_memory(const std::function<void()>& work) {
    const DeviceMemory::Open open(memory_);
    work();
  }
  std::uint64_t next_launch() { return launches_++; }

  // ---- For the events of the device -------------------------------------------------------------

  // A point in a stream, or in the part of a stream that a recording has.
  struct Point {
    StreamKind stream;
    bool done = false;
    bool recorded = false;  // in a recording
    std::int64_t time = 0;  // nanoseconds, when it was passed
  };
  std::shared_ptr<Point> mark(StreamKind stream);
  void hold(StreamKind stream, std::shared_ptr<Point> point);
  void finish(const Point& point);
  bool recording() const { return recording_ != nullptr; }
  void refuse_in_recording(const char* what) const;

 private:
  struct Item {
    std::function<void()> work;     // else
    std::shared_ptr<Point> passed;  // a point that is done now, or
    std::shared_ptr<Point> held;    // one that has to be done
  };
  struct Lane {
    std::vector<Item> items;
    std::size_t next = 0;
    bool empty() const { return next == items.size(); }
  };
  using Lanes = std::array<Lane, kStreams>;
  class Replay;
  struct Recorded;

  void* allocate_bytes(std::size_t bytes, MemoryKind kind) override;
  void free_bytes(void* data, std::size_t bytes, MemoryKind kind) override;

  void append(StreamKind stream, Item item);
  static bool blocked(const Lane& lane);
  static bool step(Lane& lane);
  static void finish_all(Lanes& lanes, std::size_t first);
  static void finish(Lanes& lanes, const Point& point);
  static void check_joined(const Lanes& lanes);
  void hurry();

  DeviceMemory memory_;
  std::optional<StreamKind> hurries_;
  std::array<CUstream_st, kStreams> streams_;
  Lanes lanes_;
  std::shared_ptr<Recorded> recording_;
  std::uint64_t launches_ = 0;
  std::size_t rounds_ = 0;
};

}  // namespace lockstep
