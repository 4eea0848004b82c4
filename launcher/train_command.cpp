// lockstep train CONFIG: from the configuration to a finished run directory.
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <optional>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "dist/agree.h"
#include "launcher/checkpoint/resume.h"
#include "launcher/commands.h"
#include "launcher/evaluation_detail.h"
#include "launcher/fault.h"
#include "launcher/fit.h"
#include "launcher/log.h"
#include "launcher/run_directory.h"
#include "launcher/setup.h"
#include "launcher/stop_signal.h"
#include "launcher/straggler.h"
#include "launcher/summary.h"
#include "launcher/tensorboard.h"
#include "launcher/trace_file.h"
#include "launcher/vote.h"
#include "launcher/weights/initial_weights.h"

namespace lockstep {
namespace {

using Clock = std::chrono::steady_clock;

std::int64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

std::vector<std::pair<std::string, double>> scalars(const std::vector<MetricValue>& metrics) {
  std::vector<std::pair<std::string, double>> out;
  for (const MetricValue& metric : metrics) {
    if (metric.shape.rank() == 0) out.emplace_back(metric.name, metric.values.at(0));
  }
  return out;
}

// What rank 0 writes while it trains: log, TensorBoard, progress line. The other ranks only count.
class RunWriter final : public FitObserver {
 public:
  RunWriter(Training& training, const std::vector<WorkerPlace>& places, const RunDirectory& run,
            const TrainCommand& command, const ProgramContext& context, const Manifest* resumed)
      : training_(training), places_(places), command_(command), context_(context), started_(Clock::now()), last_(started_) {
    if (training.worker().rank() != 0) return;
    log_.emplace(run.log(), training.step(), resumed == nullptr || resumed->evaluated);
    events_.emplace(run.path(), training.step());
    ProgressOptions progress = ProgressLine::options_for(stdout);
    progress.quiet = command.quiet;
    progress.epochs = training.config().train.epochs;
    progress.steps = training.total_steps();
    progress.first_step = training.step();
    progress_.emplace(stdout, progress);
  }

  void on_step(std::int64_t step, std::int64_t epoch, const StepResult& result) override {
    const Clock::time_point now = Clock::now();
    const double took = seconds_between(last_, now);
    last_ = now;
    last_loss_ = result.loss;
    if (++steps_done_ == 1) {
      seconds_to_first_step_ = seconds_between(context_.started, now);
    } else {
      steady_samples_ += static_cast<double>(result.samples);
      steady_seconds_ += took;
    }
    const RunSeconds& run = result.run_seconds;
    for (const auto& [sum, seconds] : {std::pair(&worked_.data, result.data_seconds), std::pair(&worked_.forward, run.forward),
                                       std::pair(&worked_.backward, run.backward), std::pair(&worked_.exchange, run.exchange),
                                       std::pair(&worked_.update, run.update), std::pair(&worked_.exchange_hidden, run.hidden)}) {
      *sum += seconds;
    }
    if (!log_) return;
    const StepRecord record{.step = step,
                            .epoch = epoch,
                            .loss = result.loss,
                            .learning_rate = result.learning_rate,
                            .samples_per_second = static_cast<double>(result.samples) / took,
                            .elapsed = seconds_between(started_, now),
                            .seconds = {.data = result.data_seconds,
                                        .forward = result.run_seconds.forward,
                                        .backward = result.run_seconds.backward,
                                        .exchange = result.run_seconds.exchange,
                                        .update = result.run_seconds.update,
                                        .checkpoint = checkpoint_seconds_,
                                        .exchange_hidden = result.run_seconds.hidden}};
    checkpoint_seconds_ = 0;
    log_->step(record);
    events_->step(record);
    progress_->step(record);
  }

