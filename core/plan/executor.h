// Runs Plans. Everything is resolved to pointers once, when a Plan is bound; a run is a loop over
// the steps that neither allocates nor decides anything. Steps of the communication stream are handed to it in their
// turn; those that only change states may outlive the run, and are waited for by the first step, or the first caller
// of StateStore, that needs the state.
//
// On a device that queues work a run goes on beside the host (core/plan/queued_plan.h): run() launches it, and what reads
// its results waits for it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/progress.h"
#include "core/base/trace.h"
#include "core/device/work_stream.h"
#include "core/plan/plan.h"
#include "core/plan/queued_plan.h"

namespace lockstep {

// Memory that outlives Plans: states by name. Shared by all executors of a worker.
class StateStore {
 public:
  // `communication` runs the communication steps of the Plans and outlives the store; without one they run on the
  // calling thread.
  explicit StateStore(Device& device, WorkStream* communication = nullptr)
      : device_(device), communication_(communication) {}

  // Makes the state (zeroed) where it does not exist, else waits until nothing that runs changes it. Throws
  // broken_invariant where it has another type.
  void* obtain(const std::string& name, const TensorType& type);
  bool contains(const std::string& name) const { return states_.contains(name); }
  // In the device's memory. Waits until nothing that runs changes the state.
  void* data(const std::string& name) const;
  // The state in host memory, as it is now: in its place where the device reads host memory, else a copy, which is the
  // same memory at each call. What is written there before the next run is the state after write_back().
  void* on_host(const std::string& name);
  // Brings the states that on_host() has copied since the last run back to the device.
  void write_back();
  const TensorType& type(const std::string& name) const;
  std::vector<std::string> names() const;  // sorted
  Device& device() const { return device_; }
  WorkStream* communication() const { return communication_; }

  struct State {
    TensorType type;
    Memory memory;
    WorkStream::Ticket used_until = 0;  // the last communication step that uses it
  };
  // For executors: the state as it is, without waiting. Its address stays.
  State& state(const std::string& name) { return states_.at(name); }
  // For executors: a run begins that may change any state.
  void change();

 private:
  Device& device_;
  WorkStream* communication_;
  std::map<std::string, State> states_;
  struct HostCopy {
    Memory memory;
    bool current = false;  // no run has begun since
  };
  std::map<std::string, HostCopy> copies_;
};

// The scratch memory of the Plans of one worker, of which one runs at a time.
class Arena {
 public:
  explicit Arena(Device& device) : device_(device) {}
  // Grows to at least `bytes`, and `shared_bytes` that other workers may read; the contents are lost.
  void reserve(std::size_t bytes, std::size_t shared_bytes);
  std::byte* data() const { return static_cast<std::byte*>(memory_.data()); }
  std::byte* shared_data() const { return static_cast<std::byte*>(shared_.data()); }
  std::size_t bytes() const { return memory_.bytes(); }
  // Counts how often the memory moved.
  int generation() const { return generation_; }

 private:
  Device& device_;
  Memory memory_, shared_;
  int generation_ = 0;
};

class Executor {
 public:
  // `states` and `arena` outlive the executor.
  Executor(Plan plan, StateStore& states, Arena& arena);

  const Plan& plan() const { return plan_; }
  // The number of input `name`; -1 where the Plan has none of that name.
  int find_input(const std::string& name) const;
  // The next runs read input `index` from `host`, which holds as many bytes as the input and is staging memory of the
  // device. It stays as it is until wait_for_inputs(). (A device that reads host memory uses it in its place.)
  void set_input(int index, const void* host);
  // The same for an input of one number, which is copied now; nothing where index is below 0.
  template <typename T>
  void set_number(int index, T number) {
    if (index >= 0) set_number(index, &number, sizeof number);
  }
  // Memory to write input `name` into before a run (zeroed at first); nullptr where the Plan has none of that name.
  // REQUIRES: the device reads host memory.
  void* input(const std::string& name);
  // Output `name` in host memory: of the last run, for which it waits, until the next run of any Plan on the same arena.
  const void* output(const std::string& name);
  bool has_output(const std::string& name) const;

