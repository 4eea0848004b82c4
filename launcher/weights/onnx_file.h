// ONNX files: the one home of the ONNX library and of protocol buffers.
#pragma once

#include <map>
#include <string>

#include "core/base/file.h"
#include "ops/onnx/onnx_graph.h"

namespace lockstep {

// What is said about the graph. Texts of any kind.
struct OnnxHeader {
  std::string name = "model";                  // of the graph
  std::string version = {};                    // of the program that wrote it
  std::map<std::string, std::string> metadata = {};
};

// The bytes of a ModelProto with a free extent "batch" for axis 0 of every input and output; equal graphs give equal bytes.
// Throws bad_input where the weights are more than such a file can hold (2 GB), broken_invariant where the library's
// checker does not accept the graph.
std::string onnx_bytes(const OnnxGraph& graph, const OnnxHeader& header);

// Replaces `path` at once, or leaves it as it was.
void write_onnx(const std::string& path, const OnnxGraph& graph, const OnnxHeader& header,
                const FileSystem& files = local_files());

}  // namespace lockstep