  void on_evaluation(const Evaluation& evaluation) override {
    last_ = Clock::now();
    trace(Phase::kEvaluation, evaluation.seconds);
    const auto values = scalars(evaluation.metrics);
    evaluated_ = values;
    if (!log_) return;
    std::vector<NamedNumber> metrics;
    for (const auto& [name, value] : values) metrics.push_back({name, value});
    const EvaluationRecord record{.step = evaluation.step,
                                  .epoch = evaluation.epoch,
                                  .metrics = metrics,
                                  .elapsed = seconds_between(started_, last_),
                                  .seconds = evaluation.seconds};
    log_->evaluation(record);
    events_->evaluation(record);
    progress_->evaluation(record);
  }

  void on_checkpoint(std::int64_t step, double seconds) override {
    trace(Phase::kCheckpoint, seconds);
    worked_.checkpoint += seconds;
    compare_workers(step);
    checkpoint_seconds_ = seconds;
    last_ = Clock::now();
    if (!log_) return;
    const std::string& problem = log_->try_flush();
    if (!problem.empty() && problem != log_problem_) warn(text(problem, "; its lines are kept in memory and tried again"));
    log_problem_ = problem;
  }

  void on_checkpoint_end(const CheckpointOutcome& how) override {
    if (!progress_) return;
    if (!how.error.empty()) {
      warn(text("the checkpoint of step ", how.step, " could not be written: ", how.error,
                "; those before it are kept"));
    } else if (how.waited > kLongWait) {
      warn(text("the training waited ", short_duration(how.waited), " for the checkpoint of step ", how.step, ", which took ",
                short_duration(how.seconds), " to write: the disk is slow; raise checkpoint.every_steps"));
    }
  }

  void on_early_stop(const BestState& state) override {
    if (!progress_ || command_.quiet) return;
    progress_->note(text("stopped early: ", state.metric, " has not been better than at step ", state.step, " (",
                         state.value, ") for ", state.evaluations, " evaluations"));
  }

  void finish() {
    if (!log_) return;
    log_->flush();
    events_->flush();
    progress_->finish();
  }

  double seconds() const { return seconds_since(started_); }
  double seconds_to_first_step() const { return seconds_to_first_step_; }
  double samples_per_second() const {
    return steady_seconds_ > 0 ? steady_samples_ / steady_seconds_ : 0;
  }
  double last_loss() const { return last_loss_; }
  // The numbers of the last evaluation.
  const std::vector<std::pair<std::string, double>>& evaluated() const { return evaluated_; }

 private:
  static constexpr double kLongWait = 1;  // seconds for a checkpoint that is still being written

  void warn(const std::string& message) {
    progress_->finish();
    std::fflush(stdout);
    std::fprintf(stderr, "lockstep: warning: %s\n", on_one_line(message).c_str());
  }

  // Something that ends now.
  void trace(Phase phase, double seconds) const {
    Trace* const trace = training_.trace();
    if (trace == nullptr || !trace->recording()) return;
    const std::int64_t now = monotonic_nanoseconds();
    trace->record(trace->name(name_of(phase)), Track::kPhase, now - static_cast<std::int64_t>(seconds * 1e9), now);
  }

  // Every worker tells where its time went since the last such line. All ranks are here.
  void compare_workers(std::int64_t step) {
    Worker& worker = training_.worker();
    if (worker.world_size() == 1) return;
    const std::vector<double> mine = {worked_.data,   worked_.forward,    worked_.backward,       worked_.exchange,
                                      worked_.update, worked_.checkpoint, worked_.exchange_hidden};
    worked_ = {};
    std::vector<WorkerSeconds> workers;
    std::vector<PhaseSeconds> seconds;
    for (const std::vector<double>& s : gather_doubles(worker.communicator(), mine, "comparison of the workers")) {
      seconds.push_back({s.at(0), s.at(1), s.at(2), s.at(3), s.at(4), s.at(5), s.at(6)});
      workers.push_back({places_.at(workers.size()).host, seconds.back()});
    }
    const std::optional<Straggler> slowest = find_straggler(seconds);
    if (log_) log_->workers(step, workers, slowest ? &*slowest : nullptr);
  }

