#include "launcher/checkpoint/resume.h"

#include <algorithm>

#include "core/base/error.h"
#include "dist/agree.h"
#include "launcher/checkpoint/stored_checkpoint.h"
#include "launcher/checkpoint/tensor_fit.h"

namespace lockstep {
namespace {

bool is_weight(const std::string& name) { return name.starts_with("parameters/") || name.starts_with("statistics/"); }

std::map<std::string, Shape> wanted_of(std::map<std::string, Shape> tensors, LoadedState what) {
  if (what == LoadedState::kWeights) std::erase_if(tensors, [](const auto& tensor) { return !is_weight(tensor.first); });
  return tensors;
}

// Throws bad_input naming what differs between the tensors of the checkpoint and of the model.
void check_tensors(const StoredCheckpoint& stored, const std::map<std::string, Shape>& model, LoadedState what) {
  const TensorFit fit(wanted_of(stored.tensors(), what), wanted_of(model, what));
  check_input(fit.fits(), stored.path(), ": belongs to another model or optimizer: ", fit.to_string());
}

void check_dataset(const StoredCheckpoint& stored, const Training& training, LoadedState what) {
  const std::string& mine = training.data().record.fingerprint;
  if (what == LoadedState::kWeights || training.data().train.dataset == nullptr) return;
  check_input(stored.manifest().dataset == mine, stored.path(), ": was trained on other data (fingerprint ",
              stored.manifest().dataset, ", that of data.train is ", mine,
              "); give it the same files, or begin a new run");
}

void read_into(Training& training, const StoredCheckpoint& stored, LoadedState what) {
  check_tensors(stored, training.state_shapes(), what);
  check_dataset(stored, training, what);
  for (const NamedTensor& tensor : training.parameters()) {
    stored.read("parameters/" + tensor.name, {0, tensor.shape.elements()}, tensor.values.data());
  }
  for (const NamedTensor& tensor : training.statistics()) {
    stored.read("statistics/" + tensor.name, {0, tensor.shape.elements()}, tensor.values.data());
  }
  if (what == LoadedState::kAll) {
    for (const TensorSlice& moment : training.moments()) stored.read(moment.name, moment.range, moment.values);
  }
  training.write_back();
  training.set_step(stored.manifest().step);
}

// Why the checkpoint is broken; empty where it is whole. Each rank looks at some of the parts. All ranks are here.
std::string why_broken(Communicator& communicator, const std::string& path) {
  std::string mine;
  try {
    const Manifest manifest = read_manifest(path);
    const auto world = static_cast<std::size_t>(communicator.size());
    for (auto i = static_cast<std::size_t>(communicator.rank()); i < manifest.parts.size(); i += world) {
      verify_part(path, manifest.parts[i]);
    }
  } catch (const std::exception& error) {
    mine = error.what();
  }
  for (const std::string& why : gather_texts(communicator, mine, "verification of a checkpoint")) {
    if (!why.empty()) return why;
  }
  return {};
}

// Paths of the checkpoints, newest first, as rank 0 sees them.
std::vector<std::string> candidates(Communicator& communicator, const std::string& directory) {
  std::string lines;
  if (communicator.rank() == 0) {
    for (const CheckpointEntry& entry : list_checkpoints(directory)) lines = entry.path + "\n" + lines;
  }
  std::vector<std::string> out;
  std::istringstream all(gather_texts(communicator, lines, "list of checkpoints")[0]);
  for (std::string line; std::getline(all, line);) out.push_back(line);
  return out;
}

void load(Training& training, LoadedCheckpoint& loaded, const std::string& path, LoadedState what) {
  together(training.worker().communicator(), [&] {
    const StoredCheckpoint stored(path, read_manifest(path));
    read_into(training, stored, what);
    loaded.found = true;
    loaded.path = path;
    loaded.manifest = stored.manifest();
  });
}

}  // namespace

LoadedCheckpoint load_newest_checkpoint(Training& training, const std::string& directory, LoadedState what) {
  Communicator& communicator = training.worker().communicator();
  LoadedCheckpoint loaded;
  for (const std::string& path : candidates(communicator, directory)) {
    const std::string why = why_broken(communicator, path);
    if (why.empty()) {
      load(training, loaded, path, what);
      break;
    }
    loaded.passed_over.push_back(why);
  }
  // To begin anew would replace what somebody may still mend.
  if (!loaded.found && !loaded.passed_over.empty()) {
    throw SharedError(ErrorKind::kBadInput,
                      text(directory, ": none of its ", loaded.passed_over.size(), " checkpoints can be loaded: ",
                           loaded.passed_over.front(), "; mend that, or begin a new run (--overwrite, or another --run)"));
  }
  return loaded;
}

LoadedCheckpoint load_checkpoint(Training& training, const std::string& path, LoadedState what) {
  LoadedCheckpoint loaded;
  const std::string why = why_broken(training.worker().communicator(), path);
  if (!why.empty()) throw SharedError(ErrorKind::kBadInput, why);
  load(training, loaded, path, what);
  return loaded;
}

}  // namespace lockstep
