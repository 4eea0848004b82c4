#include "launcher/fit.h"

#include <chrono>
#include <cmath>
#include <optional>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "dist/agree.h"
#include "launcher/vote.h"

namespace lockstep {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kFollowedForStopping[] = "train.early_stopping";

// A metric that is followed over the run, kept in the manifests under its name; nothing where it is not wanted.
class Followed {
 public:
  Followed(const char* name, const std::string& metric, double min_delta, const Manifest* resumed) : name_(name) {
    if (metric.empty()) return;
    best_.emplace(metric, min_delta);
    if (resumed == nullptr) return;
    const auto kept = resumed->followed.find(name);
    if (kept != resumed->followed.end()) best_->resume(best_state_from_json(kept->second.dump()));
  }

  bool update(std::int64_t step, const std::vector<MetricValue>& values) {
    return best_ && best_->update(step, values);
  }
  const std::optional<BestSoFar>& best() const { return best_; }
  void keep(std::map<std::string, nlohmann::json>& in) const {
    if (best_) in[name_] = nlohmann::json::parse(to_json(best_->state()));
  }

 private:
  const char* name_;
  std::optional<BestSoFar> best_;
};

class FitLoop {
 public:
  FitLoop(Training& training, const FitOptions& options, FitObserver& observer)
      : training_(training),
        options_(options),
        observer_(observer),
        vote_(training.worker()),
        best_(kFollowedBest, training.config().checkpoint.best, 0, options.resumed),
        stopping_(kFollowedForStopping, stopping_metric(training.config()), stopping_delta(training.config()),
                  options.resumed) {
    if (options.checkpoint_directory.empty()) return;
    const CheckpointConfig& config = training.config().checkpoint;
    writer_.emplace(training, CheckpointOptions{
                                  .directory = options.checkpoint_directory,
                                  .retention = {.keep = config.keep, .keep_every = config.keep_every},
                                  .loaded_step = options.resumed != nullptr ? options.resumed->step : -1,
                                  .belonging = options.log_files,
                                  .ended = [this](const CheckpointOutcome& how) { observer_.on_checkpoint_end(how); }});
  }

  FitStatus run() {
    if (options_.resumed != nullptr && !options_.resumed->evaluated && training_.data().has_test()) {
      if (!evaluate()) return stop();
      if (writer_) writer_->amend(notes());
    }
    while (training_.next_step() <= training_.total_steps() && !is_stopped_early()) {
      if (asked_to_stop(vote_)) return stop();
      const std::int64_t step = training_.next_step();
      const bool epoch_ends = step % training_.steps_per_epoch() == 0, last = step == training_.total_steps();
      const bool evaluates = evaluation_is_due(step, epoch_ends, last);
      begin_step();
      metrics_.clear();
      is_best_ = false;
      // What is done with the state after this step needs the step to be done.
      finish_steps(last || evaluates || checkpoint_is_due(step, epoch_ends) ? 0 : training_.steps_ahead());
      if (evaluates && !evaluate()) return stop();
      if (last || is_stopped_early()) break;
      if (checkpoint_is_due(step, epoch_ends)) save();
    }
    save();
    finish();
    if (is_stopped_early()) observer_.on_early_stop(stopping_.best()->state());
    return FitStatus::kDone;
  }

 private:
  static std::string stopping_metric(const Config& config) {
    return config.train.early_stopping ? config.train.early_stopping->metric : std::string();
  }
  static double stopping_delta(const Config& config) {
    return config.train.early_stopping ? config.train.early_stopping->min_delta : 0.0;
  }

  void begin_step() {
    const std::int64_t step = training_.next_step();
    training_.worker().progress().begin_step(step);
    if (options_.before_step) options_.before_step(step);
    if (check_is_due(step)) check_replicas();
    training_.begin_step();
  }

