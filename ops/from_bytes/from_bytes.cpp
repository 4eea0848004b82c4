#include "ops/from_bytes/from_bytes.h"

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "ops/attributes.h"

namespace lockstep {

std::string FromBytesOp::attributes() const {
  std::string out;
  for (std::size_t f = 0; f < features(); ++f) {
    out += text(f == 0 ? "" : " ", "shift=", exact(shift_[f]), " scale=", exact(scale_[f]));
  }
  return out + (to_ == DType::kBF16 ? " to=bf16" : "");
}

std::vector<TensorType> FromBytesOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1, "takes 1 input, got ", inputs.size());
  check_input(inputs[0].dtype == DType::kU8, "input is ", inputs[0].to_string(), ", expected u8");
  const Shape& shape = inputs[0].shape;
  check_input(features() == 1 || (shape.rank() > 0 && shape[-1] == static_cast<std::int64_t>(features())), "input ", shape,
              " has not ", features(), " entries on its last axis");
  return {{to_, shape, nullptr}};
}

double FromBytesOp::flops(std::span<const TensorType> inputs, std::span<const TensorType>) const {
  return 2 * static_cast<double>(inputs[0].elements());
}

namespace {

std::optional<Fusion> fuse_cast(const FusionSite& site) {
  const auto* cast = dynamic_cast<const CastOp*>(site.node().op.get());
  if (cast == nullptr || cast->to() != DType::kBF16) return std::nullopt;
  const Node* bytes = site.producer(site.node(), 0);
  const auto* op = bytes == nullptr ? nullptr : dynamic_cast<const FromBytesOp*>(bytes->op.get());
  const ValueId numbers = site.node().inputs[0];
  if (op == nullptr || !site.only_read_by(numbers, site.root)) return std::nullopt;
  return Fusion{std::make_shared<FromBytesOp>(op->shift(), op->scale(), DType::kBF16), bytes->inputs, site.node().outputs,
                {site.graph.value(numbers).producer}};
}

}  // namespace

std::vector<FusionPattern> from_bytes_fusions() { return {{"from_bytes+cast", fuse_cast}}; }

ValueId from_bytes(Graph& graph, ValueId x, const std::vector<double>& shift, const std::vector<double>& scale,
                   const std::string& name) {
  const bool plain = shift.empty();
  return graph.add(std::make_shared<FromBytesOp>(plain ? std::vector<double>{0.0} : shift,
                                                 plain ? std::vector<double>{1.0} : scale),
                   {x}, name);
}

}  // namespace lockstep
