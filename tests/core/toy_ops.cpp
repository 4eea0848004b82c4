#include "tests/core/toy_ops.h"

#include <chrono>
#include <cstring>
#include <thread>

#include "core/base/bfloat16.h"
#include "core/base/error.h"

namespace lockstep::testing {

TensorType f32(Shape shape) {
  return {DType::kF32, shape, nullptr};
}
TensorType bf16(Shape shape) {
  return {DType::kBF16, shape, nullptr};
}

// ---- Layout ------------------------------------------------------------------------------------

ReversedLayout::ReversedLayout(const TensorType& type, int padding)
    : bytes_(static_cast<std::size_t>(type.elements() + padding) * size_of(type.dtype)),
      padding_(padding) {}

bool ReversedLayout::equals(const Layout& other) const {
  return other.bytes() == bytes_ && other.name() == name();
}

std::string ReversedLayout::name() const {
  return padding_ == 0 ? "reversed" : text("reversed+", padding_);
}

namespace {

// Reads and writes elements of a value by their row-major number.
class Elements {
 public:
  explicit Elements(const TensorType& type)
      : dtype_(type.dtype),
        count_(type.elements()),
        extent_(static_cast<std::int64_t>(type.bytes() / size_of(type.dtype))),
        reversed_(type.layout != nullptr) {
    check_input(dtype_ == DType::kF32 || dtype_ == DType::kBF16, "toy op: no kernel for ",
                type.to_string());
  }

  std::int64_t count() const { return count_; }
  double get(const void* data, std::int64_t i) const {
    const std::int64_t at = reversed_ ? extent_ - 1 - i : i;
    if (dtype_ == DType::kF32) return static_cast<const float*>(data)[at];
    return static_cast<float>(static_cast<const BFloat16*>(data)[at]);
  }
  void set(void* data, std::int64_t i, double value) const {
    const std::int64_t at = reversed_ ? extent_ - 1 - i : i;
    if (dtype_ == DType::kF32) {
      static_cast<float*>(data)[at] = static_cast<float>(value);
    } else {
      static_cast<BFloat16*>(data)[at] = BFloat16(static_cast<float>(value));
    }
  }
  // Padding holds zeros.
  void clear_padding(void* data) const {
    if (extent_ > count_) std::memset(data, 0, (extent_ - count_) * size_of(dtype_));
  }

 private:
  DType dtype_;
  std::int64_t count_, extent_;
  bool reversed_;
};

void check_count(std::span<const TensorType> inputs, std::size_t expected) {
  check_input(inputs.size() == expected, "takes ", expected, " inputs, got ", inputs.size());
}

// ---- Elementwise -------------------------------------------------------------------------------

class ToyElementwise final : public Op {
 public:
  struct Spec {
    std::string name;
    ToyScaleShift parameters = {};
    std::size_t arity = 1;
    Traits traits = {};
    std::function<double(const double*)> compute;
    std::function<void(Backward&)> gradient;
  };

  explicit ToyElementwise(Spec spec) : spec_(std::move(spec)) {}
  std::string_view name() const override { return spec_.name; }
  std::string attributes() const override {
    std::string out;
    if (spec_.parameters.factor != 1) out += text("factor=", spec_.parameters.factor);
    if (spec_.parameters.by != 0) out += text(out.empty() ? "" : " ", "by=", spec_.parameters.by);
    return out;
  }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    check_count(inputs, spec_.arity);
    for (const TensorType& type : inputs) {
      check_input(type.dtype == inputs[0].dtype && type.shape == inputs[0].shape, "inputs ",
                  inputs[0].to_string(), " and ", type.to_string(), " differ");
    }
    return {inputs[0]};  // with its layout: the graph's rules do not count on row-major results
  }
  Traits traits() const override { return spec_.traits; }
  void gradient(Backward& backward) const override {
    if (backward.wide_cotangent(0) != kNoValue && spec_.gradient) spec_.gradient(backward);
  }
  const Spec& spec() const { return spec_; }