  // Runs all steps, or launches them where the device queues work.
  void run();
  // Until the memory that was set as input of the last run may be used again.
  void wait_for_inputs();

  // The f32() outputs that followed() tells of each run, although others have been launched. REQUIRES: before run().
  void follow(const std::vector<std::string>& outputs);
  // Runs so far; the last one is number runs() - 1.
  std::int64_t runs() const { return runs_; }
  // Output i of those that are followed, and where the time went, of run number `run`. Waits for it. REQUIRES: it is the last
  // one, or one of the last QueuedPlan::kRunsAhead + 1 where the device queues work.
  float followed(std::int64_t run, std::size_t i);
  RunSeconds seconds(std::int64_t run);
  // Of the last run. Exchange that outlives a run is counted in the next one.
  RunSeconds seconds() { return seconds(runs_ - 1); }

  // false: on a device that queues work every run launches step by step, not a recording.
  void use_recordings(bool use) { uses_recordings_ = use; }
  // Who is told of the phases; may be null, outlives the executor.
  void report_to(Progress* progress);
  // Who records the steps; may be null, outlives the executor.
  void trace_to(Trace* trace);

 private:
  struct Bound;
  void resolve();
  void own_input(std::size_t index);
  void place_input(std::size_t index, std::byte* data);
  void* pointer(const BufferRef& ref) const;
  void set_number(int index, const void* number, std::size_t bytes);
  void make_queue();
  void follow_outputs();
  void run_here();
  void run_queued();
  void launch(const Bound& bound, void* stream) const;
  void launch_traced(std::size_t step, Track track) const;
  void launch_timed(std::size_t step);
  // The run of one step on the communication stream.
  static void run_beside(void* executor, std::size_t step);
  void submit(Bound& bound, std::size_t step);
  void wait_before(const Bound& bound, WorkStream::Ticket before_run);
  void wait_for(WorkStream::Ticket ticket);
  void enter(Phase phase);
  void account(std::int64_t now);
  void count_hidden();

  Plan plan_;
  StateStore& states_;
  Arena& arena_;
  // Where an input is read: what was set, or memory of the executor's own where somebody asked for that.
  struct Input {
    std::byte* data = nullptr;
    Memory own;
    std::vector<std::pair<std::size_t, std::size_t>> uses;  // places in pointers_, and offsets from data
  };
  std::vector<Input> inputs_;
  bool inputs_complete_ = false;
  std::vector<void*> pointers_;  // inputs, outputs of each step in turn

  struct Bound {
    const Kernel* kernel;
    std::size_t inputs, outputs;  // where its pointers start
    void* workspace;
    StreamKind stream;
    Phase phase;
    bool waits;  // for something; most steps do not
    int waits_for;
    // A step of the compute stream waits until these are free; one of the communication stream uses them.
    std::vector<StateStore::State*> states;
  };
  std::vector<Bound> bound_;
  int resolved_for_ = -1;  // the arena's generation when the pointers were made
  std::unique_ptr<QueuedPlan> queue_;  // where the device queues work
  bool uses_recordings_ = true;
  bool traces_ = false;  // this run
  std::vector<const PlanValue*> followed_;
  std::map<std::string, std::vector<std::byte>> outputs_on_host_;
  std::int64_t runs_ = 0;

  Progress* progress_ = nullptr;
  Trace* trace_ = nullptr;
  std::unique_ptr<Event> traced_begin_, traced_end_;  // on a device that queues work
  std::vector<std::int32_t> traced_names_;  // of the steps
  std::vector<std::int32_t> phase_names_;   // by Phase
  RunSeconds seconds_;
  Phase phase_ = Phase::kForward;
  std::int64_t phase_since_ = 0;   // nanoseconds
  double waited_ = 0;             // seconds of this run for the communication stream
};

}  // namespace lockstep
