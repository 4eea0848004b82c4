#include "core/device/cuda_dnn_graph.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <sstream>
#include <utility>

#include "core/base/error.h"

namespace lockstep {

void check_cudnn(cudnnStatus_t code, const char* call) {
  if (code == CUDNN_STATUS_SUCCESS) return;
  char last[512] = {};
  cudnnGetLastErrorString(last, sizeof last);
  environment_failed(call, ": ", cudnnGetErrorString(code), last[0] != 0 ? ": " : "", last);
}

namespace cudnn {

// ---- Descriptor --------------------------------------------------------------------------------

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  check_cudnn(cudnnBackendCreateDescriptor(type, &descriptor_), "cudnnBackendCreateDescriptor");
}

Descriptor::~Descriptor() {
  if (descriptor_ != nullptr) cudnnBackendDestroyDescriptor(descriptor_);
}

Descriptor::Descriptor(Descriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, nullptr)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

void Descriptor::set(cudnnBackendAttributeName_t name, const Descriptor& value) {
  set_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.descriptor_);
}

void Descriptor::set(cudnnBackendAttributeName_t name, const std::vector<Descriptor>& values) {
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const Descriptor& value : values) raw.push_back(value.descriptor_);
  set_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, raw.size(), raw.data());
}

void Descriptor::set_pointers(cudnnBackendAttributeName_t name, std::span<void* const> values) {
  set_raw(name, CUDNN_TYPE_VOID_PTR, values.size(), values.data());
}

void Descriptor::set_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::size_t count,
                         const void* values) {
  check_cudnn(cudnnBackendSetAttribute(descriptor_, name, type, static_cast<std::int64_t>(count), values),
              "cudnnBackendSetAttribute");
}

std::int64_t Descriptor::get_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                                 std::int64_t most, void* values) const {
  std::int64_t found = 0;
  check_cudnn(cudnnBackendGetAttribute(descriptor_, name, type, most, &found, values), "cudnnBackendGetAttribute");
  return std::min(found, most);
}

std::int64_t Descriptor::count(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const {
  std::int64_t found = 0;
  check_cudnn(cudnnBackendGetAttribute(descriptor_, name, type, 0, &found, nullptr), "cudnnBackendGetAttribute");
  return found;
}

std::vector<Descriptor> Descriptor::descriptors(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type,
                                                std::int64_t most) const {
  std::vector<Descriptor> out;
  std::vector<cudnnBackendDescriptor_t> raw;  // cuDNN fills objects that are there
  for (std::int64_t i = 0; i < most; ++i) raw.push_back(out.emplace_back(type).descriptor_);
  const std::int64_t found = get_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, raw.data());
  while (static_cast<std::int64_t>(out.size()) > found) out.pop_back();
  return out;
}

void Descriptor::finalize() { check_cudnn(cudnnBackendFinalize(descriptor_), "cudnnBackendFinalize"); }

bool Descriptor::try_finalize() { return cudnnBackendFinalize(descriptor_) == CUDNN_STATUS_SUCCESS; }

Descriptor described_gpu(const std::string& json) {
  Descriptor out(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  out.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, std::span(json.c_str(), json.size() + 1));
  out.finalize();
  return out;
}

// ---- OperationGraph ----------------------------------------------------------------------------

std::array<std::int64_t, 4> channels_last(const std::array<std::int64_t, 4>& dims) {
  const auto [n, c, h, w] = dims;
  return {h * w * c, 1, w * c, c};
}

int OperationGraph::tensor(const Tensor& tensor) {
  const auto id = static_cast<std::int64_t>(tensors_.size());
  Descriptor& out = tensors_.emplace_back(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  out.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  out.set(CUDNN_ATTR_TENSOR_DATA_TYPE, tensor.type);
  out.set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::span<const std::int64_t>(tensor.dims));
  out.set(CUDNN_ATTR_TENSOR_STRIDES, std::span<const std::int64_t>(tensor.strides));
  out.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, tensor.alignment);
  out.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, tensor.is_virtual);
  out.finalize();
  if (!tensor.is_virtual) {
    ids_.push_back(id);
    const std::int64_t elements = std::accumulate(tensor.dims.begin(), tensor.dims.end(), std::int64_t{1}, std::multiplies<>());
    bytes_.push_back(static_cast<std::size_t>(elements) * (tensor.type == CUDNN_DATA_BFLOAT16 ? 2 : 4));
  }
  return static_cast<int>(id);
}

namespace {

// How each kind calls its attributes.
struct ConvolutionAttributes {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t geometry, x, w, y, alpha, beta;
};

ConvolutionAttributes attributes_of(Convolution kind) {
  switch (kind) {
    case Convolution::kForward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case Convolution::kBackwardData:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case Convolution::kBackwardFilter:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
  }
  broken_invariant("a convolution of no known kind");
}

}  // namespace