 private:
  Spec spec_;
};

Kernel elementwise_cpu(const KernelRequest& request) {
  const auto& spec = request.op_as<ToyElementwise>().spec();
  const Elements elements(request.outputs[0]);
  return {spec.name + "_cpu",
          [compute = spec.compute, arity = spec.arity, elements](const Launch& launch) {
            double x[4];
            for (std::int64_t i = 0; i < elements.count(); ++i) {
              for (std::size_t k = 0; k < arity; ++k) x[k] = elements.get(launch.inputs[k], i);
              elements.set(launch.outputs[0], i, compute(x));
            }
          }};
}

std::shared_ptr<const Op> add_op() {
  return std::make_shared<ToyElementwise>(
      ToyElementwise::Spec{.name = "toy_add",
                           .arity = 2,
                           .traits = {.elementwise = true,
                                      .keeps_zero = true,
                                      .may_overwrite = 0,
                                      .precision = Precision::kFollow},
                           .compute = [](const double* x) { return x[0] + x[1]; },
                           .gradient =
                               [](Backward& backward) {
                                 for (int i = 0; i < 2; ++i) {
                                   if (backward.wants(i))
                                     backward.accumulate(i, backward.cotangent(0));
                                 }
                               }});
}

std::shared_ptr<const Op> multiply_op() {
  return std::make_shared<ToyElementwise>(ToyElementwise::Spec{
      .name = "toy_multiply",
      .arity = 2,
      .traits = {.elementwise = true,
                 .keeps_zero = true,
                 .may_overwrite = 1,
                 .precision = Precision::kFollow},
      .compute = [](const double* x) { return x[0] * x[1]; },
      .gradient =
          [](Backward& backward) {
            for (int i = 0; i < 2; ++i) {
              if (!backward.wants(i)) continue;
              backward.accumulate(i, toy_multiply(backward.graph(), backward.cotangent(0),
                                                  backward.input(1 - i), backward.name()));
            }
          }});
}

std::shared_ptr<const Op> scale_shift_op(const std::string& name, ToyScaleShift parameters) {
  return std::make_shared<ToyElementwise>(ToyElementwise::Spec{
      .name = name,
      .parameters = parameters,
      .traits = {.elementwise = true,
                 .keeps_zero = parameters.by == 0,
                 .may_overwrite = 0,
                 .precision = Precision::kFollow},
      .compute = [p = parameters](const double* x) { return x[0] * p.factor + p.by; },
      .gradient =
          [p = parameters](Backward& backward) {
            if (!backward.wants(0)) return;
            backward.accumulate(
                0, toy_scale(backward.graph(), backward.cotangent(0), p.factor, backward.name()));
          }});
}

std::shared_ptr<const Op> weigh_op() {
  return std::make_shared<ToyElementwise>(ToyElementwise::Spec{
      .name = "toy_weigh",
      .arity = 2,
      .traits = {.elementwise = true, .keeps_zero = true, .precision = Precision::kLow},
      .compute = [](const double* x) { return x[0] * x[1]; },
      .gradient =
          [](Backward& backward) {
            Graph& graph = backward.graph();
            if (backward.wants(0)) {
              backward.accumulate(0, toy_multiply(graph, backward.cotangent(0), backward.input(1),
                                                  backward.name()));
            }
            if (backward.wants(1)) {
              const ValueId dy =
                  cast(graph, backward.wide_cotangent(0), DType::kF32, backward.name());
              const ValueId x = cast(graph, backward.input(0), DType::kF32, backward.name());
              backward.accumulate(1, toy_multiply(graph, dy, x, backward.name()));
            }
          }});
}

// ---- The others --------------------------------------------------------------------------------

class ToyReorder final : public Op {
 public:
  explicit ToyReorder(std::shared_ptr<const Layout> layout) : layout_(std::move(layout)) {}
  std::string_view name() const override { return "toy_reorder"; }
  std::string attributes() const override { return layout_ ? layout_->name() : "row-major"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    check_count(inputs, 1);
    return {{inputs[0].dtype, inputs[0].shape, layout_}};
  }

 private:
  std::shared_ptr<const Layout> layout_;
};

Kernel reorder_cpu(const KernelRequest& request) {
  const Elements from(request.inputs[0]), to(request.outputs[0]);
  return {"toy_reorder_cpu", [=](const Launch& launch) {
            to.clear_padding(launch.outputs[0]);
            for (std::int64_t i = 0; i < to.count(); ++i) {
              to.set(launch.outputs[0], i, from.get(launch.inputs[0], i));
            }
          }};
}

class ToySmooth final : public Op {
 public:
  explicit ToySmooth(int padding) : padding_(padding) {}
  std::string_view name() const override { return "toy_smooth"; }
  std::string attributes() const override {
    return padding_ == 0 ? std::string() : text("padding=", padding_);
  }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    check_count(inputs, 1);
    return {{inputs[0].dtype, inputs[0].shape, nullptr}};
  }
  int padding() const { return padding_; }

 private:
  int padding_;
};

Kernel smooth_cpu(const KernelRequest& request) {
  const Elements x(request.inputs[0]), y(request.outputs[0]);
  return {"toy_smooth_cpu",
          [=](const Launch& launch) {
            double* results = static_cast<double*>(launch.workspace);
            double last = 0;
            for (std::int64_t i = 0; i < x.count(); ++i) {
              results[i] = last = (last + x.get(launch.inputs[0], i)) / 2;
            }
            y.clear_padding(launch.outputs[0]);
            for (std::int64_t i = 0; i < y.count(); ++i) y.set(launch.outputs[0], i, results[i]);
          },
          static_cast<std::size_t>(x.count()) * sizeof(double)};
}

