// The directory that one training leaves on disk:
//
//   config.toml                 the resolved configuration
//   data.json                   what it needs to know of its training data (launcher/data_record.h)
//   algorithms                  with run.autotune: of libraries, which it computes with (launcher/autotune.h)
//   log.jsonl                   steps and evaluations, one JSON object a line (launcher/log.h)
//   events.out.tfevents.*       the same for TensorBoard (launcher/tensorboard.h)
//   checkpoints/step-NNNNNNNN/  what training resumes from
//   evaluation.json             the last evaluation in detail (launcher/report.h)
//   restarts.jsonl              what failed meanwhile (launcher/restart_log.h)
//   summary.json, failure.json  how the run ended (launcher/summary.h)
//   report.html                 written by `lockstep report`
//
// A directory holds a run where one of config.toml, log.jsonl, summary.json or checkpoints exists.
// Rank 0 creates it; every rank may use the names.
#pragma once

#include <string>
#include <string_view>

#include "core/base/file.h"

namespace lockstep {

// What to do where the directory holds a run already.
enum class ExistingRun {
  kRefuse,
  kResume,     // keep it; only what says how the run ended is removed
  kOverwrite,  // remove the files of the run, and nothing else that lies there
};

class RunDirectory {
 public:
  // Prepares the directory for a training: makes it with its parents, applies `existing`, and
  // checks that it can be written. Throws bad_input "<path>: ..." that says what to do.
  static RunDirectory create(const std::string& path, ExistingRun existing,
                             const FileSystem& files = local_files());

  // The directory of an existing run. Throws bad_input where `path` holds none.
  static RunDirectory open(const std::string& path);

  // Only the names; nothing is checked or made.
  explicit RunDirectory(std::string path);

  const std::string& path() const { return path_; }
  std::string config() const { return file("config.toml"); }
  std::string data() const { return file("data.json"); }
  std::string algorithms() const { return file("algorithms"); }
  std::string log() const { return file("log.jsonl"); }
  std::string checkpoints() const { return file("checkpoints"); }
  std::string evaluation() const { return file("evaluation.json"); }
  std::string restarts() const { return file("restarts.jsonl"); }
  std::string summary() const { return file("summary.json"); }
  std::string failure() const { return file("failure.json"); }
  std::string report() const { return file("report.html"); }

  bool holds_run() const;

 private:
  std::string file(const std::string& name) const { return path_ + "/" + name; }

  std::string path_;  // without a slash at the end
};

}  // namespace lockstep
