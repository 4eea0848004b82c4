#include "tests/emulator/emulated_device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>
#include <utility>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "tests/emulator/grid.h"
#include "tests/emulator/include/cuda_runtime.h"

namespace lockstep {
namespace {

class EmulatedEvent final : public Event {
 public:
  EmulatedEvent(EmulatedDevice& device, bool for_timing) : device_(device), for_timing_(for_timing) {}

  void record(StreamKind stream) override {
    if (!for_timing_ || !device_.recording()) {
      point_ = device_.mark(stream);
      return;
    }
    // The recording records the event anew at each launch.
    device_.queue(stream, [this, stream] {
      point_ = std::make_shared<EmulatedDevice::Point>(EmulatedDevice::Point{stream, true, false, monotonic_nanoseconds()});
    });
  }
  void hold(StreamKind stream) override {
    if (point_ != nullptr) device_.hold(stream, point_);
  }
  bool done() const override {
    device_.refuse_in_recording("asking whether an event is done");
    require(point_ == nullptr || !point_->recorded, "asking whether an event is done that was recorded in a recording");
    return point_ == nullptr || point_->done;
  }
  void wait() override {
    device_.refuse_in_recording("waiting for an event");
    if (point_ != nullptr) device_.finish(*point_);
  }
  double seconds_since(const Event& earlier) const override {
    const auto& other = static_cast<const EmulatedEvent&>(earlier);
    require(for_timing_ && other.for_timing_, "seconds between events that were not made for timing");
    require(point_ != nullptr && point_->done && other.point_ != nullptr && other.point_->done,
            "seconds between events that are not done");
    return static_cast<double>(point_->time - other.point_->time) * 1e-9;
  }

 private:
  EmulatedDevice& device_;
  bool for_timing_;
  std::shared_ptr<EmulatedDevice::Point> point_;
};

}  // namespace

// What a recording holds.
struct EmulatedDevice::Recorded {
  Lanes lanes;
  std::vector<std::shared_ptr<Point>> points;
  std::array<bool, kStreams> joined{true};  // the compute stream is from the start
};

class EmulatedDevice::Replay final : public Recording {
 public:
  Replay(EmulatedDevice& device, std::shared_ptr<Recorded> recorded) : device_(device), recorded_(std::move(recorded)) {}
  void launch() override {
    device_.refuse_in_recording("launching a recording");
    // The work keeps what it needs, as on a GPU: a recording may be given up while it runs.
    device_.queue(StreamKind::kCompute, [recorded = recorded_, first = device_.rounds_++] {
      for (Lane& lane : recorded->lanes) lane.next = 0;
      for (const auto& point : recorded->points) point->done = false;
      finish_all(recorded->lanes, first);
    });
  }

