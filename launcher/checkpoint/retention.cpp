#include "launcher/checkpoint/retention.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "core/base/error.h"
#include "launcher/checkpoint/manifest.h"
#include "launcher/checkpoint/stored_checkpoint.h"

namespace lockstep {
namespace {

std::optional<Manifest> readable_manifest(const std::string& checkpoint) {
  try {
    return read_manifest(checkpoint);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::optional<std::int64_t> best_of(const Manifest& manifest) {
  const auto best = manifest.followed.find(kFollowedBest);
  if (best == manifest.followed.end() || !best->second.contains("step")) return std::nullopt;
  return best->second["step"].get<std::int64_t>();
}

// The best one of those that are there: as the newest manifest says, or, where that one could not be written, an older
// manifest.
std::optional<std::int64_t> best_present(const std::vector<CheckpointEntry>& entries) {
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    const std::optional<Manifest> manifest = readable_manifest(entry->path);
    const std::optional<std::int64_t> best = manifest ? best_of(*manifest) : std::nullopt;
    if (best && std::ranges::find(entries, *best, &CheckpointEntry::step) != entries.end()) return best;
  }
  return std::nullopt;
}

// It loses its name at once: a kill meanwhile leaves no broken checkpoint behind.
void remove_checkpoint(const CheckpointEntry& entry, const FileSystem& files) {
  const std::string unfinished = directory_of(entry.path) + "/" + unfinished_name(entry.step);
  files.remove(unfinished);
  files.rename(entry.path, unfinished);
  files.remove(unfinished);
}

}  // namespace

void remove_old_checkpoints(const std::string& directory, std::int64_t current, const Retention& retention,
                            const FileSystem& files) {
  auto entries = list_checkpoints(directory);
  std::erase_if(entries, [&](const CheckpointEntry& entry) { return entry.step > current; });
  const std::optional<std::int64_t> best = best_present(entries);
  std::int64_t kept = 0;
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    const std::optional<Manifest> manifest = readable_manifest(entry->path);
    if (entry->step == current || kept < retention.keep) {
      kept += manifest.has_value();
      continue;
    }
    const bool for_ever = retention.keep_every > 0 && entry->step % retention.keep_every == 0;
    if (!for_ever && entry->step != best) remove_checkpoint(*entry, files);
  }
}

void remove_unfinished(const std::string& directory, const FileSystem& files) {
  std::error_code gone;
  for (std::filesystem::directory_iterator entry(directory, gone), end; !gone && entry != end; entry.increment(gone)) {
    const std::string name = entry->path().filename();
    if (name.starts_with(".step-") && name.ends_with(".tmp")) files.remove(entry->path());
  }
}

std::optional<std::int64_t> best_step(const std::string& directory) {
  return best_present(list_checkpoints(directory));
}

}  // namespace lockstep
