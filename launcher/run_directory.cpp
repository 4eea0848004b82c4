#include "launcher/run_directory.h"

#include <filesystem>

#include "core/base/error.h"

namespace lockstep {
namespace {

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(std::filesystem::symlink_status(path, ignored));
}

// Removes what a run leaves, and nothing else.
void remove_run(const RunDirectory& run, const FileSystem& files) {
  for (const std::string& name : list_files(run.path())) {
    if (name.starts_with("events.out.tfevents.")) files.remove(run.path() + "/" + name);
  }
  // The configuration goes last: until then the directory is still seen to hold a run.
  for (const std::string& path : {run.summary(), run.failure(), run.evaluation(), run.report(),
                                  run.restarts(), run.log(), run.data(), run.algorithms(), run.checkpoints(),
                                  run.config()}) {
    files.remove(path);
  }
}

}  // namespace

RunDirectory::RunDirectory(std::string path) : path_(std::move(path)) {
  while (path_.size() > 1 && path_.ends_with('/')) path_.pop_back();
}

bool RunDirectory::holds_run() const {
  for (const std::string& path : {config(), log(), summary(), checkpoints()}) {
    if (exists(path)) return true;
  }
  return false;
}

RunDirectory RunDirectory::create(const std::string& path, ExistingRun existing,
                                  const FileSystem& files) {
  check_input(!path.empty(), "the run directory has an empty name");
  const RunDirectory run(path);
  if (exists(run.path()) && !is_directory(run.path())) {
    bad_input(run.path(), ": expected a directory for the run, found a file");
  }
  if (existing == ExistingRun::kRefuse && run.holds_run()) {
    bad_input(run.path(),
              ": holds a run already; go on with --resume, replace it with --overwrite, "
              "or name another directory with --run");
  }
  files.make_directories(run.path());
  // Writing a file shows what no look at permissions can: read-only mounts, quotas, a full disk.
  files.remove(files.create_temporary(run.path() + "/writable"));
  if (existing == ExistingRun::kOverwrite) remove_run(run, files);
  if (existing == ExistingRun::kResume) {
    files.remove(run.summary());
    files.remove(run.failure());
  }
  return run;
}

RunDirectory RunDirectory::open(const std::string& path) {
  const RunDirectory run(path);
  if (!exists(run.path())) bad_input(run.path(), ": there is no such run directory");
  if (!is_directory(run.path())) {
    bad_input(run.path(), ": expected a run directory, found a file");
  }
  if (!run.holds_run()) {
    bad_input(run.path(),
              ": holds no run (it has no config.toml, log.jsonl, summary.json or "
              "checkpoints)");
  }
  return run;
}

}  // namespace lockstep