 private:
  EmulatedDevice& device_;
  std::shared_ptr<Recorded> recorded_;
};

EmulatedDevice::EmulatedDevice(std::optional<StreamKind> hurries) : hurries_(hurries) {
  for (std::size_t i = 0; i < kStreams; ++i) streams_[i] = {this, static_cast<StreamKind>(i)};
}

EmulatedDevice::~EmulatedDevice() = default;

std::size_t EmulatedDevice::memory_limit() const { return std::size_t{16} << 30; }

void EmulatedDevice::refuse_in_recording(const char* what) const {
  require(recording_ == nullptr, what, " in a recording");
}

void EmulatedDevice::copy_in(void* device_to, const void* host_from, std::size_t bytes) {
  refuse_in_recording("a copy from the host");
  if (bytes == 0) return;
  synchronize();
  const DeviceMemory::Open open(memory_);
  std::memcpy(device_to, host_from, bytes);
}

void EmulatedDevice::copy_out(void* host_to, const void* device_from, std::size_t bytes) {
  refuse_in_recording("a copy to the host");
  if (bytes == 0) return;
  synchronize();
  const DeviceMemory::Open open(memory_);
  std::memcpy(host_to, device_from, bytes);
}

void EmulatedDevice::synchronize() {
  refuse_in_recording("waiting for the device");
  {
    const DeviceMemory::Open open(memory_);
    finish_all(lanes_, rounds_++);
  }
  for (Lane& lane : lanes_) lane = {};
}

// ---- Queues --------------------------------------------------------------------------------------

void EmulatedDevice::append(StreamKind stream, Item item) {
  const auto index = static_cast<std::size_t>(stream);
  if (recording_ != nullptr) {
    require(recording_->joined[index], "work in a recording is launched on a stream that waits for nothing in it");
    recording_->lanes[index].items.push_back(std::move(item));
    return;
  }
  lanes_[index].items.push_back(std::move(item));
  hurry();
}

void EmulatedDevice::queue(StreamKind stream, std::function<void()> work) { append(stream, {std::move(work), {}, {}}); }

std::shared_ptr<EmulatedDevice::Point> EmulatedDevice::mark(StreamKind stream) {
  auto point = std::make_shared<Point>();
  point->stream = stream;
  point->recorded = recording_ != nullptr;
  append(stream, {{}, point, {}});
  if (recording_ != nullptr) recording_->points.push_back(point);
  return point;
}

void EmulatedDevice::hold(StreamKind stream, std::shared_ptr<Point> point) {
  if (recording_ == nullptr) {
    require(!point->recorded, "a stream is held until an event that was recorded in a recording");
    if (!point->done) append(stream, {{}, {}, std::move(point)});
    return;
  }
  const auto& points = recording_->points;
  require(std::find(points.begin(), points.end(), point) != points.end(),
          "a recording waits for an event from outside of it");
  recording_->joined[static_cast<std::size_t>(stream)] = true;
  append(stream, {{}, {}, std::move(point)});
}

// Whether the next item of the lane may not run yet.
bool EmulatedDevice::blocked(const Lane& lane) {
  const Item& item = lane.items[lane.next];
  return item.held != nullptr && !item.held->done;
}

// Runs the next item of the lane, unless it is held: then returns false.
bool EmulatedDevice::step(Lane& lane) {
  if (blocked(lane)) return false;
  Item& item = lane.items[lane.next];
  if (item.passed != nullptr) {
    item.passed->time = monotonic_nanoseconds();
    item.passed->done = true;
  }
  ++lane.next;  // before it runs: work that throws is not run again
  if (item.work) item.work();
  return true;
}

// One stream after the other, each as far as the events allow, from a stream that changes.
void EmulatedDevice::finish_all(Lanes& lanes, std::size_t first) {
  for (bool moved = true; moved;) {
    moved = false;
    for (std::size_t i = 0; i < kStreams; ++i) {
      Lane& lane = lanes[(first + i) % kStreams];
      while (!lane.empty() && step(lane)) moved = true;
    }
  }
  for (const Lane& lane : lanes) require(lane.empty(), "streams wait for each other");
}

// Only what the point needs.
void EmulatedDevice::finish(Lanes& lanes, const Point& point) {
  Lane& lane = lanes[static_cast<std::size_t>(point.stream)];
  while (!point.done) {
    require(!lane.empty(), "an event is waited for that no stream passes");
    if (!step(lane)) finish(lanes, *lane.items[lane.next].held);
  }
}

void EmulatedDevice::finish(const Point& point) {
  require(!point.recorded, "waiting for an event that was recorded in a recording");
  if (!point.done) {
    const DeviceMemory::Open open(memory_);
    finish(lanes_, point);
  }
  hurry();
}

void EmulatedDevice::hurry() {
  for (Lane& lane : lanes_) {
    if (lane.empty()) lane = {};
  }
  if (!hurries_) return;
  Lane& lane = lanes_[static_cast<std::size_t>(*hurries_)];
  if (lane.empty() || blocked(lane)) return;
  const DeviceMemory::Open open(memory_);
  while (!lane.empty() && step(lane)) {
  }
}

std::unique_ptr<Event> EmulatedDevice::make_event(bool for_timing) {
  return std::make_unique<EmulatedEvent>(*this, for_timing);
}

void EmulatedDevice::copy(StreamKind stream, std::span<const Transfer> transfers) {
  require(transfers.size() <= kMostTransfers, transfers.size(), " transfers in one launch");
  queue(stream, [list = std::vector<Transfer>(transfers.begin(), transfers.end())] {
    for (const Transfer& transfer : list) {
      if (transfer.bytes > 0) std::memcpy(transfer.to, transfer.from, transfer.bytes);
    }
  });
}

void EmulatedDevice::stamp(StreamKind stream, void* to) {
  queue(stream, [to] {
    const std::int64_t now = monotonic_nanoseconds();
    std::memcpy(to, &now, sizeof now);
  });
}

// The compute stream waits for everything that was launched on others, or a stream that it waits for does.
void EmulatedDevice::check_joined(const Lanes& lanes) {
  std::set<const Point*> waited;
  for (const Lane& lane : lanes) {
    for (const Item& item : lane.items) waited.insert(item.held.get());
  }
  for (std::size_t i = 1; i < kStreams; ++i) {
    bool open = false;
    for (const Item& item : lanes[i].items) {
      if (item.work) open = true;
      if (item.passed != nullptr && waited.contains(item.passed.get())) open = false;
    }
    require(!open, "a recording ends before all that was launched on its stream ", i, " is waited for");
  }
}

std::unique_ptr<Recording> EmulatedDevice::record(const std::function<void()>& work) {
  refuse_in_recording("a recording");
  recording_ = std::make_shared<Recorded>();
  try {
    work();
  } catch (...) {
    recording_ = nullptr;
    throw;
  }
  auto recorded = std::exchange(recording_, nullptr);
  check_joined(recorded->lanes);
  return std::make_unique<Replay>(*this, std::move(recorded));
}

// ---- Memory --------------------------------------------------------------------------------------

void* EmulatedDevice::allocate_bytes(std::size_t bytes, MemoryKind kind) {
  if (kind == MemoryKind::kStaging) return allocate_staging(bytes);
  refuse_in_recording("allocating memory");
  return memory_.allocate(bytes);
}

void EmulatedDevice::free_bytes(void* data, std::size_t bytes, MemoryKind kind) {
  if (kind == MemoryKind::kStaging) return free_staging(data, bytes);
  memory_.free(data);
}

}  // namespace lockstep

