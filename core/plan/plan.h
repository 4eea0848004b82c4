// A Plan: the compiled step. Plain data: a list of steps in the order in which they run, each with
// a prepared kernel and the places of its inputs and outputs. The executor decides nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/progress.h"
#include "core/graph/type.h"
#include "core/kernel/kernel.h"

namespace lockstep {

// Where a value lies: in the arena, in its shared part (what other workers may read in place), or in the memory of an
// input or a state.
struct BufferRef {
  enum class Space : std::uint8_t { kNone, kArena, kSharedArena, kInput, kState };
  Space space = Space::kNone;
  int index = 0;           // of the input or state
  std::size_t offset = 0;  // bytes
};

struct Step {
  std::string name;  // of the node
  std::string op;    // with its attributes
  std::shared_ptr<const Kernel> kernel;
  // Steps of one stream run one after another. On the CPU the compute stream is the thread that runs the Plan; the
  // communication stream runs beside it, each step from its place in the list on.
  StreamKind stream = StreamKind::kCompute;
  Phase phase = Phase::kForward;
  // On the compute stream: how many of the Plan's communication steps have to be done before this one.
  int waits_for = 0;
  // On the compute stream: states (by number) that a communication step of an earlier run may still use.
  std::vector<int> waits_for_states;
  std::vector<BufferRef> inputs, outputs;
  BufferRef workspace;
  double flops = 0;
  std::size_t bytes = 0;  // read and written, each value once
};

struct PlanValue {
  std::string name;
  TensorType type;
  BufferRef where;
};

struct Plan {
  std::vector<Step> steps;
  std::vector<PlanValue> inputs;   // to be written before each run; all row-major
  std::vector<PlanValue> states;   // live across runs and Plans, found by name
  std::vector<PlanValue> outputs;  // to be read after a run; all row-major
  int communication_steps = 0;         // on the communication stream
  int waits_for_at_end = 0;            // how many of them have to be done when a run ends; the others use states only
  std::size_t arena_bytes = 0;
  std::size_t shared_arena_bytes = 0;
  std::size_t largest_live_bytes = 0;  // lower bound of both together

  double flops() const;
  std::size_t bytes_moved() const;
  std::size_t input_bytes() const;
  std::size_t state_bytes() const;
  // A hash of the structure: names, ops, types, places. Equal on all ranks that run the same step
  // on equally many microbatches.
  std::uint64_t hash() const;
  // One line a step: name, op, kernel, FLOPs, bytes.
  std::string to_string() const;
};

}  // namespace lockstep
