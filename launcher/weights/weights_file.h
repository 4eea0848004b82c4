// Files of weights: safetensors (launcher/weights/safetensors.h), or HDF5 with one array of f32 for
// each tensor, whose name is its path: "conv1/weight" is the array "weight" of the group "conv1".
#pragma once

#include <map>
#include <string>

#include "launcher/weights/weights.h"

namespace lockstep {

enum class WeightsFormat { kSafetensors, kHdf5 };

// By the name's ending: .safetensors; .h5 or .hdf5. Throws bad_input that lists them for others.
WeightsFormat weights_format_of(const std::string& path);

// Replaces `path` at once, or leaves it as it was. `metadata`: texts that are kept with it.
void write_weights(const std::string& path, WeightsFormat format, const Weights& weights,
                   const std::map<std::string, std::string>& metadata = {});

// Reads f32, f16, bf16 and f64 as f32; the format is that of the name's ending. Throws bad_input
// "<path>: ..." that names the tensor where there is one that cannot be read.
Weights read_weights(const std::string& path);

}  // namespace lockstep
