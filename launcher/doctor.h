// What can be wrong with an installation or a list of hosts, looked at one by one: lockstep doctor.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/device/gpu_module.h"
#include "launcher/environment.h"
#include "launcher/launch_options.h"

namespace lockstep {

enum class Verdict { kOk, kWarning, kFailed };

struct Finding {
  Verdict verdict = Verdict::kOk;
  std::string what;         // was looked at: "open files"
  std::string found;        // "the limit is 256"
  std::string remedy = {};  // what to do; empty where all is well
};

// "  WARNING  open files    the limit is 256; raise it with ulimit -n 4096", without an end of
// line.
std::string to_line(const Finding& finding, bool in_color);

// Findings are told as soon as they are there.
using Tell = std::function<void(const Finding&)>;

// This machine and the libraries of this program.
void examine_machine(const Tell& tell);

// The GPUs that the program sees, the libraries of the module, and which GPUs reach each other. `nccl`: its version, empty where the
// module has none. (What a machine without any is told is part of examine_machine.)
void examine_gpus(const GpuBackend& backend, const std::string& nccl, const Tell& tell);

// mpirun, and an exchange between two workers that it starts here. False where they cannot be
// started.
bool examine_mpi(const LaunchTarget& target, const Environment& environment, const Tell& tell);

// Each host: its name, whether it can be reached, its program and clock, and the exchange with the
// first one.
void examine_hosts(const LaunchTarget& target, const Environment& environment, const Tell& tell);

// The parts that judge.

Finding judge_cores(int usable, int online,
                    double quota);  // quota: of cores, in a container; 0: none
Finding judge_open_files(std::uint64_t limit);
// `linked` of MPI_Get_library_version ("Open MPI v4.1.4, package: ..."), `started` of mpirun
// --version ("mpirun (Open MPI) 4.1.4").
Finding judge_mpi_versions(const std::string& linked, const std::string& mpirun,
                           const std::string& started);
// Seconds that the clock of a host is ahead, and how far that may be wrong.
Finding judge_clock(const std::string& host, double ahead, double error);

}  // namespace lockstep
