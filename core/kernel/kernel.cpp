#include "core/kernel/kernel.h"

namespace lockstep {

void KernelRegistry::add(const std::string& op_name, DeviceKind device, KernelEntry entry) {
  require(entry.make != nullptr, op_name, ": a kernel entry without a maker");
  const bool added = entries_.emplace(std::pair(op_name, device), std::move(entry)).second;
  require(added, op_name, ": two kernels for ", name_of(device));
}

const KernelEntry* KernelRegistry::find(std::string_view op_name, DeviceKind device) const {
  const auto it = entries_.find(std::pair(std::string(op_name), device));
  return it == entries_.end() ? nullptr : &it->second;
}

namespace {

// The request with every type as a row-major vector: what an elementwise kernel sees of a layout.
std::vector<TensorType> flattened(std::span<const TensorType> types) {
  std::vector<TensorType> out;
  for (const TensorType& type : types) {
    const auto extent = static_cast<std::int64_t>(type.bytes() / size_of(type.dtype));
    out.push_back({type.dtype, {extent}, nullptr});
  }
  return out;
}

}  // namespace

Kernel KernelRegistry::make(const KernelRequest& request) const {
  const KernelEntry* entry = find(request.op.name(), request.device.kind());
  check_input(entry != nullptr, "op ", request.op.name(), " has no kernel for ",
              name_of(request.device.kind()));
  bool any_layout = false;
  for (const TensorType& type : request.inputs) any_layout |= type.layout != nullptr;
  if (!any_layout || !request.op.traits().elementwise) return entry->make(request);
  const auto inputs = flattened(request.inputs), outputs = flattened(request.outputs);
  return entry->make({request.op, inputs, outputs, request.device});
}

std::vector<std::string> KernelRegistry::names(DeviceKind device) const {
  std::vector<std::string> out;
  for (const auto& [key, entry] : entries_) {
    if (key.second == device) out.push_back(key.first);
  }
  return out;
}

}  // namespace lockstep
