// What the commands that start processes read from the command line (launcher/options.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/device_choice.h"

namespace lockstep {

// How mpirun is called.
struct LaunchTarget {
  // launcher/hosts.h; both empty: this machine, or what Slurm gave
  std::string hosts = {}, hostfile = {};
  std::string mpirun = {};            // its path; empty: the first one of PATH
  std::string remote_shell = {};      // instead of ssh
  std::vector<std::string> mca = {};  // "NAME=VALUE", more settings of Open MPI
};

struct LaunchCommand {
  LaunchTarget target;
  std::int64_t workers = 0;  // 0: one per GPU, or per core
  std::int64_t max_restarts = 0;
  std::int64_t restart_window = 3600;  // seconds in which there may be so many
  bool dry_run = false;
  bool verbose = false;              // all that mpirun says
  std::vector<std::string> command;  // "train", "digits.toml", ...: read without error
  DeviceChoice device = DeviceChoice::kCpu;  // of the command
  bool trains = false;               // it is a training that writes: it can be resumed
  std::string run;                   // its run directory
};

struct DoctorCommand {
  LaunchTarget target;
  bool gpus = false;  // only say how many GPUs there are here (launcher/gpu_count.h)
};

}  // namespace lockstep
