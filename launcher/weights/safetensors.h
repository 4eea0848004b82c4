// Files of weights in the safetensors format (github.com/huggingface/safetensors), which PyTorch,
// JAX, NumPy and others read.
//
//   file    = length header data
//   length  = u64, little-endian: bytes of the header, at most 100 MB
//   header  = JSON object, may end in spaces:
//             { NAME: { "dtype": "F32", "shape": [n, ...], "data_offsets": [begin, end] }, ...,
//               "__metadata__": { TEXT: TEXT, ... } }
//   data    = the tensors, row-major, little-endian; offsets count from its begin, without gaps
//
// Written is F32, in order of name; read are F32, F16, BF16 and F64. A file is not trusted: every
// number in it is checked before it is used.
#pragma once

#include <map>
#include <string>

#include "core/base/file.h"
#include "launcher/weights/weights.h"

namespace lockstep {

// Replaces `path` at once, or leaves it as it was. `metadata` is kept as "__metadata__".
void write_safetensors(const std::string& path, const Weights& weights,
                       const std::map<std::string, std::string>& metadata = {},
                       const FileSystem& files = local_files());

// Throws bad_input "<path>: ..." where the file is malformed, cut short, or holds other types.
Weights read_safetensors(const std::string& path);

}  // namespace lockstep
