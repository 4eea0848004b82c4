// cuDNN's graph interface (its backend API): tensors and operations make a graph, and cuDNN's own heuristics name engines
// with settings ("knobs") that compute it. Part of the GPU's module.
//
//   cudnn::OperationGraph graph(target);
//   const int x = graph.tensor({...}), w = graph.tensor({...}), y = graph.tensor({...});   // 0, 1, 2
//   graph.convolution(cudnn::Convolution::kForward, {...}, x, w, y);
//   const auto plan = cudnn::choose_plan(std::move(graph), rules, cache, "conv2d ...");    // when the kernel is made
//   plan->execute(handle, {{x data, w data, y data}}, workspace);                          // when it runs
//
// Which candidate of the heuristics becomes the plan, among those that obey the rules, is for the cache to say
// (core/device/algorithm_cache.h): the first, which is a function of GPU, version, graph and rules; or the fastest.
//
// Plans can be made without a GPU for one that is only described (DescribedGpu); tests do so.
//
// Errors that are no answer (wrong attributes, no memory) throw failed environment. Calls come from one thread.
#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/device/algorithm_cache.h"

namespace lockstep {

// Throws failed environment quoting `call` and cuDNN's reason where it did not succeed.
void check_cudnn(cudnnStatus_t code, const char* call);

namespace cudnn {

// What attributes hold.
template <typename T>
inline constexpr cudnnBackendAttributeType_t kTypeOf = [] {
  static_assert(sizeof(T) == 0, "no attribute has this type");
  return CUDNN_TYPE_INT64;
}();
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<cudnnHandle_t> = CUDNN_TYPE_HANDLE;
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<bool> = CUDNN_TYPE_BOOLEAN;
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<std::int64_t> = CUDNN_TYPE_INT64;
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<float> = CUDNN_TYPE_FLOAT;
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<double> = CUDNN_TYPE_DOUBLE;
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<char> = CUDNN_TYPE_CHAR;
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<cudnnConvolutionMode_t> = CUDNN_TYPE_CONVOLUTION_MODE;
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<cudnnPointwiseMode_t> = CUDNN_TYPE_POINTWISE_MODE;
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<cudnnNanPropagation_t> = CUDNN_TYPE_NAN_PROPOGATION;
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<cudnnBackendKnobType_t> = CUDNN_TYPE_KNOB_TYPE;
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<cudnnBackendNumericalNote_t> = CUDNN_TYPE_NUMERICAL_NOTE;
template <>
inline constexpr cudnnBackendAttributeType_t kTypeOf<cudnnBackendBehaviorNote_t> = CUDNN_TYPE_BEHAVIOR_NOTE;

// One of cuDNN's objects. Its attributes are set, then it is finalized; after that it does not change.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;

  cudnnBackendDescriptor_t get() const { return descriptor_; }

  template <typename T>
  void set(cudnnBackendAttributeName_t name, std::span<const T> values) {
    set_raw(name, kTypeOf<T>, values.size(), values.data());
  }
  template <typename T>
  void set(cudnnBackendAttributeName_t name, const T& value) {
    set(name, std::span<const T>(&value, 1));
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value);
  void set(cudnnBackendAttributeName_t name, const std::vector<Descriptor>& values);
  void set_pointers(cudnnBackendAttributeName_t name, std::span<void* const> values);

  void finalize();
  // For objects of which cuDNN may say that they are not supported.
  bool try_finalize();

