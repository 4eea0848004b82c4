// Runs Plans. Everything is resolved to pointers once, when a Plan is bound; a run is a loop over
// the steps that neither allocates nor decides anything.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/plan/plan.h"

namespace lockstep {

// Memory that outlives Plans: states by name. Shared by all executors of a worker.
class StateStore {
 public:
  explicit StateStore(Device& device) : device_(device) {}

  // Makes the state (zeroed) where it does not exist. Throws broken_invariant where it does, with
  // another type.
  void* obtain(const std::string& name, const TensorType& type);
  bool contains(const std::string& name) const { return states_.contains(name); }
  void* data(const std::string& name) const;
  const TensorType& type(const std::string& name) const;
  std::vector<std::string> names() const;  // sorted
  Device& device() const { return device_; }

 private:
  struct State {
    TensorType type;
    Memory memory;
  };
  Device& device_;
  std::map<std::string, State> states_;
};

// The scratch memory of the Plans of one worker, of which one runs at a time.
class Arena {
 public:
  explicit Arena(Device& device) : device_(device) {}
  // Grows to at least `bytes`; the contents are lost.
  void reserve(std::size_t bytes);
  std::byte* data() const { return static_cast<std::byte*>(memory_.data()); }
  std::size_t bytes() const { return memory_.bytes(); }

 private:
  Device& device_;
  Memory memory_;
};

class Executor {
 public:
  // `states` and `arena` outlive the executor.
  Executor(Plan plan, StateStore& states, Arena& arena);

  const Plan& plan() const { return plan_; }
  // Device memory to write input `name` into before a run; nullptr where the Plan has none of that
  // name.
  void* input(const std::string& name) const;
  // Device memory of output `name`, valid after run() until the next run of any Plan on the same
  // arena.
  const void* output(const std::string& name) const;
  bool has_output(const std::string& name) const;

  // Runs all steps and waits for the last.
  void run();
  // Seconds spent in the communication stream's steps during the last run.
  double communication_seconds() const { return communication_seconds_; }

 private:
  void resolve();

  Plan plan_;
  StateStore& states_;
  Arena& arena_;
  std::vector<Memory> input_memory_;
  std::vector<void*> pointers_;  // inputs, outputs of each step in turn

  struct Bound {
    const Kernel* kernel;
    std::size_t inputs, outputs;  // where its pointers start
    void* workspace;
    bool timed;
  };
  std::vector<Bound> bound_;
  const std::byte* resolved_for_ = nullptr;  // the arena's data when the pointers were made
  double communication_seconds_ = 0;
};

}  // namespace lockstep
