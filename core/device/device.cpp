#include "core/device/device.h"

#include <cstdio>
#include <utility>

#include "core/base/error.h"

namespace lockstep {

std::string name_of(DeviceKind kind) { return kind == DeviceKind::kCpu ? "cpu" : "cuda"; }

Memory::~Memory() {
  if (data_ == nullptr) return;
  device_->count(purpose_, kind_, -static_cast<std::ptrdiff_t>(bytes_));
  device_->free_bytes(data_, bytes_, kind_);
}

Memory::Memory(Memory&& other) noexcept
    : device_(other.device_),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      kind_(other.kind_),
      purpose_(other.purpose_) {}

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(kind_, other.kind_);
  std::swap(purpose_, other.purpose_);
  return *this;
}

Memory Device::allocate(std::size_t bytes, MemoryKind kind, const char* purpose) {
  if (bytes == 0) return {};
  void* data = allocate_bytes(bytes, kind);
  if (data == nullptr) {
    environment_failed("out of memory: ", bytes, " bytes for ", purpose, " on ", name(), table_of_memory());
  }
  count(purpose, kind, static_cast<std::ptrdiff_t>(bytes));
  return Memory(this, data, bytes, kind, purpose);
}

void Device::count(const char* purpose, MemoryKind kind, std::ptrdiff_t bytes) {
  if (kind == MemoryKind::kStaging && !reads_host_memory()) return;
  const std::lock_guard lock(counting_);
  in_use_[purpose] += static_cast<std::size_t>(bytes);
}

std::map<std::string, std::size_t> Device::memory_in_use() const {
  const std::lock_guard lock(counting_);
  return in_use_;
}

// "; in use: 1.204 GB arena, 0.310 GB parameters and moments; 0.100 GB are free".
std::string Device::table_of_memory() const {
  const auto gigabytes = [](std::size_t bytes) {
    char out[32];
    std::snprintf(out, sizeof out, "%.3f GB", static_cast<double>(bytes) * 1e-9);
    return std::string(out);
  };
  std::string out;
  for (const auto& [purpose, bytes] : memory_in_use()) {
    if (bytes > 0) out += (out.empty() ? "; in use: " : ", ") + gigabytes(bytes) + " " + purpose;
  }
  return out + "; " + gigabytes(memory_limit()) + " are free";
}

// What follows is for devices that do not queue work: all is done already.

namespace {

class DoneEvent final : public Event {
 public:
  void record(StreamKind) override {}
  void hold(StreamKind) override {}
  bool done() const override { return true; }
  void wait() override {}
  double seconds_since(const Event&) const override { return 0; }
};

}  // namespace

std::unique_ptr<Event> Device::make_event(bool) { return std::make_unique<DoneEvent>(); }

void Device::copy(StreamKind, std::span<const Transfer> transfers) {
  for (const Transfer& transfer : transfers) copy_in(transfer.to, transfer.from, transfer.bytes);
}

void Device::stamp(StreamKind, void*) { broken_invariant(name(), " has no clock of its own"); }

void Device::copy_and_stamp(StreamKind stream, std::span<const Transfer> transfers, void* to) {
  copy(stream, transfers);
  stamp(stream, to);
}

std::unique_ptr<Recording> Device::record(const std::function<void()>&) {
  broken_invariant(name(), " queues no work, so there is nothing to record");
}

}  // namespace lockstep