std::optional<LayoutChoice> smooth_layouts(const KernelRequest& request) {
  const int padding = request.op_as<ToySmooth>().padding();
  const auto layout = std::make_shared<ReversedLayout>(request.outputs[0], padding);
  return LayoutChoice{{layout}, {layout}};
}

class ToySplit final : public Op {
 public:
  std::string_view name() const override { return "toy_split"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    check_count(inputs, 1);
    const TensorType type{inputs[0].dtype, inputs[0].shape, nullptr};
    return {type, type};
  }
  Traits traits() const override { return {.may_overwrite = 0}; }
  void gradient(Backward& backward) const override {
    for (int i = 0; i < 2; ++i) {
      if (backward.cotangent(i) != kNoValue) backward.accumulate(0, backward.cotangent(i));
    }
  }
};

Kernel split_cpu(const KernelRequest& request) {
  const Elements elements(request.outputs[0]);
  return {"toy_split_cpu", [=](const Launch& launch) {
            for (std::int64_t i = 0; i < elements.count(); ++i) {
              const double x = elements.get(launch.inputs[0], i);
              elements.set(launch.outputs[0], i, x + 1);
              elements.set(launch.outputs[1], i, x - 1);
            }
          }};
}

// The gradient of the mean: every element is dy / count.
class ToySpread final : public Op {
 public:
  explicit ToySpread(TensorType type) : type_(std::move(type)) {}
  std::string_view name() const override { return "toy_spread"; }
  std::string attributes() const override { return type_.to_string(); }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    check_count(inputs, 1);
    return {type_};
  }

 private:
  TensorType type_;
};

Kernel spread_cpu(const KernelRequest& request) {
  const Elements from(request.inputs[0]), to(request.outputs[0]);
  return {"toy_spread_cpu", [=](const Launch& launch) {
            const double dy = from.get(launch.inputs[0], 0);
            for (std::int64_t i = 0; i < to.count(); ++i) {
              to.set(launch.outputs[0], i, dy / static_cast<double>(to.count()));
            }
          }};
}

class ToyMean final : public Op {
 public:
  std::string_view name() const override { return "toy_mean"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    check_count(inputs, 1);
    return {f32({})};
  }
  void gradient(Backward& backward) const override {
    if (backward.cotangent(0) == kNoValue || !backward.wants(0)) return;
    Graph& graph = backward.graph();
    backward.accumulate(0, graph.add(std::make_shared<ToySpread>(graph.type(backward.input(0))),
                                     {backward.cotangent(0)}, backward.name()));
  }
};

Kernel mean_cpu(const KernelRequest& request) {
  const Elements from(request.inputs[0]);
  return {"toy_mean_cpu", [=](const Launch& launch) {
            double sum = 0;
            for (std::int64_t i = 0; i < from.count(); ++i) sum += from.get(launch.inputs[0], i);
            *launch.output<float>(0) = static_cast<float>(
                from.count() == 0 ? 0.0 : sum / static_cast<double>(from.count()));
          }};
}

class ToyUpdate final : public Op {
 public:
  explicit ToyUpdate(bool moment) : moment_(moment) {}
  std::string_view name() const override { return "toy_update"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    check_count(inputs, moment_ ? 3 : 2);
    for (const TensorType& type : inputs) {
      check_input(type == inputs[0], "inputs ", inputs[0].to_string(), " and ", type.to_string(),
                  " differ");
    }
    return std::vector<TensorType>(moment_ ? 2 : 1, inputs[0]);
  }
  Traits traits() const override { return {.mutates = moment_ ? 0b101u : 0b1u}; }

 private:
  bool moment_;
};

Kernel update_cpu(const KernelRequest& request) {
  const Elements elements(request.inputs[0]);
  const bool moment = request.inputs.size() == 3;
  return {
      "toy_update_cpu", [=](const Launch& launch) {
        for (std::int64_t i = 0; i < elements.count(); ++i) {
          const double g = elements.get(launch.inputs[1], i);
          elements.set(launch.overwritten<void>(0), i, elements.get(launch.inputs[0], i) - g / 4);
          if (!moment) continue;
          elements.set(launch.overwritten<void>(2), i, (elements.get(launch.inputs[2], i) + g) / 2);
        }
      }};
}

