#include "launcher/weights/tensor_source.h"

#include <memory>

#include "core/base/error.h"
#include "core/base/hdf5/trial.h"
#include "launcher/run_directory.h"
#include "launcher/weights/weights_file.h"

namespace lockstep {
namespace {

constexpr const char* kKindsOfWeights[] = {"parameters/", "statistics/"};

StoredCheckpoint open_checkpoint(const std::string& path) {
  if (is_file(manifest_path(path))) return StoredCheckpoint::open(path);
  check_input(is_directory(path), path, ": there is no such file or directory");
  const RunDirectory run(path);
  check_input(run.holds_run(), path, ": is neither a checkpoint nor a run");
  return StoredCheckpoint::open(find_checkpoint(run.checkpoints(), "newest"));
}

TensorSource source_of(const std::string& path) {
  auto weights = std::make_shared<Weights>(read_weights(path));
  TensorSource source{.path = path, .shapes = {}, .read = [weights](const std::string& name) { return weights->at(name).values; }};
  for (const auto& [name, weight] : *weights) source.shapes[name] = weight.shape;
  return source;
}

}  // namespace

Weights TensorSource::read_all() const {
  Weights out;
  for (const auto& [name, shape] : shapes) out[name] = {shape, read(name)};
  return out;
}

TensorSource state_of(StoredCheckpoint checkpoint) {
  const auto stored = std::make_shared<StoredCheckpoint>(std::move(checkpoint));
  return {.path = stored->path(),
          .shapes = stored->tensors(),
          .read = [stored](const std::string& name) { return stored->read(name); }};
}

TensorSource weights_of(StoredCheckpoint checkpoint) {
  const auto stored = std::make_shared<StoredCheckpoint>(std::move(checkpoint));
  TensorSource source{.path = stored->path(), .shapes = {}, .read = {}};
  std::map<std::string, std::string> full_names;
  for (const auto& [name, shape] : stored->tensors()) {
    for (const std::string kind : kKindsOfWeights) {
      if (!name.starts_with(kind)) continue;
      const std::string plain = name.substr(kind.size());
      source.shapes[plain] = shape;
      full_names[plain] = name;
    }
  }
  source.read = [stored, full_names](const std::string& name) { return stored->read(full_names.at(name)); };
  return source;
}

bool is_weights_file(const std::string& path) { return is_file(path); }

TensorSource open_state(const std::string& path) {
  return is_weights_file(path) ? source_of(path) : state_of(open_checkpoint(path));
}

TensorSource open_weights(const std::string& path) {
  return is_weights_file(path) ? source_of(path) : weights_of(open_checkpoint(path));
}

}  // namespace lockstep
