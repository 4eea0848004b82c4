// What rank 0 says while it trains: log.jsonl for programs and the progress line for people. Both
// are fed with the same records. Used by one thread.
//
// log.jsonl holds one JSON object a line:
//   {"step":12,"epoch":1,"loss":0.5,"learning_rate":0.001,"metrics":{"accuracy":0.875},
//    "samples_per_second":51200,"elapsed":0.41,
//    "seconds":{"data":1e-05,"compute":0.0021,"exchange":0.0003,"update":0.0001,"checkpoint":0}}
//   {"event":"evaluation","step":40,"epoch":1,"data":"test","metrics":{"loss":0.4},"elapsed":1.5,
//    "seconds":0.02}
//   {"event":"workers","step":40,"workers":[{"rank":0,"host":"a","data":0.1,"forward":0.8,...},...],
//    "slowest":{"rank":0,"phase":"forward","seconds":0.3,"share":0.2}}      (since the last such line)
// A number that is not finite is written as null, for JSON has none.
#pragma once

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

#include "launcher/append_file.h"

namespace lockstep {

struct NamedNumber {
  std::string_view name;
  double value = 0.0;
};

// Where the time of one step went. `exchange` is time spent waiting for it.
struct PhaseSeconds {
  double data = 0.0, forward = 0.0, backward = 0.0;
  double exchange = 0.0;  // in which nothing was computed
  double update = 0.0, checkpoint = 0.0;
  double exchange_hidden = 0.0;  // exchange behind computation: besides the others, not one more part of the whole
};

struct StepRecord {
  std::int64_t step = 0;   // optimizer steps done, this one included: the first has 1
  std::int64_t epoch = 0;  // the first has 1
  double loss = 0.0;
  double learning_rate = 0.0;
  std::span<const NamedNumber> metrics = {};
  double samples_per_second = 0.0;  // of all workers together
  double elapsed = 0.0;             // seconds since this process began to train
  PhaseSeconds seconds = {};
};

struct EvaluationRecord {
  std::int64_t step = 0;
  std::int64_t epoch = 0;
  std::string_view data = "test";  // what was evaluated
  std::span<const NamedNumber> metrics = {};
  double elapsed = 0.0;
  double seconds = 0.0;  // that the evaluation took
};

// One worker's seconds over some steps.
struct WorkerSeconds {
  std::string host;
  PhaseSeconds seconds = {};
};
struct Straggler;

// Appends to log.jsonl. A line costs about a microsecond and no allocation; it reaches the file
// within a second or with the next line, by flush() and at the end.
class TrainingLog {
 public:
  // Keeps the lines up to `keep_through_step` (a run that is resumed from there writes the later
  // ones again; a torn last line goes too) and appends; 0 begins a new file. `is_evaluated`: the
  // evaluation at that very step is not made again, so its line is kept too. Throws where it cannot
  // be written.
  explicit TrainingLog(const std::string& path, std::int64_t keep_through_step = 0,
                       bool is_evaluated = true);

  void step(const StepRecord& record);
  void evaluation(const EvaluationRecord& record);
  // `workers`: by rank. `slowest`: null where none is much slower.
  void workers(std::int64_t step, std::span<const WorkerSeconds> workers, const Straggler* slowest);
  // Throws failed environment where the disk does not take the lines.
  void flush() { file_.flush(); }
  // The same without throwing: why not, empty where it did. What is left is tried again with later lines.
  const std::string& try_flush();

 private:
  AppendFile file_;
};

struct ProgressOptions {
  bool terminal = false;  // redraw one line; else print plain lines now and then
  bool quiet = false;     // print nothing
  int width = 80;         // columns of the terminal
  std::int64_t epochs = 1;
  std::int64_t steps = 1;       // of the whole training
  std::int64_t first_step = 0;  // steps done before (a resumed run)
};

// On a terminal one line that is redrawn at most ten times a second and a lasting line per
// evaluation; else plain lines: the first step, then one each five seconds, and the evaluations.
// Evaluations that follow each other within a quarter of a second are left out, except the last
// one.
class ProgressLine {
 public:
  // `out` stays the caller's.
  ProgressLine(std::FILE* out, const ProgressOptions& options);
  ~ProgressLine();  // finish()
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // What suits `out`: whether it is a terminal, and how wide.
  static ProgressOptions options_for(std::FILE* out);

  void step(const StepRecord& record);
  void evaluation(const EvaluationRecord& record);
  // Prints a line of its own without tearing the progress line.
  void note(std::string_view line);
  // Ends the redrawn line, so that other output starts on a line of its own.
  void finish();

 private:
  std::string describe(const StepRecord& record) const;
  void print(std::string_view line);
  void clear();

  std::FILE* out_;
  ProgressOptions options_;
  bool drawn_ = false;  // the redrawn line is on the screen
  bool started_ = false;
  double started_at_ = 0.0;  // elapsed of the first record, for the time left
  std::int64_t started_step_ = 0;
  double shown_at_ = 0.0;  // elapsed when a step was last shown
  double evaluated_at_ = 0.0;
  PhaseSeconds spent_ = {};  // in the steps since then
  std::string left_out_;     // the last evaluation, while it has not been printed
};

// "1.23k", "45.6M": three digits and a unit. "0:07", "12:34", "1:02:03".
std::string short_number(double value);
std::string short_duration(double seconds);

}  // namespace lockstep