  Training& training_;
  const std::vector<WorkerPlace>& places_;
  const TrainCommand& command_;
  const ProgramContext& context_;
  Clock::time_point started_, last_;
  std::optional<TrainingLog> log_;
  std::optional<EventFile> events_;
  std::optional<ProgressLine> progress_;
  std::int64_t steps_done_ = 0;
  double steady_samples_ = 0, steady_seconds_ = 0, seconds_to_first_step_ = 0;
  double checkpoint_seconds_ = 0;
  double last_loss_ = std::nan("");  // none yet
  PhaseSeconds worked_;  // since the workers were compared last
  std::vector<std::pair<std::string, double>> evaluated_;
  std::string log_problem_;  // that was told
};

// Rank 0 makes the run directory; all ranks hear of it when it cannot.
RunDirectory prepare_directory(const TrainCommand& command, Setup& setup) {
  RunDirectory run(run_directory_of(command));
  const ExistingRun existing = command.resume      ? ExistingRun::kResume
                               : command.overwrite ? ExistingRun::kOverwrite
                                                   : ExistingRun::kRefuse;
  together(setup.worker->communicator(), [&] {
    if (setup.worker->rank() != 0) return;
    run = RunDirectory::create(run.path(), existing);
    local_files().write_atomic(run.data(), to_json(setup.data.record));
    const AlgorithmCache* const algorithms = setup.worker->device().algorithms();
    if (algorithms != nullptr && setup.config.run.autotune) algorithms->save(run.algorithms());
    local_files().write_atomic(run.config(), setup.config.toml_of_run(setup.worker->world_size()));
  });
  return run;
}

// The weights that a training begins with, where they are not fresh ones.
void begin(const TrainCommand& command, Setup& setup) {
  if (!setup.config.train.initial_weights) return;
  const BegunWeights begun = begin_with_initial_weights(*setup.training);
  if (setup.worker->rank() == 0 && !command.quiet) std::printf("begins with %s\n", to_string(begun).c_str());
}

LoadedCheckpoint resume(const TrainCommand& command, const RunDirectory& run, Setup& setup) {
  LoadedCheckpoint loaded = load_newest_checkpoint(*setup.training, run.checkpoints());
  if (!loaded.found) begin(command, setup);
  if (setup.worker->rank() != 0) return loaded;
  for (const std::string& why : loaded.passed_over) {
    std::fprintf(stderr, "lockstep: warning: passed over a broken checkpoint: %s\n", why.c_str());
  }
  if (command.quiet) return loaded;
  if (loaded.found) {
    std::printf("resumed from %s\n", loaded.path.c_str());
  } else {
    std::printf("%s has no checkpoint: starting afresh\n", run.path().c_str());
  }
  return loaded;
}

Summary summary_of(Setup& setup, const RunWriter& writer, FitStatus status) {
  Training& training = *setup.training;
  Communicator& communicator = setup.worker->communicator();
  Summary summary;
  summary.status = status == FitStatus::kDone ? "finished" : "stopped";
  summary.world_size = communicator.size();
  summary.microbatches = training.microbatches();
  summary.global_batch = setup.config.train.global_batch;
  summary.device = name_of(setup.worker->device().kind());
  summary.steps = training.step();
  summary.epochs = training.step() / training.steps_per_epoch();
  summary.seconds = writer.seconds();
  summary.seconds_to_first_step = writer.seconds_to_first_step();
  summary.samples_per_second = writer.samples_per_second();
  for (const auto& peak : gather_doubles(communicator, {static_cast<double>(peak_rss_bytes())}, "summary")) {
    summary.peak_rss_bytes = std::max(summary.peak_rss_bytes, static_cast<std::int64_t>(peak.at(0)));
  }
  summary.final_loss = writer.last_loss();
  summary.evaluation = writer.evaluated();
  summary.parameters = training.parameter_count();
  summary.parameters_sha256 = training.parameters_sha256();
  return summary;
}

void print_result(const Summary& summary, const RunDirectory& run) {
  std::string line = text(summary.status, " after ", summary.steps, " steps (", summary.epochs,
                          " epochs) in ", short_duration(summary.seconds), ", ",
                          short_number(summary.samples_per_second), " samples/s");
  for (const auto& [name, value] : summary.evaluation) {
    char number[32];
    std::snprintf(number, sizeof number, "%.4g", value);
    line += ", " + name + " " + number;
  }
  std::printf("%s\nrun directory: %s\n", line.c_str(), run.path().c_str());
}

// failure.json of what all ranks know; what one rank alone knows is told by the watchdog.
void write_shared_failure(const RunDirectory& run, const Setup& setup, const std::exception& error) {
  const auto* known = dynamic_cast<const Error*>(&error);
  const bool invariant = known != nullptr && known->kind() == ErrorKind::kInvariant;
  write_failure(run.failure(), {.kind = invariant ? "invariant" : "environment",
                                .rank = setup.worker->rank(),
                                .step = setup.training->step(),
                                .message = error.what()});
}

// The watchdog's thread calls this on the rank that tells a fault.
void tell_fault(const RunDirectory& run, const FaultReport& report) {
  std::fprintf(stderr, "lockstep: %s\n", report.to_string().c_str());
  write_failure(run.failure(), {.kind = "environment",
                                .rank = report.culprit.rank,
                                .step = report.culprit.step,
                                .message = report.to_string(),
                                .host = report.culprit.host,
                                .phase = name_of(report.culprit.phase),
                                .ranks = report.ranks});
}

// Why this is not a GPU's run, where nobody asked for the CPU; what was measured before; and what a default costs.
void tell_device(const TrainCommand& command, const Setup& setup) {
  if (command.quiet || setup.worker->rank() != 0) return;
  if (!setup.why_cpu.empty()) std::printf("computing on the CPU: %s\n", setup.why_cpu.c_str());
  const std::int64_t microbatches = setup.training->microbatches(), workers = setup.worker->world_size();
  const bool by_default = setup.config.train.microbatches == kMicrobatchesAuto;
  if (setup.worker->device().kind() == DeviceKind::kCuda && by_default && microbatches > workers) {
    std::printf("a batch is computed in %lld parts, so that up to %lld GPUs give the same bits; train.microbatches = \"world\" "
                "is faster on fewer\n", static_cast<long long>(microbatches), static_cast<long long>(microbatches));
  }
  const Autotuned& tuned = setup.autotuned;
  if (tuned.measured == 0) return;
  std::printf("chose the fastest algorithms for %zu problems in %s\n", tuned.measured, short_duration(tuned.seconds).c_str());
}

// --dry-run: everything is ready; says what would run where.
int show_preparation(Setup& setup) {
  if (setup.worker->rank() != 0) return kExitDone;
  const Plan& plan = setup.training->training_plan();
  std::printf("%d workers, %lld microbatches, %lld parameters, %lld steps\n%s", setup.worker->world_size(),
              static_cast<long long>(setup.training->microbatches()),
              static_cast<long long>(setup.training->parameter_count()),
              static_cast<long long>(setup.training->total_steps()),
              to_table(setup.places, name_of(setup.worker->device().kind())).c_str());
  std::printf("memory of a worker: %.1f MB; all ranks agree; nothing was written\n",
              static_cast<double>(memory_of(plan) + setup.training->own_state_bytes()) / 1e6);
  return kExitDone;
}

// What a training is started with, besides its Setup.
struct Start {
  const RunDirectory& run;
  const std::vector<Fault>& faults;
  const StopSignal& signal;
  const Manifest* resumed = nullptr;  // the checkpoint that was loaded
  Trace* trace = nullptr;
};

int train(const TrainCommand& command, const ProgramContext& context, Setup& setup, const Start& start) {
  Training& training = *setup.training;
  training.trace_to(start.trace);
  const RunDirectory& run = start.run;
  const bool first = setup.worker->rank() == 0;
  const double limit = setup.config.run.time_limit;
  RunWriter writer(training, setup.places, run, command, context, start.resumed);
  const auto stop_requested = [&] {
    return start.signal.arrived() || (limit > 0 && seconds_since(context.started) > limit);
  };
  FitStatus status =
      fit(training,
          {.checkpoint_directory = run.checkpoints(),
           .resumed = start.resumed,
           .log_files = {run.log()},
           .stop_requested = stop_requested,
           .before_step = [&](std::int64_t step) { commit_faults(start.faults, step, training); }},
          writer);
  EvaluationDetail detail;
  if (status == FitStatus::kDone && training.data().has_test()) {
    Vote vote(*setup.worker);
    const auto keep_going = [&] { return !vote.due() || !vote.cast({.stop = stop_requested()}).stop; };
    detail = evaluate_in_detail(training, training.data().test, keep_going);
    // All steps are done; when it is resumed, only this is left.
    if (detail.metrics.empty()) status = FitStatus::kStopped;
  }
  setup.worker->progress().enter(Phase::kFinish);
  if (start.trace != nullptr) write_trace(command.trace, *start.trace, *setup.worker, setup.places);
  Summary summary = summary_of(setup, writer, status);
  if (!detail.metrics.empty()) summary.evaluation = scalars(detail.metrics);
  if (first) {
    writer.finish();
    if (!detail.json.empty()) local_files().write_atomic(run.evaluation(), detail.json);
    write_summary(run.summary(), summary);
    if (!command.quiet) print_result(summary, run);
  }
  return status == FitStatus::kDone ? kExitDone : kExitStopped;
}

}  // namespace

int run_command(const TrainCommand& command, const ProgramContext& context) {
  const SignalThread signals;  // before MPI and the kernels start threads
  const StopSignal signal;     // one that comes before the first step is heard there
  std::vector<Fault> faults;
  for (const std::string& fault : command.inject) faults.push_back(parse_fault(fault));
  const TracedSteps traced = command.trace_steps.empty() ? TracedSteps{} : parse_traced_steps(command.trace_steps);
  const RunDirectory resumed(run_directory_of(command));
  const auto setup = set_up({.config_path = command.config,
                             .overrides = command.set,
                             .device = command.device,
                             .pipeline = {command.print_after, command.disable_pass, &std::cout},
                             .resumed_config = command.resume ? resumed.config() : "",
                             .kept_data = command.resume ? resumed.data() : "",
                             .kept_algorithms = command.resume ? resumed.algorithms() : ""},
                            context.environment);
  tell_device(command, *setup);
  if (command.dry_run) {
    return setup->guarded([&] {
      if (!command.resume) begin(command, *setup);
      return show_preparation(*setup);
    });
  }
  std::optional<Trace> trace;
  if (!command.trace.empty()) trace.emplace(traced.first, traced.last);
  Trace* const recorder = trace ? &*trace : nullptr;
  return setup->guarded([&] {
    together(setup->worker->communicator(), [&] {
      check_faults(faults, *setup->training);
      setup->training->initialize();
    });
    // What cannot go on is refused before anything is written.
    LoadedCheckpoint loaded;
    if (command.resume) {
      loaded = resume(command, resumed, *setup);
    } else {
      begin(command, *setup);
    }
    const RunDirectory run = prepare_directory(command, *setup);
    if (setup->watchdog) {
      setup->watchdog->on_fault([&command, &setup, run, recorder](const FaultReport& report) {
        tell_fault(run, report);
        if (recorder != nullptr) write_own_trace(command.trace, *recorder, setup->places.front());
      });
    }
    try {
      return train(command, context, *setup,
                   {.run = run,
                    .faults = faults,
                    .signal = signal,
                    .resumed = loaded.found ? &loaded.manifest : nullptr,
                    .trace = recorder});
    } catch (const std::exception& error) {
      const bool told_by_watchdog = setup->watchdog && dynamic_cast<const SharedError*>(&error) == nullptr;
      if (setup->worker->rank() == 0 && !told_by_watchdog) {
        try {
          write_shared_failure(run, *setup, error);
        } catch (const Error& unwritten) {
          std::fprintf(stderr, "lockstep: besides, %s\n", unwritten.what());
        }
        if (recorder != nullptr) write_own_trace(command.trace, *recorder, setup->places.front());
      }
      throw;
    }
  });
}

}  // namespace lockstep
