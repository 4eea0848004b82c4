#include "launcher/fit.h"

#include <chrono>
#include <cmath>

#include "core/base/error.h"
#include "dist/agree.h"
#include "launcher/checkpoint.h"

namespace lockstep {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Steps between two questions whether any rank wants to stop, where there are several ranks.
constexpr std::int64_t kStepsBetweenVotes = 16;

class FitLoop {
 public:
  FitLoop(Training& training, const FitOptions& options, FitObserver& observer)
      : training_(training), options_(options), observer_(observer) {}

  FitStatus run() {
    const std::int64_t per_epoch = training_.steps_per_epoch();
    Progress& progress = training_.worker().progress();
    while (training_.step() < training_.total_steps()) {
      progress.begin_step(training_.step() + 1);
      if (options_.before_step) options_.before_step(training_.step() + 1);
      if (check_is_due(training_.step() + 1)) training_.check_replicas();
      const StepResult result = training_.run_step();
      if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm)) fail(result);
      const std::int64_t step = training_.step();
      observer_.on_step(step, (step - 1) / per_epoch + 1, result);
      const bool epoch_ends = step % per_epoch == 0, last = step == training_.total_steps();
      if (epoch_ends || last) evaluate((step + per_epoch - 1) / per_epoch, last);
      if (checkpoint_is_due(step, epoch_ends) || last) save();
      if (!last && stop_agreed(step)) {
        save();
        return FitStatus::kStopped;
      }
    }
    return FitStatus::kDone;
  }

 private:
  void evaluate(std::int64_t epoch, bool last) {
    const std::int64_t every = training_.config().evaluate.every;
    if (!training_.data().has_test() || (!last && (every == 0 || epoch % every != 0))) return;
    training_.worker().progress().enter(Phase::kEvaluation);
    const auto start = Clock::now();
    Evaluation record{training_.step(), epoch, training_.evaluate(training_.data().test), 0};
    record.seconds = seconds_since(start);
    observer_.on_evaluation(record);
  }

  bool checkpoint_is_due(std::int64_t step, bool epoch_ends) const {
    const std::int64_t every = training_.config().checkpoint.every_steps;
    return every == 0 ? epoch_ends : step % every == 0;
  }

  bool check_is_due(std::int64_t step) const {
    const std::int64_t every = training_.config().run.check_every;
    return every > 0 && step % every == 0;
  }

  void save() {
    if (options_.checkpoint_directory.empty()) return;
    training_.check_replicas();
    training_.worker().progress().enter(Phase::kCheckpoint);
    const auto start = Clock::now();
    save_checkpoint(training_, options_.checkpoint_directory, training_.config().checkpoint.keep);
    observer_.on_checkpoint(training_.step(), seconds_since(start));
  }

  bool stop_agreed(std::int64_t step) {
    if (!options_.stop_requested) return false;
    Worker& worker = training_.worker();
    if (worker.world_size() == 1) return options_.stop_requested();
    if (step % kStepsBetweenVotes != 0) return false;
    const double mine = options_.stop_requested() ? 1 : 0;
    for (const auto& vote : gather_doubles(worker.communicator(), {mine}, "vote on stopping")) {
      if (vote.at(0) != 0) return true;
    }
    return false;
  }

  [[noreturn]] void fail(const StepResult& result) {
    const std::string where = training_.find_not_finite();
    save();
    const std::string kept =
        options_.checkpoint_directory.empty()
            ? std::string("the parameters are those before this step")
            : text("the state before this step is kept in ", options_.checkpoint_directory);
    const bool loss = !std::isfinite(result.loss);
    // All ranks are here with the same message.
    throw SharedError(ErrorKind::kEnvironment,
                      text("step ", training_.step() + 1, ": the ", loss ? "loss" : "gradient norm", " is ",
                           loss ? result.loss : result.gradient_norm,
                           where.empty() ? std::string() : text("; it begins in ", where),
                           "; the learning rate is ", result.learning_rate,
                           ", try a smaller one or train.clip_norm; ", kept));
  }

  Training& training_;
  const FitOptions& options_;
  FitObserver& observer_;
};

}  // namespace

FitStatus fit(Training& training, const FitOptions& options, FitObserver& observer) {
  return FitLoop(training, options, observer).run();
}

}  // namespace lockstep
