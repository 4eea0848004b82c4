#include "launcher/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/hdf5/hdf5.h"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;
constexpr int kFormat = 1;
const char kManifest[] = "manifest.json";

std::string numbered(const char* prefix, std::int64_t number, int digits, const char* suffix) {
  std::string text = std::to_string(number);
  if (static_cast<int>(text.size()) < digits) text.insert(0, digits - text.size(), '0');
  return prefix + text + suffix;
}

std::string step_name(std::int64_t step) { return numbered("step-", step, 8, ""); }
std::string part_name(int rank) { return numbered("part-", rank, 4, ".h5"); }

// ---- Writing -----------------------------------------------------------------------------------

void write_tensors(Hdf5Writer& file, const std::string& group, const std::vector<NamedTensor>& tensors) {
  for (const NamedTensor& tensor : tensors) {
    file.write(group + "/" + tensor.name, DType::kF32, tensor.shape, tensor.values.data());
  }
}

Json write_part(Training& training, const std::string& directory) {
  const int rank = training.worker().rank();
  const std::string path = directory + "/" + part_name(rank);
  {
    Hdf5Writer file(path);
    file.set_integer("", "step", training.step());
    if (rank == 0) {
      write_tensors(file, "parameters", training.parameters());
      write_tensors(file, "statistics", training.statistics());
    }
    for (const TensorSlice& moment : training.moments()) {
      file.write(moment.name, DType::kF32, {moment.range.size()}, moment.values);
      file.set_integer(moment.name, "offset", moment.range.begin);
    }
    file.commit();
  }
  const std::string bytes = local_files().read(path);
  return {{"file", part_name(rank)},
          {"bytes", bytes.size()},
          {"xxh3", hex_of(xxh3(std::as_bytes(std::span(bytes))))}};
}

void remove_old(const std::string& directory, std::int64_t keep) {
  const auto entries = list_checkpoints(directory);
  const std::int64_t surplus = static_cast<std::int64_t>(entries.size()) - std::max<std::int64_t>(1, keep);
  for (std::int64_t i = 0; i < surplus; ++i) local_files().remove(entries[i].path);
}

// ---- Reading -----------------------------------------------------------------------------------

// The parts of a checkpoint after every check of the manifest; throws bad_input naming what is broken.
struct ValidCheckpoint {
  std::int64_t step = 0;
  std::vector<std::string> parts;  // paths
};

ValidCheckpoint validate(const std::string& path) {
  const std::string manifest_path = path + "/" + kManifest;
  check_input(is_file(manifest_path), path, ": has no ", kManifest);
  const Json manifest = Json::parse(local_files().read(manifest_path), nullptr, false);
  check_input(manifest.is_object() && manifest.contains("parts") && manifest.contains("step") &&
                  manifest.contains("format"),
              manifest_path, ": is not a manifest");
  check_input(manifest["format"] == kFormat, manifest_path, ": has format ", manifest["format"].dump(),
              ", this program reads format ", kFormat);
  ValidCheckpoint valid;
  valid.step = manifest["step"].get<std::int64_t>();
  for (const Json& part : manifest["parts"]) {
    const std::string file = path + "/" + part.at("file").get<std::string>();
    check_input(is_file(file), file, ": is missing");
    const std::string bytes = local_files().read(file);
    check_input(bytes.size() == part.at("bytes").get<std::size_t>(), file, ": has ", bytes.size(),
                " bytes, the manifest says ", part.at("bytes").dump());
    check_input(hex_of(xxh3(std::as_bytes(std::span(bytes)))) == part.at("xxh3").get<std::string>(),
                file, ": its checksum does not match the manifest");
    valid.parts.push_back(file);
  }
  check_input(!valid.parts.empty(), manifest_path, ": names no parts");
  return valid;
}

