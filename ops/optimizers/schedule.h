// Learning-rate schedules: a pure function of the step, the same on every rank and after a restart.
//
//   learning_rate = 0.001              a constant, or a table:
//
//   [train.learning_rate]
//   schedule = "cosine"
//   initial = 0.1
//   warmup_epochs = 5
//
// With r = initial, W = warm-up steps, k = step - W, and N = decay steps (default: the rest of
// training; for exponential one epoch):
//
//   warm-up      while step < W: warmup_initial + (r - warmup_initial) * (step + 1) / W
//   constant     r
//   step         r * gamma^(number of boundaries <= step), or r * gamma^floor(step / step_size),
//                both counted from step 0. PyTorch's MultiStepLR and StepLR.
//   cosine       final + (r - final) * (1 + cos(pi * min(k, N) / N)) / 2
//                Loshchilov & Hutter, ICLR 2017; PyTorch's CosineAnnealingLR until it ends.
//   linear       r + (final - r) * min(k, N) / N
//                PyTorch's LinearLR; Keras' PolynomialDecay of power 1.
//   exponential  r * gamma^(k / N), with staircase = true k / N is rounded down
//                Keras' ExponentialDecay; PyTorch's ExponentialLR has the staircase.
//
// Every length may be given in steps or in epochs, not both.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/settings.h"

namespace lockstep {

struct ScheduleOptions {
  std::string schedule = "constant";  // one of Schedule::kinds()
  double initial = 0.001;
  double final = 0.0;           // cosine, linear
  double gamma = 0.1;           // step, exponential
  bool staircase = false;       // exponential
  double warmup_initial = 0.0;  // the rate that the warm-up starts above
  // Lengths; those in epochs are turned into steps by finish(). Negative: not given.
  double warmup_steps = -1, warmup_epochs = -1;
  double decay_steps = -1, decay_epochs = -1;                 // cosine, linear, exponential
  double step_size = -1, step_epochs = -1;                    // step
  std::vector<double> boundaries = {}, boundary_epochs = {};  // step; rising
};

class Schedule {
 public:
  // Reads "learning_rate" of [train].
  static Schedule make(Settings& train);
  static std::vector<std::string> kinds();
  // Throws bad_input for an unknown kind or impossible values.
  explicit Schedule(ScheduleOptions options = {});

  // Says how long an epoch and the whole training are, in steps. REQUIRES: both >= 1. Call it
  // before at().
  void finish(double steps_per_epoch, std::int64_t total_steps);

  // The learning rate of the update after `step` updates. REQUIRES: finish() was called, step >= 0.
  double at(std::int64_t step) const;

  const ScheduleOptions& options() const { return options_; }

 private:
  double after_warmup(double step) const;

  ScheduleOptions options_;
  bool finished_ = false;
  double warmup_ = 0, decay_ = 0, step_size_ = 0;  // in steps
  std::vector<double> boundaries_;                 // in steps
};

}  // namespace lockstep