void OperationGraph::convolution(Convolution kind, const ConvolutionGeometry& geometry, int x, int w, int y) {
  Descriptor& how = details_.emplace_back(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  how.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2});
  how.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  how.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
  how.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, std::span<const std::int64_t>(geometry.before));
  how.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, std::span<const std::int64_t>(geometry.behind));
  how.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, std::span<const std::int64_t>(geometry.strides));
  how.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::span<const std::int64_t>(geometry.dilation));
  how.finalize();
  const ConvolutionAttributes names = attributes_of(kind);
  Descriptor& out = operations_.emplace_back(names.operation);
  out.set(names.geometry, how);
  out.set(names.x, tensors_[static_cast<std::size_t>(x)]);
  out.set(names.w, tensors_[static_cast<std::size_t>(w)]);
  out.set(names.y, tensors_[static_cast<std::size_t>(y)]);
  out.set(names.alpha, 1.0f);
  out.set(names.beta, 0.0f);
  out.finalize();
}

void OperationGraph::add(int x, int b, int y) {
  Descriptor& how = details_.emplace_back(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_ADD);
  how.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  how.finalize();
  Descriptor& out = operations_.emplace_back(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  out.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
  out.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, tensors_[static_cast<std::size_t>(x)]);
  out.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, tensors_[static_cast<std::size_t>(b)]);
  out.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, tensors_[static_cast<std::size_t>(y)]);
  out.finalize();
}

void OperationGraph::activation(cudnnPointwiseMode_t mode, int x, int y) {
  Descriptor& how = details_.emplace_back(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, mode);
  how.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  if (mode == CUDNN_POINTWISE_RELU_FWD) how.set(CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_PROPAGATE_NAN);
  how.finalize();
  Descriptor& out = operations_.emplace_back(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  out.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
  out.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, tensors_[static_cast<std::size_t>(x)]);
  out.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, tensors_[static_cast<std::size_t>(y)]);
  out.finalize();
}

bool OperationGraph::try_finalize() {
  require(!graph_, "a graph of cuDNN is finalized twice");
  graph_.emplace(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph_->set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations_);
  if (target_.handle != nullptr) graph_->set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, target_.handle);
  return graph_->try_finalize();
}

// ---- Plans -------------------------------------------------------------------------------------

namespace {

// An engine with settings of its knobs. As text: "38 2=1 5=0", engine, then type=value.
struct Choice {
  std::int64_t engine = 0;
  std::vector<std::pair<std::int64_t, std::int64_t>> knobs;

  std::string to_string() const {
    std::string out = std::to_string(engine);
    for (const auto& [type, value] : knobs) out += text(' ', type, '=', value);
    return out;
  }
};

// Nothing where the text is no choice: it may come from a file.
std::optional<Choice> parse_choice(const std::string& text) {
  std::istringstream in(text);
  Choice out;
  if (!(in >> out.engine)) return std::nullopt;
  std::int64_t type = 0, value = 0;
  char sign = 0;
  while (in >> type) {
    if (!(in >> sign >> value) || sign != '=') return std::nullopt;
    out.knobs.emplace_back(type, value);
  }
  if (!in.eof()) return std::nullopt;
  return out;
}

Choice choice_of(const Descriptor& configuration, const Descriptor& engine) {
  Choice out;
  out.engine = engine.value<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
  for (const Descriptor& knob : configuration.descriptors(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                                          CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR,
                                                          CUDNN_KNOB_TYPE_COUNTS)) {
    out.knobs.emplace_back(knob.value<cudnnBackendKnobType_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE),
                           knob.value<std::int64_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE));
  }
  return out;
}

bool obeys(const Descriptor& engine, const PlanRules& rules) {
  const auto behavior = engine.values<cudnnBackendBehaviorNote_t>(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                                                                  CUDNN_BEHAVIOR_NOTE_TYPE_COUNT);
  if (!rules.compile && std::ranges::find(behavior, CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) != behavior.end()) {
    return false;
  }
  const auto notes = engine.values<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                                                CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  return std::ranges::none_of(notes, [&](cudnnBackendNumericalNote_t note) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
        return true;
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
        return !rules.tensor_cores;
      case CUDNN_NUMERICAL_NOTE_FFT:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
        return !rules.transforms;
      default:
        return false;
    }
  });
}