void read_tensors(const Hdf5File& file, const std::string& group, std::vector<NamedTensor> tensors) {
  std::size_t stored = 0;
  for (const Hdf5Array& array : file.arrays()) stored += array.name.starts_with(group + "/");
  for (const NamedTensor& tensor : tensors) {
    const Hdf5Array* array = file.find(group + "/" + tensor.name);
    check_input(array != nullptr, file.path(), ": belongs to another model: it has no ", group, " \"",
                tensor.name, "\"");
    check_input(array->shape == tensor.shape, file.path(), ": belongs to another model: \"",
                tensor.name, "\" has shape ", array->shape, ", the model's is ", tensor.shape);
    file.read(*array, 0, array->rows(), tensor.values.data());
  }
  check_input(stored == tensors.size(), file.path(), ": belongs to another model: it has ", stored,
              " ", group, ", the model has ", tensors.size());
}

void read_moments(Training& training, const std::vector<Hdf5File>& files) {
  for (const TensorSlice& moment : training.moments()) {
    const Range mine = moment.range;
    std::int64_t covered = 0;
    for (const Hdf5File& file : files) {
      const Hdf5Array* array = file.find(moment.name);
      if (array == nullptr) continue;
      const std::int64_t offset = file.integer(moment.name, "offset").value_or(0);
      const std::int64_t begin = std::max(mine.begin, offset);
      const std::int64_t end = std::min(mine.end, offset + array->rows());
      if (begin >= end) continue;
      file.read(*array, begin - offset, end - offset, moment.values + (begin - mine.begin));
      covered += end - begin;
    }
    check_input(covered == mine.size(), files.front().path(), ": the moment \"", moment.name,
                "\" is not complete; was the optimizer another one?");
  }
}

}  // namespace

std::vector<CheckpointEntry> list_checkpoints(const std::string& directory) {
  std::vector<CheckpointEntry> out;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(directory, none)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("step-") || !entry.is_directory()) continue;
    const std::string digits = name.substr(5);
    if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) continue;
    out.push_back({std::stoll(digits), entry.path()});
  }
  std::ranges::sort(out, {}, &CheckpointEntry::step);
  return out;
}

void save_checkpoint(Training& training, const std::string& directory, std::int64_t keep) {
  Communicator& communicator = training.worker().communicator();
  const bool first = communicator.rank() == 0;
  const std::string name = step_name(training.step());
  const std::string final_path = directory + "/" + name;
  const std::string temporary = directory + "/." + name + ".tmp";
  bool there = false;
  if (first) {
    there = is_directory(final_path);
    if (!there) {
      local_files().remove(temporary);
      local_files().make_directories(temporary);
    }
  }
  if (gather_texts(communicator, there ? "there" : "", "checkpoint")[0] == "there") return;
  const Json part = write_part(training, temporary);
  const auto parts = gather_texts(communicator, part.dump(), "checkpoint");
  if (first) {
    Json manifest = {{"format", kFormat},
                     {"step", training.step()},
                     {"configuration", config_hash(training.config())},
                     {"dataset", training.data().record.fingerprint},
                     {"world_size", communicator.size()},
                     {"parts", Json::array()}};
    for (const std::string& line : parts) manifest["parts"].push_back(Json::parse(line));
    local_files().write_atomic(temporary + "/" + kManifest, manifest.dump(2) + "\n");
    local_files().sync(temporary);
    local_files().rename(temporary, final_path);
    local_files().sync(directory);
    remove_old(directory, keep);
  }
  barrier(communicator, "checkpoint");
}

LoadedCheckpoint load_newest_checkpoint(Training& training, const std::string& directory) {
  LoadedCheckpoint loaded;
  auto entries = list_checkpoints(directory);
  std::ranges::reverse(entries);
  for (const CheckpointEntry& entry : entries) {
    ValidCheckpoint valid;
    try {
      valid = validate(entry.path);
    } catch (const std::exception& error) {
      loaded.passed_over.push_back(error.what());
      continue;
    }
    std::vector<Hdf5File> files;
    for (const std::string& part : valid.parts) files.emplace_back(part);
    read_tensors(files[0], "parameters", training.parameters());
    read_tensors(files[0], "statistics", training.statistics());
    read_moments(training, files);
    training.set_step(valid.step);
    loaded.found = true;
    loaded.step = valid.step;
    loaded.path = entry.path;
    return loaded;
  }
  return loaded;
}

}  // namespace lockstep
