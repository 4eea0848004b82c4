#include "dist/exchange_staged.h"

#include <algorithm>

#include "core/base/error.h"
#include "dist/exchange_ops.h"

namespace lockstep {

void Staging::release() {
  if (data_ == nullptr) return;
  if (heap_ != nullptr) {
    device_.page_unlock(data_);
    heap_->free(data_);
  }
  own_ = Memory();
  data_ = nullptr;
  bytes_ = 0;
}

void Staging::reserve(std::size_t bytes) {
  if (bytes <= bytes_) return;
  release();
  if (heap_ == nullptr) {
    own_ = device_.allocate(bytes, MemoryKind::kStaging, "staging of the exchange");
    data_ = own_.at(0);
  } else {
    data_ = static_cast<std::byte*>(heap_->allocate(bytes));
    if (data_ == nullptr) environment_failed("out of memory: ", bytes, " bytes to stage the exchange of the GPUs on the host");
    device_.page_lock(data_, bytes);
  }
  bytes_ = bytes;
}

namespace {

std::size_t aligned(std::size_t bytes) { return (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment; }

// Bytes [begin, begin + bytes) of an input or output, and of its copy in the staging memory.
struct Piece {
  std::size_t number = 0, begin = 0, bytes = 0;
};

// A kernel of the CPU on copies of the device's values.
class StagedKernel {
 public:
  StagedKernel(const KernelRequest& request, Kernel on_cpu, std::shared_ptr<Staging> staging)
      : device_(request.device), on_cpu_(std::move(on_cpu)), staging_(std::move(staging)) {
    if (const auto* gather = dynamic_cast<const GatherStateOp*>(&request.op)) {
      stage_state(request.inputs[0], gather->plan().chunk());
    } else {
      for (const TensorType& type : request.inputs) stage_whole(type, input_places_, taken_);
      for (const TensorType& type : request.outputs) stage_whole(type, output_places_, brought_);
    }
    workspace_ = end_;
    end_ += aligned(on_cpu_.workspace_bytes);
    staging_->reserve(end_);
    inputs_.resize(input_places_.size());
    outputs_.resize(output_places_.size());
  }

  void run(const Launch& launch) const {
    std::byte* base = staging_->data();
    for (std::size_t i = 0; i < inputs_.size(); ++i) inputs_[i] = base + input_places_[i];
    for (std::size_t i = 0; i < outputs_.size(); ++i) outputs_[i] = base + output_places_[i];
    device_.synchronize();
    copy(taken_, inputs_.data(), launch.inputs);
    on_cpu_.run({inputs_.data(), outputs_.data(), base + workspace_, nullptr});
    copy(brought_, launch.outputs, outputs_.data());
  }

 private:
  void stage_whole(const TensorType& type, std::vector<std::size_t>& places, std::vector<Piece>& pieces) {
    pieces.push_back({places.size(), 0, type.bytes()});
    places.push_back(end_);
    end_ += aligned(type.bytes());
  }

  // A state that is input and output at once: this rank's chunk of it is taken, the others are brought.
  void stage_state(const TensorType& type, Range chunk) {
    const auto begin = static_cast<std::size_t>(chunk.begin) * sizeof(float);
    const auto end = static_cast<std::size_t>(chunk.end) * sizeof(float);
    taken_ = {{0, begin, end - begin}};
    brought_ = {{0, 0, begin}, {0, end, type.bytes() - end}};
    input_places_ = {end_, end_ + begin};
    output_places_ = {end_};
    end_ += aligned(type.bytes());
  }

  // The copies are done when it returns.
  void copy(const std::vector<Piece>& pieces, void* const* to, void* const* from) const {
    transfers_.clear();
    for (const Piece& piece : pieces) {
      if (piece.bytes == 0) continue;
      transfers_.push_back({static_cast<std::byte*>(to[piece.number]) + piece.begin,
                            static_cast<const std::byte*>(from[piece.number]) + piece.begin, piece.bytes});
    }
    for (std::size_t i = 0; i < transfers_.size(); i += Device::kMostTransfers) {
      const std::size_t count = std::min(Device::kMostTransfers, transfers_.size() - i);
      device_.copy(StreamKind::kCopy, std::span(transfers_).subspan(i, count));
    }
    if (!transfers_.empty()) device_.synchronize();
  }

  Device& device_;
  const Kernel on_cpu_;
  const std::shared_ptr<Staging> staging_;
  std::vector<std::size_t> input_places_, output_places_;  // in the staging memory
  std::vector<Piece> taken_, brought_;
  std::size_t workspace_ = 0, end_ = 0;
  // Of a run: only the pointers change.
  mutable std::vector<void*> inputs_, outputs_;
  mutable std::vector<Transfer> transfers_;
};

}  // namespace

void register_exchange_staged(KernelRegistry& registry, Communicator& communicator, Device& device) {
  auto on_cpu = std::make_shared<KernelRegistry>();
  register_exchange_cpu(*on_cpu, communicator);
  auto staging = std::make_shared<Staging>(communicator.heap(), device);
  for (const std::string& name : on_cpu->names(DeviceKind::kCpu)) {
    const auto make = [on_cpu, staging, name](const KernelRequest& request) -> Kernel {
      Kernel kernel = on_cpu->find(name, DeviceKind::kCpu)->make(request);
      const std::string staged_name = kernel.name + " staged";
      const auto staged = std::make_shared<const StagedKernel>(request, std::move(kernel), staging);
      return {.name = staged_name, .run = [staged](const Launch& launch) { staged->run(launch); }, .on_host = true};
    };
    registry.add(name, DeviceKind::kCuda, {make, nullptr});
  }
}

}  // namespace lockstep
