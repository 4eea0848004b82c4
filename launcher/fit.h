// The loop over epochs and steps around a Training: evaluation, checkpoints, stopping. What is printed and logged is up
// to the observer.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "launcher/best_so_far.h"
#include "launcher/checkpoint/checkpoint_writer.h"
#include "launcher/training.h"

namespace lockstep {

struct Evaluation {
  std::int64_t step = 0;   // optimizer steps done
  std::int64_t epoch = 0;  // epochs done
  std::vector<MetricValue> metrics;
  double seconds = 0;
};

// Called on every rank; those that print or write look at the rank themselves.
class FitObserver {
 public:
  virtual ~FitObserver() = default;
  // `step` and `epoch` count from 1: the step that was just done, and the epoch that it belongs to.
  virtual void on_step(std::int64_t step, std::int64_t epoch, const StepResult& result) = 0;
  virtual void on_evaluation(const Evaluation& record) = 0;
  // A checkpoint of the state after `step` has been begun, for which the training stood still that long: whatever belongs
  // to it is written now.
  virtual void on_checkpoint(std::int64_t, double /*seconds*/) {}
  // One is complete, or has failed.
  virtual void on_checkpoint_end(const CheckpointOutcome&) {}
  // Early stopping ends the training after this step.
  virtual void on_early_stop(const BestState&) {}
};

struct FitOptions {
  std::string checkpoint_directory = {};  // empty: no checkpoints
  // The manifest of the checkpoint that was loaded; null: the training begins.
  const Manifest* resumed = nullptr;
  // Files of rank 0 that a checkpoint stands for: the log.
  std::vector<std::string> log_files = {};
  // Asked now and then on every rank; if any rank says yes, all stop after the same step.
  std::function<bool()> stop_requested = {};
  // Called before each step, with its number from 1.
  std::function<void(std::int64_t step)> before_step = {};
};

enum class FitStatus {
  kDone,     // all steps, or stopped early by train.early_stopping
  kStopped,  // on request
};

// Trains from training.step() to training.total_steps(). Evaluates training.data().test, where there is one, every
// evaluate.every epochs and at the end; writes a checkpoint every checkpoint.every_steps steps (0: at the end of
// every epoch), at the end and when it is stopped; where checkpoint.best is followed, also after the best evaluation so
// far. A stop is heard between steps and within an evaluation, which then is made when the training goes on.
// A checkpoint that fails on the way is told to the observer and the training goes on; the last one must succeed.
//
// Throws failed environment, after writing a checkpoint of the last good state, where loss or gradient become NaN or
// infinite; and, writing nothing, where the replicas of the workers differ (compared every run.check_every steps and
// before each checkpoint).
FitStatus fit(Training& training, const FitOptions& options, FitObserver& observer);

}  // namespace lockstep
