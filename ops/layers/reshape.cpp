#include "ops/layers/reshape.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/builtin/builtin.h"

namespace lockstep {
namespace {

// Whether the extents make a shape of a sample: positive, but for one -1 at most.
bool is_sample_shape(const std::vector<std::int64_t>& extents) {
  const auto open = std::ranges::count(extents, -1);
  const auto positive = std::ranges::count_if(extents, [](std::int64_t n) { return n >= 1; });
  return open <= 1 && open + positive == static_cast<std::ptrdiff_t>(extents.size()) &&
         extents.size() + 1 <= Shape::kMaxRank;
}

// "(-1, 4)"; a Shape has no -1.
std::string printed(const std::vector<std::int64_t>& extents) {
  std::string out = "(";
  for (std::size_t i = 0; i < extents.size(); ++i) out += text(i > 0 ? ", " : "", extents[i]);
  return out + ")";
}

class ReshapeLayer final : public Layer {
 public:
  ReshapeLayer(std::string kind, std::vector<std::int64_t> target)
      : kind_(std::move(kind)), target_(std::move(target)) {}
  std::string kind() const override { return kind_; }

  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    const ValueId x = single_input(context, kind_, inputs);
    const TensorType type = context.graph.type(x);
    check_input(type.shape.rank() >= 1, context.layer, " (", kind_, "): input is ",
                type.to_string(), ", expected (batch, ...)");
    const std::int64_t sample = type.shape.elements(1, type.shape.rank());
    std::vector<std::int64_t> given;
    for (const std::int64_t extent : target_) given.push_back(extent == -1 ? 1 : extent);
    const std::int64_t known = Shape(given).elements();
    const bool open = std::ranges::find(target_, -1) != target_.end();
    check_input(open ? sample % known == 0 : sample == known, context.layer, " (", kind_,
                "): a sample of ", type.shape.slice(1, type.shape.rank()), " has ", sample,
                " elements, which do not fit in ", printed(target_));
    Shape shape{type.shape[0]};
    for (const std::int64_t extent : target_) {
      shape = shape.append(extent == -1 ? sample / known : extent);
    }
    return view(context.graph, x, shape, 0, context.node_name(""));
  }

 private:
  std::string kind_;
  std::vector<std::int64_t> target_;
};

}  // namespace

LayerPtr flatten() {
  return std::make_shared<ReshapeLayer>("flatten", std::vector<std::int64_t>{-1});
}

LayerPtr reshape(const ReshapeOptions& options) {
  check_input(is_sample_shape(options.target_shape),
              "reshape: target_shape has extents below 1, or -1 twice, or more than ",
              Shape::kMaxRank - 1, " of them; expected positive extents, one of them may be -1");
  return std::make_shared<ReshapeLayer>("reshape", options.target_shape);
}

void register_reshape_layers(LayerRegistry& registry) {
  registry.add("flatten", [](Settings&) { return flatten(); });
  registry.add("reshape", [](Settings& settings) {
    ReshapeOptions options{settings.integer_list("target_shape", {})};
    if (!settings.has("target_shape")) {
      settings.refuse("target_shape",
                      "missing; expected the extents of a sample, such as [8, 8, 1]");
    }
    if (!is_sample_shape(options.target_shape)) {
      settings.refuse("target_shape", text("expected at most ", Shape::kMaxRank - 1,
                                           " positive extents, one of them may be -1"));
    }
    return reshape(options);
  });
}

}  // namespace lockstep
