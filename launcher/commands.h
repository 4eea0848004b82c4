// The commands of the program. Each returns its exit code (0 done, 75 stopped with a checkpoint); failures are
// exceptions. Only the training and evaluation commands join a world of several workers; launch starts one.
#pragma once

#include <chrono>

#include "launcher/environment.h"
#include "launcher/options.h"

namespace lockstep {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitBadInput = 2;
inline constexpr int kExitStopped = 75;

// Of the process.
struct ProgramContext {
  Environment environment;
  std::chrono::steady_clock::time_point started;
};

int run_command(const TrainCommand& command, const ProgramContext& context);
int run_command(const EvaluateCommand& command, const ProgramContext& context);
int run_command(const PredictCommand& command, const ProgramContext& context);
int run_command(const PlanCommand& command, const ProgramContext& context);
int run_command(const DataInspectCommand& command, const ProgramContext& context);
int run_command(const DataVerifyCommand& command, const ProgramContext& context);
int run_command(const DataImportCommand& command, const ProgramContext& context);
int run_command(const DataSynthesizeCommand& command, const ProgramContext& context);
int run_command(const CheckpointListCommand& command, const ProgramContext& context);
int run_command(const CheckpointVerifyCommand& command, const ProgramContext& context);
int run_command(const CheckpointDiffCommand& command, const ProgramContext& context);
int run_command(const CheckpointExportCommand& command, const ProgramContext& context);
int run_command(const CheckpointImportCommand& command, const ProgramContext& context);
int run_command(const CheckpointAverageCommand& command, const ProgramContext& context);
int run_command(const ReportCommand& command, const ProgramContext& context);
int run_command(const BenchAllReduceCommand& command, const ProgramContext& context);
int run_command(const LaunchCommand& command, const ProgramContext& context);
int run_command(const DoctorCommand& command, const ProgramContext& context);
int run_command(const ShowText& command, const ProgramContext& context);

}  // namespace lockstep
