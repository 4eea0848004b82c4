#include "core/plan/executor.h"

#include <chrono>

#include "core/base/error.h"

namespace lockstep {

// ---- StateStore and Arena ----------------------------------------------------------------------

void* StateStore::obtain(const std::string& name, const TensorType& type) {
  const auto it = states_.find(name);
  if (it == states_.end()) {
    State& state = states_[name];
    state.type = type;
    state.memory = device_.allocate(type.bytes());
    return state.memory.data();
  }
  require(it->second.type == type, "state ", name, " is ", it->second.type.to_string(),
          ", a Plan wants ", type.to_string());
  return it->second.memory.data();
}

void* StateStore::data(const std::string& name) const {
  const auto it = states_.find(name);
  require(it != states_.end(), "there is no state ", name);
  return it->second.memory.data();
}

const TensorType& StateStore::type(const std::string& name) const {
  const auto it = states_.find(name);
  require(it != states_.end(), "there is no state ", name);
  return it->second.type;
}

std::vector<std::string> StateStore::names() const {
  std::vector<std::string> out;
  for (const auto& [name, state] : states_) out.push_back(name);
  return out;
}

void Arena::reserve(std::size_t bytes) {
  if (bytes <= memory_.bytes()) return;
  memory_ = Memory();
  memory_ = device_.allocate(bytes);
}

// ---- Executor ----------------------------------------------------------------------------------

Executor::Executor(Plan plan, StateStore& states, Arena& arena)
    : plan_(std::move(plan)), states_(states), arena_(arena) {
  arena_.reserve(plan_.arena_bytes);
  for (const PlanValue& state : plan_.states) states_.obtain(state.name, state.type);
  for (const PlanValue& input : plan_.inputs) {
    input_memory_.push_back(states_.device().allocate(input.type.bytes()));
  }
  resolve();
}

void Executor::resolve() {
  std::vector<void*> state_data;
  for (const PlanValue& state : plan_.states) state_data.push_back(states_.data(state.name));
  auto pointer = [&](const BufferRef& ref) -> void* {
    switch (ref.space) {
      case BufferRef::Space::kArena:
        return arena_.data() + ref.offset;
      case BufferRef::Space::kInput:
        return input_memory_[ref.index].at(ref.offset);
      case BufferRef::Space::kState:
        return static_cast<std::byte*>(state_data[ref.index]) + ref.offset;
      case BufferRef::Space::kNone:
        return nullptr;
    }
    return nullptr;
  };
  pointers_.clear();
  bound_.clear();
  for (const Step& step : plan_.steps) {
    Bound bound{step.kernel.get(), pointers_.size(), 0, pointer(step.workspace),
                step.stream == StreamKind::kCommunication};
    for (const BufferRef& ref : step.inputs) pointers_.push_back(pointer(ref));
    bound.outputs = pointers_.size();
    for (const BufferRef& ref : step.outputs) pointers_.push_back(pointer(ref));
    bound_.push_back(bound);
  }
  resolved_for_ = arena_.data();
}

void* Executor::input(const std::string& name) const {
  for (std::size_t i = 0; i < plan_.inputs.size(); ++i) {
    if (plan_.inputs[i].name == name) return input_memory_[i].data();
  }
  return nullptr;
}

bool Executor::has_output(const std::string& name) const {
  for (const PlanValue& output : plan_.outputs) {
    if (output.name == name) return true;
  }
  return false;
}

const void* Executor::output(const std::string& name) const {
  for (const PlanValue& output : plan_.outputs) {
    if (output.name != name) continue;
    const BufferRef& ref = output.where;
    switch (ref.space) {
      case BufferRef::Space::kArena:
        return arena_.data() + ref.offset;
      case BufferRef::Space::kInput:
        return input_memory_[ref.index].at(ref.offset);
      case BufferRef::Space::kState:
        return static_cast<std::byte*>(states_.data(plan_.states[ref.index].name)) + ref.offset;
      case BufferRef::Space::kNone:
        break;
    }
  }
  broken_invariant("the Plan has no output ", name);
}

void Executor::run() {
  using Clock = std::chrono::steady_clock;
  if (resolved_for_ != arena_.data()) resolve();  // another Plan made the arena grow
  communication_seconds_ = 0;
  void* const* pointers = pointers_.data();
  for (const Bound& bound : bound_) {
    const Launch launch{pointers + bound.inputs, pointers + bound.outputs, bound.workspace,
                        nullptr};
    if (!bound.timed) {
      bound.kernel->run(launch);
      continue;
    }
    const auto start = Clock::now();
    bound.kernel->run(launch);
    communication_seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
  }
  states_.device().synchronize();
}

}  // namespace lockstep
