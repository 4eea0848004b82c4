#include "launcher/checkpoint/stored_checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "core/base/error.h"
#include "launcher/checkpoint/retention.h"

namespace lockstep {
namespace {

bool is_number(const std::string& word) {
  return !word.empty() && word.size() <= 18 && word.find_first_not_of("0123456789") == std::string::npos;
}

std::string newest_whole(const std::string& directory) {
  auto entries = list_checkpoints(directory);
  std::string why;
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    try {
      verify_checkpoint(entry->path);
      return entry->path;
    } catch (const Error& error) {
      if (why.empty()) why = text("; the newest one is broken: ", error.what());
    }
  }
  bad_input(directory, ": holds no checkpoint that can be loaded", why);
}

}  // namespace

std::vector<CheckpointEntry> list_checkpoints(const std::string& directory) {
  std::vector<CheckpointEntry> out;
  std::error_code gone;
  for (std::filesystem::directory_iterator entry(directory, gone), end; !gone && entry != end; entry.increment(gone)) {
    const std::string name = entry->path().filename();
    if (!name.starts_with("step-") || !is_number(name.substr(5)) || !is_directory(entry->path())) continue;
    out.push_back({std::stoll(name.substr(5)), entry->path()});
  }
  std::ranges::sort(out, {}, &CheckpointEntry::step);
  return out;
}

Manifest verify_checkpoint(const std::string& path) {
  Manifest manifest = read_manifest(path);
  for (const PartEntry& part : manifest.parts) verify_part(path, part);
  return manifest;
}

std::string find_checkpoint(const std::string& directory, const std::string& which) {
  if (which == "newest") return newest_whole(directory);
  if (which == "best") {
    const std::optional<std::int64_t> best = best_step(directory);
    check_input(best.has_value(), directory, ": has no best checkpoint; train with checkpoint.best = \"METRIC\"");
    return find_checkpoint(directory, std::to_string(*best));
  }
  if (!is_number(which)) {
    check_input(is_file(manifest_path(which)), which,
                ": is no checkpoint; expected newest, best, the number of a step, or the directory of a checkpoint");
    return which;
  }
  std::string all;
  for (const CheckpointEntry& entry : list_checkpoints(directory)) {
    if (entry.step == std::stoll(which)) return entry.path;
    all += text(all.empty() ? "" : ", ", entry.step);
  }
  bad_input(directory, ": has no checkpoint of step ", which, "; there ", all.empty() ? "is none" : "are those of ", all);
}

StoredCheckpoint StoredCheckpoint::open(const std::string& path) { return {path, verify_checkpoint(path)}; }

StoredCheckpoint::StoredCheckpoint(std::string path, Manifest manifest)
    : path_(std::move(path)), manifest_(std::move(manifest)) {
  for (const PartEntry& part : manifest_.parts) {
    const Hdf5File& file = parts_.emplace_back(path_ + "/" + part.file);
    for (const Hdf5Array& array : file.arrays()) {
      const std::int64_t begin = file.integer(array.name, "offset").value_or(0);
      pieces_[array.name].push_back({parts_.size() - 1, {begin, begin + array.shape.elements()}});
    }
  }
  for (const auto& [name, shape] : manifest_.tensors) {
    std::vector<Piece>& pieces = pieces_[name];
    std::ranges::sort(pieces, {}, [](const Piece& piece) { return piece.range.begin; });
    std::int64_t next = 0;
    for (const Piece& piece : pieces) {
      if (piece.range.begin == next) next = piece.range.end;
    }
    check_input(next == shape.elements(), path_, ": tensor \"", name, "\" has ", shape.elements(),
                " elements, its parts hold only the first ", next);
  }
}

void StoredCheckpoint::read(const std::string& name, Range range, float* to) const {
  for (const auto& [part, piece] : pieces_.at(name)) {
    const std::int64_t begin = std::max(range.begin, piece.begin), end = std::min(range.end, piece.end);
    if (begin >= end) continue;
    const Hdf5File& file = parts_[part];
    const Hdf5Array& array = file.array(name);
    check_input(array.dtype == DType::kF32, file.path(), ": \"", name, "\" is ", name_of(array.dtype), ", expected f32");
    const bool all = begin == piece.begin && end == piece.end;
    if (all || array.shape.rank() == 1) {
      file.read(array, all ? 0 : begin - piece.begin, all ? array.rows() : end - piece.begin, to + (begin - range.begin));
      continue;
    }
    // Rows of a whole tensor of several dimensions: those that hold the elements.
    const std::int64_t row = array.shape.elements() / array.rows();
    const std::int64_t first = begin / row, last = (end + row - 1) / row;
    std::vector<float> rows(static_cast<std::size_t>((last - first) * row));
    file.read(array, first, last, rows.data());
    std::copy_n(rows.data() + (begin - first * row), end - begin, to + (begin - range.begin));
  }
}

std::vector<float> StoredCheckpoint::read(const std::string& name) const {
  const std::int64_t elements = tensors().at(name).elements();
  std::vector<float> values(static_cast<std::size_t>(elements));
  read(name, {0, elements}, values.data());
  return values;
}

}  // namespace lockstep