// toy_send copies; toy_gather changes its input, as a gather of a state does.
class ToySend final : public Op {
 public:
  explicit ToySend(bool state) : state_(state) {}
  std::string_view name() const override { return state_ ? "toy_gather" : "toy_send"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    check_count(inputs, 1);
    return {{inputs[0].dtype, inputs[0].shape, nullptr}};
  }
  Traits traits() const override {
    return {.mutates = state_ ? 1u : 0u, .side_effect = true, .communicates = true};
  }

 private:
  bool state_;
};

// Takes its time, and adds one to the state (f32).
Kernel gather_cpu(const KernelRequest& request) {
  const std::int64_t elements = request.inputs[0].elements();
  return {"toy_gather_cpu", [elements](const Launch& launch) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            for (std::int64_t i = 0; i < elements; ++i) launch.overwritten<float>(0)[i] += 1;
          }};
}

}  // namespace

// ---- Builders ----------------------------------------------------------------------------------

ValueId toy_reorder(Graph& graph, ValueId x, std::shared_ptr<const Layout> layout) {
  return graph.add(std::make_shared<ToyReorder>(std::move(layout)), {x},
                   graph.value(x).name + "/reorder");
}

ValueId toy_add(Graph& graph, ValueId a, ValueId b, const std::string& name) {
  return graph.add(add_op(), {a, b}, name);
}

ValueId toy_multiply(Graph& graph, ValueId a, ValueId b, const std::string& name) {
  return graph.add(multiply_op(), {a, b}, name);
}

ValueId toy_scale(Graph& graph, ValueId x, double factor, const std::string& name) {
  return graph.add(scale_shift_op("toy_scale", {factor, 0}), {x}, name);
}

ValueId toy_shift(Graph& graph, ValueId x, double by, const std::string& name) {
  return graph.add(scale_shift_op("toy_shift", {1, by}), {x}, name);
}

ValueId toy_affine(Graph& graph, ValueId x, double factor, double by, const std::string& name) {
  return graph.add(toy_affine_op(factor, by), {x}, name);
}

ValueId toy_weigh(Graph& graph, ValueId x, ValueId w, const std::string& name) {
  return graph.add(weigh_op(), {x, w}, name);
}

ValueId toy_smooth(Graph& graph, ValueId x, int padding, const std::string& name) {
  return graph.add(std::make_shared<ToySmooth>(padding), {x}, name);
}

std::vector<ValueId> toy_split(Graph& graph, ValueId x, const std::string& name) {
  return graph.add_node(std::make_shared<ToySplit>(), {x}, name);
}

ValueId toy_mean(Graph& graph, ValueId x, const std::string& name) {
  return graph.add(std::make_shared<ToyMean>(), {x}, name);
}

std::vector<ValueId> toy_update(Graph& graph, ValueId parameter, ValueId gradient, ValueId moment,
                                const std::string& name) {
  std::vector<ValueId> inputs{parameter, gradient};
  if (moment != kNoValue) inputs.push_back(moment);
  return graph.add_node(std::make_shared<ToyUpdate>(moment != kNoValue), inputs, name);
}

ValueId toy_send(Graph& graph, ValueId x, const std::string& name) {
  return graph.add(std::make_shared<ToySend>(false), {x}, name);
}

ValueId toy_gather(Graph& graph, ValueId state, const std::string& name) {
  return graph.add(std::make_shared<ToySend>(true), {state}, name);
}

ToyScaleShift scale_shift_of(const Op& op) {
  return dynamic_cast<const ToyElementwise&>(op).spec().parameters;
}

std::shared_ptr<const Op> toy_affine_op(double factor, double by) {
  return scale_shift_op("toy_affine", {factor, by});
}

KernelRegistry toy_registry() {
  KernelRegistry registry;
  register_builtin_cpu(registry);
  for (const char* name :
       {"toy_add", "toy_multiply", "toy_scale", "toy_shift", "toy_affine", "toy_weigh"}) {
    registry.add(name, DeviceKind::kCpu, {elementwise_cpu, nullptr});
  }
  registry.add("toy_reorder", DeviceKind::kCpu, {reorder_cpu, nullptr});
  registry.add("toy_send", DeviceKind::kCpu, {reorder_cpu, nullptr});
  registry.add("toy_gather", DeviceKind::kCpu, {gather_cpu, nullptr});
  registry.add("toy_smooth", DeviceKind::kCpu, {smooth_cpu, smooth_layouts});
  registry.add("toy_split", DeviceKind::kCpu, {split_cpu, nullptr});
  registry.add("toy_spread", DeviceKind::kCpu, {spread_cpu, nullptr});
  registry.add("toy_mean", DeviceKind::kCpu, {mean_cpu, nullptr});
  registry.add("toy_update", DeviceKind::kCpu, {update_cpu, nullptr});
  return registry;
}

}  // namespace lockstep::testing