// ---- The emulated CUDA runtime -------------------------------------------------------------------

const char* cudaGetErrorName(cudaError_t code) {
  switch (code) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorStreamCaptureIsolation:
      return "cudaErrorStreamCaptureIsolation";
  }
  return "unknown";
}

const char* cudaGetErrorString(cudaError_t code) {
  switch (code) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorStreamCaptureIsolation:
      return "dependency created on uncaptured work in another stream";
  }
  return "unknown error";
}

namespace {
lockstep::EmulatedDevice& device_of(cudaStream_t stream) {
  return static_cast<lockstep::EmulatedDevice&>(*stream->device);
}
}  // namespace

// The default stream is no stream of the device: nobody waits for it.
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  device_of(stream).queue(stream->kind, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  device_of(stream).queue(stream->kind, [=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}

namespace lockstep::emulator {

void check_words(const void* words, std::size_t bytes) {
  for (std::size_t at = 0; at + sizeof(void*) <= bytes; at += sizeof(void*)) {
    const void* pointer = nullptr;
    std::memcpy(&pointer, static_cast<const std::byte*>(words) + at, sizeof pointer);
    require(!is_host_memory(pointer), "a kernel is given the address ", pointer, " of the host, or a member that was never set");
  }
}

cudaError_t queue_kernel(const cudaLaunchConfig_t& config, std::function<void()> thread) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  constexpr unsigned kMostX = 0x7fffffffu, kMostOthers = 65535, kMostThreads = 1024, kMostThreadsZ = 64;
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  const bool grid_fits = grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= kMostX && grid.y <= kMostOthers &&
                         grid.z <= kMostOthers;
  if (!grid_fits || threads < 1 || threads > kMostThreads || block.z > kMostThreadsZ) {
    return cudaErrorInvalidConfiguration;
  }
  if (config.dynamicSmemBytes != 0 || config.numAttrs != 0) return cudaErrorInvalidValue;
  if (config.stream == nullptr) return cudaErrorInvalidResourceHandle;
  EmulatedDevice& device = device_of(config.stream);
  device.queue(config.stream->kind, [grid, block, thread = std::move(thread), number = device.next_launch()] {
    run_grid(grid, block, thread, number);
  });
  return cudaSuccess;
}

}  // namespace lockstep::emulator
