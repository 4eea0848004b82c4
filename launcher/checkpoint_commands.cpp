// The commands that look at checkpoints: checkpoint list, verify and diff.
#include <cstdio>
#include <optional>

#include "core/base/error.h"
#include "core/base/file.h"
#include "launcher/checkpoint/part.h"
#include "launcher/checkpoint/retention.h"
#include "launcher/checkpoint/stored_checkpoint.h"
#include "launcher/commands.h"
#include "launcher/run_directory.h"
#include "launcher/weights/difference.h"

namespace lockstep {
namespace {

std::string size_text(std::uint64_t bytes) {
  const std::pair<double, const char*> units[] = {{1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}};
  char out[32];
  for (const auto& [unit, name] : units) {
    if (static_cast<double>(bytes) < unit) continue;
    std::snprintf(out, sizeof out, "%.1f %s", static_cast<double>(bytes) / unit, name);
    return out;
  }
  return text(bytes, " B");
}

std::string metrics_text(const Manifest& manifest) {
  std::string out;
  for (const auto& [name, value] : manifest.metrics) out += text(out.empty() ? "" : ", ", name, " ", value);
  return out;
}

// Without reading it: the size of each part.
void check_size(const std::string& checkpoint, const PartEntry& part) {
  const std::string path = checkpoint + "/" + part.file;
  check_input(is_file(path), path, ": is missing");
  check_input(file_size(path) == part.bytes, path, ": has ", file_size(path), " bytes, the manifest says ", part.bytes);
}

// Throws bad_input where it is not whole.
void check_whole(const std::string& path, const Manifest& manifest, bool quick) {
  for (const PartEntry& part : manifest.parts) quick ? check_size(path, part) : verify_part(path, part);
  // HDF5 reads only what has the right checksum: every tensor has all its elements.
  if (!quick) StoredCheckpoint(path, manifest);
}

// Why it is broken; empty where it is whole.
template <typename Check>
std::string why_broken(const Check& check) {
  try {
    check();
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

void print_row(const CheckpointEntry& entry, bool quick, bool is_best) {
  std::optional<Manifest> manifest;
  const std::string unreadable = why_broken([&] { manifest = read_manifest(entry.path); });
  if (!manifest) {
    std::printf("%10lld  broken: %s\n", static_cast<long long>(entry.step), unreadable.c_str());
    return;
  }
  std::uint64_t bytes = 0;
  for (const PartEntry& part : manifest->parts) bytes += part.bytes;
  const std::string why = why_broken([&] { check_whole(entry.path, *manifest, quick); });
  const std::string state = (why.empty() ? "whole" : "broken: " + why) + (is_best ? "  best" : ""), metrics = metrics_text(*manifest);
  std::printf("%10lld  %-20s  %10s  %7lld  %s%s%s\n", static_cast<long long>(entry.step), manifest->written.c_str(),
              size_text(bytes).c_str(), static_cast<long long>(manifest->world_size), state.c_str(), metrics.empty() ? "" : "  ",
              metrics.c_str());
}

std::vector<CheckpointEntry> checkpoints_of(const std::string& path) {
  const RunDirectory run = RunDirectory::open(path);
  std::vector<CheckpointEntry> entries = list_checkpoints(run.checkpoints());
  check_input(!entries.empty(), path, ": has no checkpoint");
  return entries;
}

// Tells of each part whether it is whole. Returns whether all are.
bool verify_and_tell(const std::string& path) {
  std::optional<Manifest> manifest;
  const auto tell = [&](const std::string& what, const std::string& why) {
    std::printf("%s\n", (why.empty() ? "whole   " + what : "broken  " + why).c_str());
    return why.empty();
  };
  bool whole = tell(manifest_path(path), why_broken([&] { manifest = read_manifest(path); }));
  if (!manifest) return false;
  for (const PartEntry& part : manifest->parts) {
    const std::string why = why_broken([&] { verify_part(path, part); });
    whole &= tell(text(path, "/", part.file, " (", size_text(part.bytes), ")"), why);
  }
  if (!whole) return false;
  const std::string why = why_broken([&] { StoredCheckpoint(path, *manifest); });
  if (!why.empty()) tell(path, why);
  return why.empty();
}

}  // namespace

int run_command(const CheckpointListCommand& command, const ProgramContext&) {
  const RunDirectory run = RunDirectory::open(command.run);
  const std::vector<CheckpointEntry> entries = list_checkpoints(run.checkpoints());
  if (entries.empty()) {
    std::printf("%s has no checkpoint\n", command.run.c_str());
    return kExitDone;
  }
  std::printf("%10s  %-20s  %10s  %7s  %s\n", "step", "written", "size", "workers", command.quick ? "state (sizes)" : "state");
  const std::optional<std::int64_t> best = best_step(run.checkpoints());
  for (const CheckpointEntry& entry : entries) print_row(entry, command.quick, entry.step == best);
  return kExitDone;
}

int run_command(const CheckpointVerifyCommand& command, const ProgramContext&) {
  std::vector<CheckpointEntry> entries = checkpoints_of(command.run);
  if (command.checkpoint == "newest") {
    entries = {entries.back()};  // whole or not
  } else if (!command.checkpoint.empty()) {
    entries = {{0, find_checkpoint(RunDirectory(command.run).checkpoints(), command.checkpoint)}};
  }
  bool whole = true;
  for (const CheckpointEntry& entry : entries) whole &= verify_and_tell(entry.path);
  return whole ? kExitDone : kExitFailed;
}

int run_command(const CheckpointDiffCommand& command, const ProgramContext&) {
  const bool files = is_weights_file(command.a) || is_weights_file(command.b);
  const TensorSource a = files ? open_weights(command.a) : open_state(command.a);
  const TensorSource b = files ? open_weights(command.b) : open_state(command.b);
  std::int64_t equal = 0, other = 0;
  compare_tensors(a, b, [&](const TensorDifference& difference) {
    ++(difference.kind == TensorDifference::Kind::kEqual ? equal : other);
    if (!command.quiet) std::printf("%s\n", to_string(difference).c_str());
  });
  if (!command.quiet) {
    std::printf("%lld tensors are equal, %lld differ: %s and %s\n", static_cast<long long>(equal), static_cast<long long>(other),
                a.path.c_str(), b.path.c_str());
  }
  return other == 0 ? kExitDone : kExitFailed;
}

}  // namespace lockstep