// Configurations that cuDNN proposes, the best first. None where it has no answer.
std::vector<Descriptor> candidates(const OperationGraph& graph, cudnnBackendHeurMode_t mode) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.descriptor());
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
  if (graph.target().handle == nullptr) {
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *graph.target().described);
  }
  if (!heuristics.try_finalize()) return {};
  const std::int64_t count = heuristics.count(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR);
  if (count == 0) return {};
  return heuristics.descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, count);
}

Descriptor engine_of(const Descriptor& configuration) {
  return std::move(configuration.descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1).at(0));
}

}  // namespace

ExecutionPlan::ExecutionPlan(std::shared_ptr<const OperationGraph> graph, Descriptor engine, Descriptor configuration,
                             Descriptor plan)
    : graph_(std::move(graph)),
      engine_descriptor_(std::move(engine)),
      configuration_(std::move(configuration)),
      plan_(std::move(plan)),
      engine_(engine_descriptor_.value<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX)),
      workspace_bytes_(
          static_cast<std::size_t>(plan_.value<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE))) {}

std::unique_ptr<ExecutionPlan> ExecutionPlan::make(std::shared_ptr<const OperationGraph> graph,
                                                   const std::string& choice) {
  const std::optional<Choice> wanted = parse_choice(choice);
  const auto engines = graph->descriptor().value<std::int64_t>(CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT);
  if (!wanted || wanted->engine < 0 || wanted->engine >= engines) return nullptr;
  const Target& target = graph->target();
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  engine.set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph->descriptor());
  engine.set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, wanted->engine);
  if (target.handle == nullptr) engine.set(CUDNN_ATTR_ENGINE_DEVICEPROP, *target.described);
  if (!engine.try_finalize()) return nullptr;
  std::vector<Descriptor> knobs;
  for (const auto& [type, value] : wanted->knobs) {
    Descriptor& knob = knobs.emplace_back(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
    knob.set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, static_cast<cudnnBackendKnobType_t>(type));
    knob.set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, value);
    if (!knob.try_finalize()) return nullptr;
  }
  Descriptor configuration(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  configuration.set(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
  if (!knobs.empty()) configuration.set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, knobs);
  if (!configuration.try_finalize()) return nullptr;
  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
  if (target.handle != nullptr) {
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, target.handle);
  } else {
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target.described);
  }
  if (!plan.try_finalize()) return nullptr;
  return std::unique_ptr<ExecutionPlan>(
      new ExecutionPlan(std::move(graph), std::move(engine), std::move(configuration), std::move(plan)));
}

void ExecutionPlan::execute(cudnnHandle_t handle, std::span<void* const> data, void* workspace) const {
  const std::vector<std::int64_t>& ids = graph_->ids();
  require(data.size() == ids.size(), "a plan of cuDNN for ", ids.size(), " tensors is given ", data.size());
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, std::span<const std::int64_t>(ids));
  pack.set_pointers(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, data);
  pack.set_pointers(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, std::span(&workspace, 1));
  pack.finalize();
  check_cudnn(cudnnBackendExecute(handle, plan_.get(), pack.get()), "cudnnBackendExecute");
}

std::unique_ptr<ExecutionPlan> choose_plan(OperationGraph graph, const PlanRules& rules, AlgorithmCache& cache,
                                           const std::string& problem, const PlanTimer& seconds) {
  const std::string* known = cache.find(problem);
  if (known != nullptr && known->empty()) return nullptr;
  if (!graph.try_finalize()) {
    cache.keep(problem, "");
    return nullptr;
  }
  const auto shared = std::make_shared<const OperationGraph>(std::move(graph));
  if (known != nullptr) {
    if (auto plan = ExecutionPlan::make(shared, *known)) return plan;
    cache.forget(problem);  // it came from a file
  }
  std::map<std::string, std::unique_ptr<ExecutionPlan>> made;  // by choice
  const auto list = [&](std::size_t most) {
    std::vector<std::string> out;
    for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
      for (const Descriptor& configuration : candidates(*shared, mode)) {
        if (out.size() == most) return out;
        const Descriptor engine = engine_of(configuration);
        if (!obeys(engine, rules)) continue;
        const std::string choice = choice_of(configuration, engine).to_string();
        if (made.contains(choice)) continue;
        auto plan = ExecutionPlan::make(shared, choice);
        if (plan == nullptr || plan->workspace_bytes() > rules.most_workspace) continue;
        made.emplace(choice, std::move(plan));
        out.push_back(choice);
      }
    }
    return out;
  };
  Proposals proposals{.list = list};
  if (seconds) proposals.seconds = [&](const std::string& choice) { return seconds(*made.at(choice)); };
  const std::string choice = cache.choose(problem, proposals);
  return choice.empty() ? nullptr : std::move(made.at(choice));
}

}  // namespace cudnn
}  // namespace lockstep
