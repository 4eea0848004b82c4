#include "launcher/weights/onnx_file.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <onnx/checker.h>
#include <onnx/onnx_pb.h>

#include "core/base/error.h"

namespace lockstep {
namespace {

constexpr int kIrVersion = 8;  // that of opset 17
constexpr std::size_t kMostBytes = (std::size_t{1} << 31) - 1;
constexpr const char* kBatch = "batch";

void set_value(onnx::ValueInfoProto& proto, const OnnxValue& value) {
  proto.set_name(value.name);
  onnx::TypeProto_Tensor& tensor = *proto.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(static_cast<int>(onnx_type(value.dtype)));
  onnx::TensorShapeProto& shape = *tensor.mutable_shape();
  for (int axis = 0; axis < value.shape.rank(); ++axis) {
    if (axis == 0) {
      shape.add_dim()->set_dim_param(kBatch);
    } else {
      shape.add_dim()->set_dim_value(value.shape[axis]);
    }
  }
}

void set_tensor(onnx::TensorProto& proto, const OnnxTensor& tensor) {
  proto.set_name(tensor.name);
  proto.set_data_type(static_cast<int>(onnx_type(tensor.dtype)));
  for (const std::int64_t extent : tensor.shape.dims()) proto.add_dims(extent);
  proto.set_raw_data(tensor.bytes.data(), tensor.bytes.size());
}

struct AttributeSetter {
  onnx::AttributeProto& proto;

  void operator()(std::int64_t value) const {
    proto.set_type(onnx::AttributeProto::INT);
    proto.set_i(value);
  }
  void operator()(float value) const {
    proto.set_type(onnx::AttributeProto::FLOAT);
    proto.set_f(value);
  }
  void operator()(const std::string& value) const {
    proto.set_type(onnx::AttributeProto::STRING);
    proto.set_s(value);
  }
  void operator()(const std::vector<std::int64_t>& values) const {
    proto.set_type(onnx::AttributeProto::INTS);
    for (const std::int64_t value : values) proto.add_ints(value);
  }
};

void set_node(onnx::NodeProto& proto, const OnnxNode& node) {
  proto.set_op_type(node.type);
  proto.set_name(node.name);
  for (const std::string& input : node.inputs) proto.add_input(input);
  for (const std::string& output : node.outputs) proto.add_output(output);
  for (const OnnxAttribute& attribute : node.attributes) {
    onnx::AttributeProto& to = *proto.add_attribute();
    to.set_name(attribute.name);
    std::visit(AttributeSetter{to}, attribute.value);
  }
}

onnx::ModelProto model_of(const OnnxGraph& graph, const OnnxHeader& header) {
  onnx::ModelProto model;
  model.set_ir_version(kIrVersion);
  model.set_producer_name("lockstep");
  model.set_producer_version(header.version);
  onnx::OperatorSetIdProto& opset = *model.add_opset_import();
  opset.set_domain("");
  opset.set_version(kOnnxOpset);
  for (const auto& [key, value] : header.metadata) {
    onnx::StringStringEntryProto& entry = *model.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
  onnx::GraphProto& proto = *model.mutable_graph();
  proto.set_name(header.name);
  for (const OnnxValue& input : graph.inputs) set_value(*proto.add_input(), input);
  for (const OnnxValue& output : graph.outputs) set_value(*proto.add_output(), output);
  for (const OnnxTensor& tensor : graph.tensors) set_tensor(*proto.add_initializer(), tensor);
  for (const OnnxNode& node : graph.nodes) set_node(*proto.add_node(), node);
  return model;
}

void check_size(const OnnxGraph& graph) {
  std::size_t bytes = 0;
  for (const OnnxTensor& tensor : graph.tensors) bytes += tensor.bytes.size();
  check_input(bytes < kMostBytes, "an ONNX file holds less than 2 GB, the weights have ", bytes,
              " bytes; export safetensors or hdf5");
}

void check_model(const onnx::ModelProto& model) {
  try {
    onnx::checker::check_model(model);
  } catch (const std::exception& error) {
    broken_invariant("onnx: the checker refuses the exported graph: ", error.what());
  }
}

}  // namespace

std::string onnx_bytes(const OnnxGraph& graph, const OnnxHeader& header) {
  check_size(graph);
  const onnx::ModelProto model = model_of(graph, header);
  check_model(model);
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream out(&stream);
  out.SetSerializationDeterministic(true);
  check_input(model.ByteSizeLong() <= kMostBytes && model.SerializeToCodedStream(&out), "an ONNX file holds less than 2 GB; export safetensors or hdf5");
  out.Trim();
  return bytes;
}

void write_onnx(const std::string& path, const OnnxGraph& graph, const OnnxHeader& header, const FileSystem& files) {
  files.write_atomic(path, onnx_bytes(graph, header));
}

}  // namespace lockstep
