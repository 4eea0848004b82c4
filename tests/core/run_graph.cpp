#include "tests/core/run_graph.h"

#include <cstring>

#include "core/base/bfloat16.h"
#include "core/base/error.h"

namespace lockstep::testing {
namespace {

template <typename T>
Bytes encode_as(const std::vector<double>& values) {
  Bytes out(values.size() * sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const T value = static_cast<T>(values[i]);
    std::memcpy(out.data() + i * sizeof(T), &value, sizeof(T));
  }
  return out;
}

template <typename T>
std::vector<double> decode_as(const void* data, std::int64_t count) {
  std::vector<double> out(count);
  for (std::int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, static_cast<const std::byte*>(data) + i * sizeof(T), sizeof(T));
    out[i] = static_cast<double>(value);
  }
  return out;
}

void fill_with_garbage(Device& device, const Memory& memory) {
  const Bytes garbage(memory.bytes(), std::byte{0xff});
  if (memory.bytes() > 0) device.copy_in(memory.data(), garbage.data(), garbage.size());
}

}  // namespace

Bytes encode(const std::vector<double>& values, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return encode_as<float>(values);
    case DType::kBF16: {
      Bytes out(values.size() * 2);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const BFloat16 value(static_cast<float>(values[i]));
        std::memcpy(out.data() + i * 2, &value, 2);
      }
      return out;
    }
    case DType::kF64:
      return encode_as<double>(values);
    case DType::kU8:
      return encode_as<std::uint8_t>(values);
    case DType::kI32:
      return encode_as<std::int32_t>(values);
    case DType::kI64:
      return encode_as<std::int64_t>(values);
    default:
      broken_invariant("encode: ", name_of(dtype));
  }
}

std::vector<double> decode(const void* data, const TensorType& type) {
  const std::int64_t count = type.elements();
  switch (type.dtype) {
    case DType::kF32:
      return decode_as<float>(data, count);
    case DType::kBF16: {
      std::vector<double> out(count);
      for (std::int64_t i = 0; i < count; ++i) {
        BFloat16 value;
        std::memcpy(&value, static_cast<const std::byte*>(data) + i * 2, 2);
        out[i] = static_cast<float>(value);
      }
      return out;
    }
    case DType::kF64:
      return decode_as<double>(data, count);
    case DType::kU8:
      return decode_as<std::uint8_t>(data, count);
    case DType::kI32:
      return decode_as<std::int32_t>(data, count);
    case DType::kI64:
      return decode_as<std::int64_t>(data, count);
    default:
      broken_invariant("decode: ", name_of(type.dtype));
  }
}

std::map<std::string, std::vector<double>> run_graph(
    const Graph& graph, const KernelRegistry& registry, Device& device,
    const std::map<std::string, std::vector<double>>& feeds) {
  std::vector<Memory> memory(graph.values().size());
  std::vector<std::byte*> places(graph.values().size());  // views share
  for (std::size_t i = 0; i < graph.values().size(); ++i) {
    const Value& value = graph.values()[i];
    memory[i] = device.allocate(value.type.bytes());
    places[i] = static_cast<std::byte*>(memory[i].data());
    if (value.kind == ValueKind::kResult) {  // results start as garbage: NaN in every float type
      fill_with_garbage(device, memory[i]);
      continue;
    }
    const auto feed = feeds.find(value.name);
    require(feed != feeds.end(), "run_graph: no value for ", value.name);
    require(static_cast<std::int64_t>(feed->second.size()) == value.type.elements(),
            "run_graph: ", value.name, " has ", value.type.elements(), " elements, got ",
            feed->second.size());
    const Bytes bytes = encode(feed->second, value.type.dtype);
    device.copy_in(places[i], bytes.data(), bytes.size());
  }
  for (const Node& node : graph.nodes()) {
    const Traits traits = node.op->traits();
    if (traits.view) {
      places[node.outputs[0]] = places[node.inputs[0]] + traits.view_offset;
      continue;
    }
    std::size_t next_output = 0;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (traits.overwrites(i)) places[node.outputs[next_output++]] = places[node.inputs[i]];
    }
    const auto inputs = graph.types(node.inputs), outputs = graph.types(node.outputs);
    const Kernel kernel = registry.make({*node.op, inputs, outputs, device});
    std::vector<void*> in, out;
    for (const ValueId id : node.inputs) in.push_back(places[id]);
    for (const ValueId id : node.outputs) out.push_back(places[id]);
    const Memory workspace = device.allocate(kernel.workspace_bytes);
    fill_with_garbage(device, workspace);
    kernel.run({in.data(), out.data(), workspace.data(), device.stream(StreamKind::kCompute)});
    device.synchronize();  // the workspace is freed
  }
  std::map<std::string, std::vector<double>> results;
  auto read = [&](ValueId id) {
    Bytes bytes(graph.type(id).bytes());
    if (!bytes.empty()) device.copy_out(bytes.data(), places[id], bytes.size());
    return decode(bytes.data(), graph.type(id));
  };
  for (const auto& [name, id] : graph.outputs()) results[name] = read(id);
  for (std::size_t i = 0; i < graph.values().size(); ++i) {
    if (graph.values()[i].kind != ValueKind::kState) continue;
    results["state:" + graph.values()[i].name] = read(static_cast<ValueId>(i));
  }
  return results;
}

std::vector<std::vector<double>> run_op(const Op& op, const OpRun& run, const KernelRegistry& registry, Device& device,
                                        const std::vector<std::vector<double>>& values) {
  std::vector<Memory> memory;
  auto place = [&](const TensorType& type) -> void* {
    memory.push_back(device.allocate(type.bytes() + run.offset));
    fill_with_garbage(device, memory.back());
    return memory.back().at(run.offset);
  };
  std::vector<void*> in, out;
  for (std::size_t i = 0; i < run.inputs.size(); ++i) {
    in.push_back(place(run.inputs[i]));
    const Bytes bytes = encode(values.at(i), run.inputs[i].dtype);
    if (!bytes.empty()) device.copy_in(in.back(), bytes.data(), bytes.size());
  }
  for (const TensorType& type : run.outputs) out.push_back(place(type));
  if (run.in_place) out.at(0) = in.at(0);
  const Kernel kernel = registry.make({op, run.inputs, run.outputs, device});
  const Memory workspace = device.allocate(kernel.workspace_bytes);
  fill_with_garbage(device, workspace);
  kernel.run({in.data(), out.data(), workspace.data(), device.stream(StreamKind::kCompute)});
  device.synchronize();
  std::vector<std::vector<double>> results;
  for (std::size_t j = 0; j < out.size(); ++j) {
    Bytes bytes(run.outputs[j].bytes());
    if (!bytes.empty()) device.copy_out(bytes.data(), out[j], bytes.size());
    results.push_back(decode(bytes.data(), run.outputs[j]));
  }
  return results;
}

}  // namespace lockstep::testing
