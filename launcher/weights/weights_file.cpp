#include "launcher/weights/weights_file.h"

#include <filesystem>

#include "core/base/error.h"
#include "core/base/hdf5/hdf5.h"
#include "core/base/hdf5/trial.h"
#include "launcher/weights/safetensors.h"

namespace lockstep {
namespace {

// A group and an array cannot have one name: "a" beside "a/b".
void check_paths(const std::string& path, const Weights& weights) {
  for (const auto& [name, weight] : weights) {
    for (std::size_t at = name.find('/'); at != std::string::npos; at = name.find('/', at + 1)) {
      check_input(!weights.contains(name.substr(0, at)), path, ": HDF5 has no room for both \"", name.substr(0, at),
                  "\" and \"", name, "\"; write safetensors instead");
    }
  }
}

void write_hdf5(const std::string& path, const Weights& weights, const std::map<std::string, std::string>& metadata) {
  check_paths(path, weights);
  Hdf5Writer file(path);
  for (const auto& [name, weight] : weights) {
    file.write(name, DType::kF32, weight.shape, weight.values.data());
  }
  for (const auto& [name, value] : metadata) file.set_text("", name, value);
  file.commit();
}

Weights read_hdf5(const std::string& path) {
  check_input(is_file(path), path, ": there is no such file");
  try_hdf5({path});
  const Hdf5File file(path);
  for (const auto& [name, why] : file.unreadable()) bad_input(path, ": tensor \"", name, "\": ", why);
  Weights weights;
  for (const Hdf5Array& array : file.arrays()) {
    check_input(is_weight_dtype(array.dtype), path, ": tensor \"", array.name, "\" is of type ", name_of(array.dtype),
                ", expected f32, f16, bf16 or f64");
    const std::vector<std::byte> bytes = file.read(array.name);
    const auto elements = static_cast<std::size_t>(array.shape.elements());
    weights[array.name] = {array.shape, weights_from(array.dtype, bytes.data(), elements)};
  }
  return weights;
}

}  // namespace

WeightsFormat weights_format_of(const std::string& path) {
  const std::string ending = std::filesystem::path(path).extension();
  if (ending == ".safetensors") return WeightsFormat::kSafetensors;
  check_input(ending == ".h5" || ending == ".hdf5", path, ": is not named as a file of weights, expected .safetensors, .h5 or .hdf5");
  return WeightsFormat::kHdf5;
}

void write_weights(const std::string& path, WeightsFormat format, const Weights& weights,
                   const std::map<std::string, std::string>& metadata) {
  if (format == WeightsFormat::kSafetensors) return write_safetensors(path, weights, metadata);
  write_hdf5(path, weights, metadata);
}

Weights read_weights(const std::string& path) {
  return weights_format_of(path) == WeightsFormat::kSafetensors ? read_safetensors(path) : read_hdf5(path);
}

}  // namespace lockstep