  // Until at most that many are under way.
  void finish_steps(int under_way) {
    while (training_.steps_under_way() > under_way) {
      const StepResult result = training_.finish_step();
      if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm)) fail(result);
      observer_.on_step(training_.step(), (training_.step() - 1) / training_.steps_per_epoch() + 1, result);
    }
  }

  // The ranks vote, where it is time to. Whether one wants to stop; a checkpoint that is being written goes on.
  bool asked_to_stop(Vote& vote) {
    if (!vote.due()) return false;
    const bool pending = writer_ && writer_->pending();
    const Ballot any = vote.cast({.stop = options_.stop_requested && options_.stop_requested(),
                                   .busy = pending && writer_->busy()});
    if (pending && !any.busy) writer_->advance();
    return any.stop;
  }

  bool evaluation_is_due(std::int64_t step, bool epoch_ends, bool last) const {
    const std::int64_t every = training_.config().evaluate.every, per_epoch = training_.steps_per_epoch();
    if (!training_.data().has_test()) return false;
    return last || (epoch_ends && every > 0 && step / per_epoch % every == 0);
  }

  // False where it was given up, because a rank wants to stop.
  bool evaluate() {
    training_.worker().progress().enter(Phase::kEvaluation);
    const auto start = Clock::now();
    const std::int64_t step = training_.step(), per_epoch = training_.steps_per_epoch();
    evaluated_ = false;
    Evaluation record{step, (step + per_epoch - 1) / per_epoch, {}, 0};
    // A batch takes another time than a step, so their votes are apart.
    Vote vote(training_.worker());
    const auto keep_going = [&] { return !asked_to_stop(vote); };
    record.metrics = training_.evaluate(training_.data().test, {.keep_going = keep_going});
    if (record.metrics.empty()) return false;
    evaluated_ = true;
    record.seconds = seconds_since(start);
    for (const MetricValue& metric : record.metrics) {
      if (metric.shape.rank() == 0) metrics_[metric.name] = metric.values.at(0);
    }
    is_best_ = best_.update(step, record.metrics);
    stopping_.update(step, record.metrics);
    observer_.on_evaluation(record);
    return true;
  }

  bool is_stopped_early() const {
    return stopping_.best() &&
           stopping_.best()->evaluations_since_best() >= training_.config().train.early_stopping->patience;
  }

  bool checkpoint_is_due(std::int64_t step, bool epoch_ends) const {
    const std::int64_t every = training_.config().checkpoint.every_steps;
    return is_best_ || (every == 0 ? epoch_ends : step % every == 0);
  }

  bool check_is_due(std::int64_t step) const {
    const std::int64_t every = training_.config().run.check_every;
    return every > 0 && step % every == 0;
  }

  // Where the replicas differ, the checkpoint that is being written is still of equal ones.
  void check_replicas() {
    finish_steps(0);
    try {
      training_.check_replicas();
    } catch (const SharedError&) {
      if (writer_) writer_->finish();
      throw;
    }
  }

  CheckpointNotes notes() const {
    CheckpointNotes notes{.evaluated = evaluated_, .metrics = metrics_};
    best_.keep(notes.followed);
    stopping_.keep(notes.followed);
    return notes;
  }

  void save() {
    if (!writer_) return;
    training_.worker().progress().enter(Phase::kCheckpoint);
    const auto start = Clock::now();
    check_replicas();
    if (writer_->begin(notes())) observer_.on_checkpoint(training_.step(), seconds_since(start));
  }

  // What was begun last must be on the disk.
  void finish() {
    if (!writer_) return;
    training_.worker().progress().enter(Phase::kCheckpoint);
    const CheckpointOutcome& last = writer_->finish();
    if (last.error.empty()) return;
    throw SharedError(ErrorKind::kEnvironment,
                      text("step ", last.step, ": its checkpoint could not be written: ", last.error));
  }

  FitStatus stop() {
    finish_steps(0);
    save();
    finish();
    return FitStatus::kStopped;
  }

  [[noreturn]] void fail(const StepResult& result) {
    const std::string where = training_.find_not_finite();
    std::string kept = options_.checkpoint_directory.empty()
                           ? std::string("the parameters are those before this step")
                           : text("the state before this step is kept in ", options_.checkpoint_directory);
    try {
      save();
      finish();
    } catch (const SharedError& error) {
      kept = text("besides, ", error.what());
    }
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
  Vote vote_;  // after steps
  Followed best_, stopping_;
  std::map<std::string, double> metrics_;  // of the evaluation at this step
  bool evaluated_ = true;                  // the evaluation that was due last is made
  bool is_best_ = false;                   // it was the best so far
  std::optional<CheckpointWriter> writer_;
};

}  // namespace

FitStatus fit(Training& training, const FitOptions& options, FitObserver& observer) {
  return FitLoop(training, options, observer).run();
}

}  // namespace lockstep
