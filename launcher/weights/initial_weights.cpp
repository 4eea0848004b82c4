#include "launcher/weights/initial_weights.h"

#include <algorithm>
#include <set>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/hash.h"
#include "dist/agree.h"
#include "launcher/checkpoint/tensor_fit.h"
#include "launcher/name_pattern.h"
#include "launcher/run_directory.h"

namespace lockstep {
namespace {

// "conv1" of "conv1/weight"
std::string layer_of(const std::string& tensor) { return tensor.substr(0, tensor.find('/')); }

std::string join(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : ", ") + part;
  return out;
}

// ---- Where they are from -----------------------------------------------------------------------

// The directory of a checkpoint where it is a run. What is newest or best changes while another program trains it.
std::string path_of(const InitialWeights& initial) {
  const bool is_run = is_directory(initial.from) && !is_file(manifest_path(initial.from)) &&
                      RunDirectory(initial.from).holds_run();
  if (is_run) return find_checkpoint(RunDirectory(initial.from).checkpoints(), initial.checkpoint);
  check_input(initial.checkpoint == "newest", initial.from, ": is no run, so it has no \"", initial.checkpoint,
              "\" (train.initial_weights.checkpoint)");
  return initial.from;
}

// ---- Whether they fit --------------------------------------------------------------------------

// Throws bad_input where a pattern fits no layer of the model, and none that there are weights of.
void check_patterns(const std::vector<std::string>& except, const std::set<std::string>& layers) {
  for (const std::string& pattern : except) {
    if (std::ranges::any_of(layers, [&](const std::string& layer) { return fits(layer, pattern); })) continue;
    const std::string nearest = nearest_name(pattern, {layers.begin(), layers.end()});
    bad_input("train.initial_weights.except: \"", pattern, "\" is a layer with weights neither in the model nor there",
              nearest.empty() ? "" : text("; did you mean \"", nearest, "\"?"));
  }
}

void check_fit(const TensorSource& source, const std::vector<NamedTensor>& wanted,
               const std::vector<std::string>& except) {
  std::map<std::string, Shape> there = source.shapes, model;
  for (const NamedTensor& tensor : wanted) model[tensor.name] = tensor.shape;
  std::set<std::string> layers;
  for (auto* tensors : {&there, &model}) {
    for (const auto& [name, shape] : *tensors) layers.insert(layer_of(name));
    std::erase_if(*tensors, [&](const auto& tensor) { return fits_any(layer_of(tensor.first), except); });
  }
  check_patterns(except, layers);
  const TensorFit fit(there, model);
  if (fit.fits()) return;
  std::set<std::string> quoted;
  for (const std::string& name : fit.names()) quoted.insert('"' + layer_of(name) + '"');
  bad_input(source.path, ": does not fit the model; ", fit.to_string(),
            "; to begin without these layers, add to train.initial_weights.except: ",
            join({quoted.begin(), quoted.end()}));
}

std::vector<NamedTensor> tensors_of(Training& training) {
  std::vector<NamedTensor> out = training.parameters();
  const std::vector<NamedTensor> statistics = training.statistics();
  out.insert(out.end(), statistics.begin(), statistics.end());
  return out;
}

}  // namespace

std::string to_string(const BegunWeights& begun) {
  return text(begun.tensors, " tensors of ", begun.from, begun.fresh.empty() ? "" : "; anew: ", join(begun.fresh));
}

BegunWeights take_weights(Training& training, const TensorSource& source, const std::vector<std::string>& except) {
  const std::vector<NamedTensor> wanted = tensors_of(training);
  check_fit(source, wanted, except);
  BegunWeights begun{.from = source.path};
  std::set<std::string> fresh;
  for (const NamedTensor& tensor : wanted) {
    if (fits_any(layer_of(tensor.name), except)) {
      fresh.insert(layer_of(tensor.name));
      continue;
    }
    std::ranges::copy(source.read(tensor.name), tensor.values.begin());
    ++begun.tensors;
  }
  check_input(begun.tensors > 0, source.path, ": train.initial_weights.except leaves out every layer");
  training.write_back();
  begun.fresh.assign(fresh.begin(), fresh.end());
  return begun;
}

BegunWeights begin_with_initial_weights(Training& training) {
  const InitialWeights& initial = *training.config().train.initial_weights;
  Communicator& communicator = training.worker().communicator();
  std::string path;
  together(communicator, [&] {
    if (communicator.rank() == 0) path = path_of(initial);
  });
  path = gather_texts(communicator, path, "initial weights")[0];
  BegunWeights begun;
  together(communicator, [&] { begun = take_weights(training, open_weights(path), initial.except); });
  Sha256 digest;
  for (const NamedTensor& tensor : tensors_of(training)) digest.update(std::as_bytes(tensor.values));
  agree(communicator, {{text("initial weights in ", path), digest.hex()}});
  return begun;
}

}  // namespace lockstep
