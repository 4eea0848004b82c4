// From a configuration to a training that is ready to run, checked on all ranks: what cannot work is refused here.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dist/watchdog.h"
#include "launcher/autotune.h"
#include "launcher/environment.h"
#include "launcher/options.h"
#include "launcher/placement.h"
#include "launcher/training.h"

namespace lockstep {

struct SetupOptions {
  std::string config_path;
  std::vector<std::string> overrides;
  DeviceChoice device = DeviceChoice::kAuto;
  PipelineOptions pipeline;
  bool compile_training = true;  // make the training Plan now
  // config.toml of the run that is resumed: where the configuration leaves the number of microbatches open, the run's is
  // kept, whatever the number of workers now. Empty: none.
  std::string resumed_config = {};
  // data.json of that run, or of the run that is evaluated; where there is none, all is computed from the data.
  std::string kept_data = {};
  // The algorithms of that run, where it was tuned (launcher/autotune.h).
  std::string kept_algorithms = {};
  DataNeed need = DataNeed::kTraining;
};

// An error that was told on stderr already: what is left is to end the process with its exit code.
class ToldError : public Error {
 public:
  using Error::Error;
};

// Refuses what every process of a launcher sees, before they know of each other: rank 0 tells it, and its end is the end of
// all, at the latest after two seconds.
[[noreturn]] void refuse_before_joining(const Environment& environment, ErrorKind kind, const std::string& message);

// join_world() of launcher/worker.h, where the processes can find each other.
std::unique_ptr<Communicator> join_world(const Environment& environment, double deadline);

// Everything that a command needs, in the order in which it is made.
struct Setup {
  Config config;
  std::string why_cpu;  // why no GPU is used, where one was looked for
  std::unique_ptr<Worker> worker;
  RunData data;
  std::unique_ptr<Training> training;
  std::unique_ptr<Watchdog> watchdog;  // null in a world of one
  Autotuned autotuned;                 // nothing where nothing had to be measured
  std::vector<WorkerPlace> places;     // of the workers, after cores were divided

  // Runs what all ranks do together. An error of this rank alone is told by the watchdog, which ends all ranks. One that all
  // ranks know is told here by rank 0, before any process can end (then mpirun ends the others), and becomes a ToldError.
  int guarded(const std::function<int()>& body);
};

// Joins the world, divides the cores, reads the configuration, opens the data, compiles, and compares the ranks: program,
// configuration, data and what they will exchange. Errors are told
// (ToldError).
std::unique_ptr<Setup> set_up(const SetupOptions& options, const Environment& environment);

// The configuration of a run directory or a TOML file. Throws bad_input.
Config load_config(const std::string& path, const std::vector<std::string>& overrides);

}  // namespace lockstep
