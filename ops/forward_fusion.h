// The two fusions that every op y = f(product + bias) declares: the bias into the op, and the
// activation into the op. Private to the rooms that include it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/passes/fuse.h"
#include "ops/activation/activation.h"
#include "ops/bias/bias.h"

namespace lockstep {

// ProductOp has inputs x, w and optionally b, and an `activation()`. `with_activation(op,
// activation)` is the same op with that activation.
//
// The activation is fused where its gradient is a function of y, or where nobody else reads what it
// is applied to (inference).
template <typename ProductOp>
std::vector<FusionPattern> forward_fusions(
    const std::string& name,
    std::function<std::shared_ptr<const Op>(const ProductOp&, std::optional<Activation>)>
        with_activation) {
  // The node that computes input 0 of the root, where it is a product without activation that only
  // the root reads.
  auto product_of = [](const FusionSite& site) -> const Node* {
    if (site.node().inputs.empty()) return nullptr;
    const Node* product = site.producer(site.node(), 0);
    if (product == nullptr || !site.only_read_by(site.node().inputs[0], site.root)) return nullptr;
    const auto* op = dynamic_cast<const ProductOp*>(product->op.get());
    return op != nullptr && !op->activation() ? product : nullptr;
  };
  auto absorbed = [](const FusionSite& site) {
    return site.graph.value(site.node().inputs[0]).producer;
  };

  FusionPattern bias{name + "+bias", [=](const FusionSite& site) -> std::optional<Fusion> {
                       if (dynamic_cast<const BiasOp*>(site.node().op.get()) == nullptr) return {};
                       const Node* product = product_of(site);
                       if (product == nullptr || product->inputs.size() != 2) return {};
                       return Fusion{
                           product->op,
                           {product->inputs[0], product->inputs[1], site.node().inputs[1]},
                           site.node().outputs,
                           {absorbed(site)}};
                     }};
  FusionPattern activation{
      name + "+activation", [=](const FusionSite& site) -> std::optional<Fusion> {
        const auto* op = dynamic_cast<const ActivationOp*>(site.node().op.get());
        if (op == nullptr) return {};
        const Node* product = product_of(site);
        if (product == nullptr) return {};
        const auto& product_op = static_cast<const ProductOp&>(*product->op);
        return Fusion{with_activation(product_op, op->activation()),
                      product->inputs,
                      site.node().outputs,
                      {absorbed(site)}};
      }};
  return {bias, activation};
}

}  // namespace lockstep
