// CUDA kernels of the convolution on cuDNN. Where it has no kernel, or none that may be taken (see PlanRules), the direct
// ones compute.
//
// cuDNN sees images as they are, and weights transposed: where they come row-major, they are transposed in the workspace
// before, and their gradient after. From bf16 it gives a bf16 gradient of the weights (with sums in f32), which is
// converted.
#include "ops/conv2d/conv2d_cuda.h"

#include "core/builtin/transposed_layout.h"
#include "core/device/cuda_device.h"
#include "ops/conv2d/conv2d_dnn.h"

namespace lockstep {
namespace {

CudaDevice& cuda_device(const KernelRequest& request) {
  auto* device = dynamic_cast<CudaDevice*>(&request.device);
  require(device != nullptr, request.op.name(), ": cuDNN's kernels are asked for on ", request.device.name());
  return *device;
}

// Of one run, on memory that is all zero.
double seconds_of(CudaDevice& device, const cudnn::ExecutionPlan& plan) {
  std::vector<Memory> memory;
  std::vector<void*> data;
  for (const std::size_t bytes : plan.tensor_bytes()) {
    data.push_back(memory.emplace_back(device.allocate(bytes, MemoryKind::kPrivate, "trials of algorithms")).data());
  }
  const Memory workspace = device.allocate(plan.workspace_bytes(), MemoryKind::kPrivate, "trials of algorithms");
  return device.seconds_of(
      [&] { plan.execute(device.dnn(device.stream(StreamKind::kCompute)), data, workspace.data()); });
}

DnnPlanner planner_of(CudaDevice& device, const Convolution& convolution, const ConvolutionSizes& sizes) {
  cudnn::PlanRules rules;
  rules.tensor_cores = sizes.dtype == DType::kBF16 || device.options().tf32;
  rules.transforms = convolution.winograd;
  return {{device.dnn(device.stream(StreamKind::kCompute)), nullptr}, *device.algorithms(), rules,
          [&device](const cudnn::ExecutionPlan& plan) { return seconds_of(device, plan); }};
}

// Parts of the workspace, each aligned.
class WorkspaceParts {
 public:
  // The offset of a new part.
  std::size_t add(std::size_t bytes) {
    const std::size_t offset = bytes_;
    bytes_ += (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment;
    return offset;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};

void* part(const Launch& on, std::size_t offset) { return static_cast<std::byte*>(on.workspace) + offset; }

// Executes a plan of cuDNN with its part of the workspace.
struct DnnStep {
  CudaDevice* device;
  std::shared_ptr<const cudnn::ExecutionPlan> plan;
  std::size_t workspace;
  ConvolutionAlignment alignment;

  DnnStep(CudaDevice& on, DnnPlan made, const ConvolutionSizes& sizes, WorkspaceParts& parts)
      : device(&on),
        plan(std::move(made)),
        workspace(parts.add(plan->workspace_bytes())),
        alignment(convolution_alignment(sizes)) {}

  void run(const Launch& on, void* x, void* weight, void* bias, void* y) const {
    check(x, alignment.x);
    check(weight, 16);
    check(y, alignment.y);
    void* const all[] = {x, weight, bias, y};
    void* const without_bias[] = {x, weight, y};
    const std::span<void* const> data = bias != nullptr ? std::span<void* const>(all) : std::span<void* const>(without_bias);
    plan->execute(device->dnn(on.stream), data, part(on, workspace));
  }
  std::string name() const { return text("cuDNN engine ", plan->engine()); }

 private:
  static void check(const void* data, std::int64_t alignment) {
    require(reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(alignment) == 0,
            "a convolution of cuDNN that was made for addresses of multiples of ", alignment, " is given ", data);
  }
};

// The weight as cuDNN wants it: itself, or in a part of the workspace.
struct WeightStep {
  ConvolutionSizes sizes;
  int input;
  bool is_transposed;
  std::size_t place = 0;

  WeightStep(const KernelRequest& request, int which, const ConvolutionSizes& s, WorkspaceParts& parts)
      : sizes(s), input(which), is_transposed(lockstep::is_transposed(request.inputs[static_cast<std::size_t>(which)])) {
    if (!is_transposed) place = parts.add(static_cast<std::size_t>(s.weight_elements()) * size_of(s.dtype));
  }
  void* run(const Launch& on) const {
    if (is_transposed) return on.inputs[input];
    launch_transposed_weight(on, sizes, on.inputs[input], part(on, place));
    return part(on, place);
  }
};

// ---- conv2d --------------------------------------------------------------------------------------

// With bias and relu in one kernel of cuDNN; nothing where it has none.
std::optional<Kernel> conv2d_fused(const KernelRequest& request, CudaDevice& device, DnnPlanner& planner,
                                   const ConvolutionSizes& sizes, const ConvolutionEnd& end) {
  if (!is_fused_by_dnn(sizes, end)) return std::nullopt;
  DnnPlan plan = plan_fused_convolution(planner, sizes, end);
  if (plan == nullptr) return std::nullopt;
  WorkspaceParts parts;
  const DnnStep step(device, std::move(plan), sizes, parts);
  const WeightStep weight(request, 1, sizes, parts);
  const bool to_low = sizes.dtype == DType::kBF16 && !end.low_bias;
  const std::size_t low_bias = parts.add(to_low ? static_cast<std::size_t>(sizes.out) * size_of(sizes.dtype) : 0);
  const auto run = [=](const Launch& on) {
    void* bias = on.inputs[2];
    if (to_low) launch_low_bias(on, sizes, bias, part(on, low_bias));
    step.run(on, on.inputs[0], weight.run(on), to_low ? part(on, low_bias) : bias, on.outputs[0]);
  };
  return Kernel{text("conv2d_cuda (", step.name(), ", fused)"), run, parts.bytes()};
}

Kernel conv2d_cuda(const KernelRequest& request) {
  const ConvolutionSizes sizes = convolution_sizes(request);
  if (sizes.empty()) return convolution_of_nothing(request);
  CudaDevice& device = cuda_device(request);
  DnnPlanner planner = planner_of(device, request.op_as<Conv2dOp>().convolution(), sizes);
  const ConvolutionEnd end = convolution_end(request);
  if (auto fused = conv2d_fused(request, device, planner, sizes, end)) return *std::move(fused);
  DnnPlan plan = plan_convolution(planner, cudnn::Convolution::kForward, sizes);
  if (plan == nullptr) return conv2d_direct_cuda(request);
  WorkspaceParts parts;
  const DnnStep step(device, std::move(plan), sizes, parts);
  const WeightStep weight(request, 1, sizes, parts);
  const auto run = [=](const Launch& on) {
    step.run(on, on.inputs[0], weight.run(on), nullptr, on.outputs[0]);
    if (end.bias || end.activation) {
      launch_convolution_end(on, sizes, end, end.bias ? on.inputs[2] : nullptr, on.outputs[0]);
    }
  };
  return {text("conv2d_cuda (", step.name(), ")"), run, parts.bytes()};
}

// ---- conv2d_backward_data ------------------------------------------------------------------------

Kernel conv2d_backward_data_cuda(const KernelRequest& request) {
  const ConvolutionSizes sizes = convolution_sizes(request);
  if (sizes.empty()) return convolution_of_nothing(request);
  CudaDevice& device = cuda_device(request);
  DnnPlanner planner = planner_of(device, request.op_as<Conv2dBackwardDataOp>().convolution(), sizes);
  DnnPlan plan = plan_convolution(planner, cudnn::Convolution::kBackwardData, sizes);
  if (plan == nullptr) return conv2d_backward_data_direct_cuda(request);
  WorkspaceParts parts;
  const DnnStep step(device, std::move(plan), sizes, parts);
  const WeightStep weight(request, 1, sizes, parts);
  const auto run = [=](const Launch& on) {
    step.run(on, on.outputs[0], weight.run(on), nullptr, on.inputs[0]);
  };
  return {text("conv2d_backward_data_cuda (", step.name(), ")"), run, parts.bytes()};
}

// ---- conv2d_backward_weights -----------------------------------------------------------------------

Kernel conv2d_backward_weights_cuda(const KernelRequest& request) {
  const ConvolutionSizes sizes = convolution_sizes(request);
  if (sizes.empty()) return convolution_of_nothing(request);
  const auto& op = request.op_as<Conv2dBackwardWeightsOp>();
  CudaDevice& device = cuda_device(request);
  DnnPlanner planner = planner_of(device, op.convolution(), sizes);
  DnnPlan plan = plan_convolution(planner, cudnn::Convolution::kBackwardFilter, sizes);
  if (plan == nullptr) return conv2d_backward_weights_direct_cuda(request);
  WorkspaceParts parts;
  const DnnStep step(device, std::move(plan), sizes, parts);
  const bool to_transposed = is_transposed(request.outputs[0]), with_bias = op.with_bias();
  const bool in_place = to_transposed && sizes.dtype == DType::kF32;
  const std::size_t gradient =
      parts.add(in_place ? 0 : static_cast<std::size_t>(sizes.weight_elements()) * size_of(sizes.dtype));
  const std::size_t sums = parts.add(with_bias ? bias_gradient_workspace(sizes) : 0);
  const auto run = [=](const Launch& on) {
    void* const dw = in_place ? on.outputs[0] : part(on, gradient);
    step.run(on, on.inputs[0], dw, nullptr, on.inputs[1]);
    if (!in_place) launch_weight_gradient(on, sizes, sizes.dtype, dw, to_transposed, on.outputs[0]);
    if (with_bias) launch_bias_gradient(on, sizes, on.inputs[1], on.outputs[1], part(on, sums));
  };
  return {text("conv2d_backward_weights_cuda (", step.name(), ")"), run, parts.bytes()};
}

}  // namespace

void register_conv2d_cuda(KernelRegistry& registry) {
  registry.add("conv2d", DeviceKind::kCuda, {conv2d_cuda, conv2d_layouts_cuda});
  registry.add("conv2d_backward_data", DeviceKind::kCuda, {conv2d_backward_data_cuda, conv2d_layouts_cuda});
  registry.add("conv2d_backward_weights", DeviceKind::kCuda, {conv2d_backward_weights_cuda, conv2d_layouts_cuda});
}

}  // namespace lockstep