  // An attribute of one value.
  template <typename T>
  T value(cudnnBackendAttributeName_t name) const {
    T out{};
    get_raw(name, kTypeOf<T>, 1, &out);
    return out;
  }
  // An attribute of at most `most` values.
  template <typename T>
  std::vector<T> values(cudnnBackendAttributeName_t name, std::int64_t most) const {
    std::vector<T> out(static_cast<std::size_t>(most));
    out.resize(static_cast<std::size_t>(get_raw(name, kTypeOf<T>, most, out.data())));
    return out;
  }
  // Attributes that are objects, of type `type`.
  std::vector<Descriptor> descriptors(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type,
                                      std::int64_t most) const;
  // How many values an attribute could give.
  std::int64_t count(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const;

 private:
  void set_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::size_t count,
               const void* values);
  std::int64_t get_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t most,
                       void* values) const;

  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

// What plans are made for: the GPU of a handle; or, where that is null, one that is described.
struct Target {
  cudnnHandle_t handle = nullptr;
  const Descriptor* described = nullptr;  // CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR
};

// A GPU that need not be there, from cuDNN's description of it in JSON. Plans for it can be made, not executed.
Descriptor described_gpu(const std::string& json);

struct Tensor {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  // In cuDNN's order of the axes: (batch, channels, height, width), (channels out, channels in, height, width).
  std::array<std::int64_t, 4> dims{};
  std::array<std::int64_t, 4> strides{};  // elements
  std::int64_t alignment = 16;            // bytes; what the address is a multiple of
  bool is_virtual = false;                // lives between two operations only, without memory
};

// The strides of channels-last: dims (n, c, h, w) in the order n, h, w, c in memory.
std::array<std::int64_t, 4> channels_last(const std::array<std::int64_t, 4>& dims);

enum class Convolution { kForward, kBackwardData, kBackwardFilter };

// Of height and width.
struct ConvolutionGeometry {
  std::array<std::int64_t, 2> before{}, behind{};  // padding
  std::array<std::int64_t, 2> strides{1, 1}, dilation{1, 1};
};

class OperationGraph {
 public:
  explicit OperationGraph(const Target& target) : target_(target) {}

  // Its number: 0, 1, 2, ...
  int tensor(const Tensor& tensor);
  // Sums in f32. x and y stand for their gradients (and w for its own) where those are what is computed.
  void convolution(Convolution kind, const ConvolutionGeometry& geometry, int x, int w, int y);
  // y = x + b, broadcast; in f32.
  void add(int x, int b, int y);
  // y = f(x), in f32. CUDNN_POINTWISE_RELU_FWD keeps NaN.
  void activation(cudnnPointwiseMode_t mode, int x, int y);

  // Whether cuDNN takes the graph at all. Called once, when it is complete.
  bool try_finalize();

  const Target& target() const { return target_; }
  const Descriptor& descriptor() const { return *graph_; }
  // Numbers of the tensors that have memory.
  const std::vector<std::int64_t>& ids() const { return ids_; }
  // The bytes of each of them.
  const std::vector<std::size_t>& bytes() const { return bytes_; }

 private:
  Target target_;
  std::vector<Descriptor> tensors_, operations_;
  std::vector<Descriptor> details_;  // what operations refer to
  std::vector<std::int64_t> ids_;
  std::vector<std::size_t> bytes_;
  std::optional<Descriptor> graph_;
};

// What a plan may do. Non-deterministic engines, and sums in less than f32, are never taken.
struct PlanRules {
  bool tensor_cores = true;  // false: f32 is not rounded to TF32
  bool transforms = false;   // Winograd's method and FFT, which round worse
  bool compile = false;      // kernels that are compiled when the plan is made: half a second to three each
  std::size_t most_workspace = std::size_t{1} << 30;  // bytes
};

class ExecutionPlan {
 public:
  // From an engine and its knobs, "38 2=1 5=0". Null where cuDNN does not support them for this graph.
  static std::unique_ptr<ExecutionPlan> make(std::shared_ptr<const OperationGraph> graph, const std::string& choice);

  std::int64_t engine() const { return engine_; }
  std::size_t workspace_bytes() const { return workspace_bytes_; }
  // Of the tensors that have memory, in their order.
  const std::vector<std::size_t>& tensor_bytes() const { return graph_->bytes(); }
  // `data`: of the tensors that have memory, in their order. Queues work on the handle's stream; may be recorded.
  void execute(cudnnHandle_t handle, std::span<void* const> data, void* workspace) const;

 private:
  ExecutionPlan(std::shared_ptr<const OperationGraph> graph, Descriptor engine, Descriptor configuration,
                Descriptor plan);

  std::shared_ptr<const OperationGraph> graph_;  // which the plan may refer to, as to the next two
  Descriptor engine_descriptor_, configuration_, plan_;
  std::int64_t engine_;
  std::size_t workspace_bytes_;
};

// Seconds that a run of the plan takes. Empty where there is nothing to run it on.
using PlanTimer = std::function<double(const ExecutionPlan&)>;

// What the cache chooses among cuDNN's candidates (heuristic mode A, then its fallback list) that obey the rules; null where
// there is none. `problem` is everything that the choice depends on.
// REQUIRES: `graph` is complete and not finalized yet.
std::unique_ptr<ExecutionPlan> choose_plan(OperationGraph graph, const PlanRules& rules, AlgorithmCache& cache,
                                           const std::string& problem, const PlanTimer& seconds = {});

}  // namespace cudnn
}  // namespace lockstep
