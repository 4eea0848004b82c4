// CPU kernel of reorder: oneDNN's reorder, or a copy where the orders are equal.
#include <cstring>

#include "core/builtin/reorder.h"
#include "core/kernel/onednn_kernel.h"

namespace lockstep {
namespace {

Kernel copy_kernel(std::size_t bytes) {
  return {"reorder_cpu (copy)", [bytes](const Launch& launch) {
            if (bytes > 0) std::memcpy(launch.outputs[0], launch.inputs[0], bytes);
          }};
}

Kernel reorder_cpu(const KernelRequest& request) {
  const TensorType &from = request.inputs[0], &to = request.outputs[0];
  require(same_layout(to.layout, request.op_as<ReorderOp>().to()), "reorder: the output is ",
          to.to_string(), ", not in the layout that was asked for");
  if (same_layout(from.layout, to.layout) || from.elements() == 0) return copy_kernel(to.bytes());
  const Layout& known = from.layout ? *from.layout : *to.layout;
  const auto* layout = dynamic_cast<const OnednnLayout*>(&known);
  require(layout != nullptr, "reorder: ", known.name(), " is not a layout of oneDNN");
  const dnnl::memory::desc from_desc = onednn::desc_of(from, layout->plain());
  const dnnl::memory::desc to_desc = onednn::desc_of(to, layout->plain());
  const auto desc = onednn::checked("reorder", [&] {
    return onednn::make_primitive_desc<dnnl::reorder>(onednn::attributes(), from_desc,
                                                      onednn::engine(), to_desc);
  });
  return onednn::make_kernel<dnnl::reorder>(
      "reorder_cpu", desc,
      {onednn::input(DNNL_ARG_FROM, from_desc, 0), onednn::output(DNNL_ARG_TO, to_desc, 0)});
}

}  // namespace

void register_reorder_cpu(KernelRegistry& registry) {
  registry.add("reorder", DeviceKind::kCpu, {reorder_cpu, nullptr});
}

}  // namespace lockstep
