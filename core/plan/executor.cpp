#include "core/plan/executor.h"

#include <algorithm>
#include <cstring>

#include "core/base/error.h"

namespace lockstep {

// ---- StateStore and Arena ----------------------------------------------------------------------

void* StateStore::obtain(const std::string& name, const TensorType& type) {
  const auto it = states_.find(name);
  if (it == states_.end()) {
    State& state = states_[name];
    state.type = type;
    state.memory = device_.allocate(type.bytes(), MemoryKind::kShared, "parameters and moments");
    return state.memory.data();
  }
  require(it->second.type == type, "state ", name, " is ", it->second.type.to_string(),
          ", a Plan wants ", type.to_string());
  return data(name);
}

void* StateStore::data(const std::string& name) const {
  const auto it = states_.find(name);
  require(it != states_.end(), "there is no state ", name);
  if (communication_ != nullptr) communication_->wait(it->second.used_until);
  device_.synchronize();
  return it->second.memory.data();
}

void* StateStore::on_host(const std::string& name) {
  void* const state = data(name);
  if (device_.reads_host_memory()) return state;
  const std::size_t bytes = type(name).bytes();
  HostCopy& copy = copies_[name];
  if (copy.memory.data() == nullptr) copy.memory = device_.allocate(bytes, MemoryKind::kStaging);
  if (!copy.current) device_.copy_out(copy.memory.data(), state, bytes);
  copy.current = true;
  return copy.memory.data();
}

void StateStore::write_back() {
  for (const auto& [name, copy] : copies_) {
    if (copy.current) device_.copy_in(data(name), copy.memory.data(), copy.memory.bytes());
  }
}

void StateStore::change() {
  for (auto& [name, copy] : copies_) copy.current = false;
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

void Arena::reserve(std::size_t bytes, std::size_t shared_bytes) {
  if (bytes > memory_.bytes() || shared_bytes > shared_.bytes()) device_.synchronize();
  if (bytes > memory_.bytes()) {
    memory_ = Memory();
    memory_ = device_.allocate(bytes, MemoryKind::kPrivate, "arena of the Plan");
    ++generation_;
  }
  if (shared_bytes > shared_.bytes()) {
    shared_ = Memory();
    shared_ = device_.allocate(shared_bytes, MemoryKind::kShared, "arena of the exchange");
    ++generation_;
  }
}

// ---- Binding -----------------------------------------------------------------------------------

Executor::Executor(Plan plan, StateStore& states, Arena& arena)
    : plan_(std::move(plan)), states_(states), arena_(arena) {
  arena_.reserve(plan_.arena_bytes, plan_.shared_arena_bytes);
  for (const PlanValue& state : plan_.states) states_.obtain(state.name, state.type);
  inputs_.resize(plan_.inputs.size());
  resolve();
}

// An executor may move until it first runs; what is queued refers to it.
void Executor::make_queue() {
  if (queue_ || !states_.device().queues_work()) return;
  queue_ = std::make_unique<QueuedPlan>(states_.device(), plan_, [this](std::size_t step, void* stream) {
    if (traces_) return launch_timed(step);
    launch(bound_[step], stream);
  });
  queue_->report_to(progress_);
  follow_outputs();
}

void* Executor::pointer(const BufferRef& ref) const {
  switch (ref.space) {
    case BufferRef::Space::kArena:
      return arena_.data() + ref.offset;
    case BufferRef::Space::kSharedArena:
      return arena_.shared_data() + ref.offset;
    case BufferRef::Space::kInput:
      return inputs_[ref.index].data == nullptr ? nullptr : inputs_[ref.index].data + ref.offset;
    case BufferRef::Space::kState:
      return states_.state(plan_.states[ref.index].name).memory.at(ref.offset);
    case BufferRef::Space::kNone:
      return nullptr;
  }
  return nullptr;
}

void Executor::resolve() {
  pointers_.clear();
  bound_.clear();
  for (Input& input : inputs_) input.uses.clear();
  const auto add = [this](const BufferRef& ref) {
    if (ref.space == BufferRef::Space::kInput) inputs_[ref.index].uses.emplace_back(pointers_.size(), ref.offset);
    pointers_.push_back(pointer(ref));
  };
  for (const Step& step : plan_.steps) {
    Bound bound{step.kernel.get(), pointers_.size(), 0, pointer(step.workspace), step.stream,
                step.phase, false, step.waits_for, {}};
    for (const BufferRef& ref : step.inputs) add(ref);
    bound.outputs = pointers_.size();
    for (const BufferRef& ref : step.outputs) add(ref);
    if (states_.communication() != nullptr) {
      for (const int index : step.waits_for_states) {
        bound.states.push_back(&states_.state(plan_.states[index].name));
      }
      bound.waits = step.waits_for > 0 || !bound.states.empty() || step.phase == Phase::kExchange;
    }
    if (step.stream == StreamKind::kCommunication) {
      for (const BufferRef& ref : step.inputs) {
        if (ref.space != BufferRef::Space::kState) continue;
        bound.states.push_back(&states_.state(plan_.states[ref.index].name));
      }
    }
    bound_.push_back(std::move(bound));
  }
  resolved_for_ = arena_.generation();
  if (!queue_) return;
  states_.device().synchronize();
  queue_->forget_recordings();
  follow_outputs();
}

int Executor::find_input(const std::string& name) const {
  for (std::size_t i = 0; i < plan_.inputs.size(); ++i) {
    if (plan_.inputs[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

void Executor::place_input(std::size_t index, std::byte* data) {
  Input& input = inputs_[index];
  if (input.data == data) return;
  input.data = data;
  for (const auto& [place, offset] : input.uses) pointers_[place] = data + offset;
}

void Executor::own_input(std::size_t index) {
  Input& input = inputs_[index];
  if (input.own.data() == nullptr) {
    input.own = states_.device().allocate(plan_.inputs[index].type.bytes(), MemoryKind::kPrivate, "inputs");
  }
  place_input(index, input.own.at(0));
}

void* Executor::input(const std::string& name) {
  require(states_.device().reads_host_memory(), "input ", name, " lies in memory that the host does not write");
  const int index = find_input(name);
  if (index < 0) return nullptr;
  own_input(static_cast<std::size_t>(index));
  return inputs_[static_cast<std::size_t>(index)].data;
}

void Executor::set_input(int index, const void* host) {
  const auto at = static_cast<std::size_t>(index);
  if (states_.device().reads_host_memory()) {
    place_input(at, static_cast<std::byte*>(const_cast<void*>(host)));  // kernels only read inputs
    return;
  }
  make_queue();
  own_input(at);
  queue_->bring(at, inputs_[at].data, host, plan_.inputs[at].type.bytes());
}

void Executor::set_number(int index, const void* number, std::size_t bytes) {
  const auto at = static_cast<std::size_t>(index);
  require(bytes == plan_.inputs[at].type.bytes(), plan_.inputs[at].name, " is no number of ", bytes, " bytes");
  own_input(at);
  if (states_.device().reads_host_memory()) {
    std::memcpy(inputs_[at].data, number, bytes);
    return;
  }
  make_queue();
  queue_->set(at, inputs_[at].data, number, bytes);
}

void Executor::wait_for_inputs() {
  if (queue_) queue_->wait_for_inputs();
}

bool Executor::has_output(const std::string& name) const {
  for (const PlanValue& output : plan_.outputs) {
    if (output.name == name) return true;
  }
  return false;
}

const void* Executor::output(const std::string& name) {
  const auto output = std::ranges::find(plan_.outputs, name, &PlanValue::name);
  require(output != plan_.outputs.end(), "the Plan has no output ", name);
  const void* const place = pointer(output->where);
  if (states_.device().reads_host_memory()) return place;
  std::vector<std::byte>& copy = outputs_on_host_[name];
  copy.resize(std::max<std::size_t>(1, output->type.bytes()));
  states_.device().copy_out(copy.data(), place, output->type.bytes());
  return copy.data();
}

void Executor::follow(const std::vector<std::string>& outputs) {
  followed_.clear();
  for (const std::string& name : outputs) {
    const auto output = std::ranges::find(plan_.outputs, name, &PlanValue::name);
    require(output != plan_.outputs.end() && output->type.bytes() == sizeof(float), name, " is no f32() output");
    followed_.push_back(&*output);
  }
  make_queue();
  if (queue_) follow_outputs();
}

void Executor::follow_outputs() {
  std::vector<const void*> places;
  for (const PlanValue* output : followed_) places.push_back(pointer(output->where));
  queue_->follow(std::move(places));
}

float Executor::followed(std::int64_t run, std::size_t i) {
  if (queue_) return queue_->followed(run, i);
  require(run == runs_ - 1, "run ", run, " of ", runs_, " is not kept");
  return *static_cast<const float*>(pointer(followed_.at(i)->where));
}

RunSeconds Executor::seconds(std::int64_t run) { return queue_ ? queue_->seconds(run) : seconds_; }

void Executor::report_to(Progress* progress) {
  progress_ = progress;
  if (queue_) queue_->report_to(progress);
}

// ---- Running -----------------------------------------------------------------------------------

void Executor::launch(const Bound& bound, void* stream) const {
  void* const* pointers = pointers_.data();
  bound.kernel->run({pointers + bound.inputs, pointers + bound.outputs, bound.workspace, stream});
}

void Executor::trace_to(Trace* trace) {
  trace_ = trace;
  traced_names_.clear();
  phase_names_.clear();
  if (trace == nullptr) return;
  for (const Step& step : plan_.steps) traced_names_.push_back(trace->name(step.name, step.kernel->name));
  for (int phase = 0; phase <= static_cast<int>(Phase::kFinish); ++phase) {
    phase_names_.push_back(trace->name(name_of(static_cast<Phase>(phase))));
  }
}

void Executor::launch_traced(std::size_t step, Track track) const {
  const std::int64_t begin = monotonic_nanoseconds();
  launch(bound_[step], states_.device().stream(StreamKind::kCompute));
  states_.device().synchronize();
  trace_->record(traced_names_[step], track, begin, monotonic_nanoseconds());
}

// On a device that queues work: the span between two points around the launch, by the device's clock. They are in one
// recording with it, so that nothing of the host lies between them. In the first run libraries load what they need, and
// steps of the host are the host's.
void Executor::launch_timed(std::size_t step) {
  if (queue_->runs() == 0 || plan_.steps[step].kernel->on_host) return launch_traced(step, Track::kCompute);
  Device& device = states_.device();
  for (auto* event : {&traced_begin_, &traced_end_}) {
    if (*event == nullptr) *event = device.make_event(true);
  }
  device.synchronize();
  const auto recording = device.record([&] {
    traced_begin_->record(StreamKind::kCompute);
    launch(bound_[step], device.stream(StreamKind::kCompute));
    traced_end_->record(StreamKind::kCompute);
  });
  recording->launch();
  device.synchronize();
  const std::int64_t end = monotonic_nanoseconds();
  const auto took = static_cast<std::int64_t>(traced_end_->seconds_since(*traced_begin_) * 1e9);
  trace_->record(traced_names_[step], Track::kCompute, end - took, end);
}

void Executor::run_beside(void* executor, std::size_t step) {
  const auto& self = *static_cast<const Executor*>(executor);
  if (self.trace_ != nullptr && self.trace_->recording()) {
    self.launch_traced(step, Track::kCommunication);
  } else {
    self.launch(self.bound_[step], nullptr);
  }
}

void Executor::submit(Bound& bound, std::size_t step) {
  const WorkStream::Ticket ticket = states_.communication()->submit({run_beside, this, step});
  for (StateStore::State* state : bound.states) state->used_until = ticket;
}

// Seconds since the last change of phase go to the phase that ends.
void Executor::account(std::int64_t now) {
  const double passed = static_cast<double>(now - phase_since_) * 1e-9;
  switch (phase_) {
    case Phase::kForward: seconds_.forward += passed; break;
    case Phase::kBackward: seconds_.backward += passed; break;
    case Phase::kExchange: seconds_.exchange += passed; break;
    default: seconds_.update += passed; break;
  }
  if (trace_ != nullptr && trace_->recording()) {
    trace_->record(phase_names_[static_cast<std::size_t>(phase_)], Track::kPhase, phase_since_, now);
  }
  phase_since_ = now;
}

// One look at the clock for each change of phase.
void Executor::enter(Phase phase) {
  const std::int64_t now = monotonic_nanoseconds();
  account(now);
  phase_ = phase;
  if (progress_ != nullptr) progress_->enter(phase, now);
}

void Executor::wait_for(WorkStream::Ticket ticket) {
  WorkStream& communication = *states_.communication();
  if (communication.done(ticket)) return;
  enter(Phase::kExchange);
  communication.wait(ticket);
  waited_ += static_cast<double>(monotonic_nanoseconds() - phase_since_) * 1e-9;
}

void Executor::wait_before(const Bound& bound, WorkStream::Ticket before_run) {
  WorkStream::Ticket ticket = bound.waits_for == 0 ? 0 : before_run + bound.waits_for;
  for (const StateStore::State* state : bound.states) ticket = std::max(ticket, state->used_until);
  // A step that exchanges on this thread takes the stream's place for a moment.
  if (bound.phase == Phase::kExchange) ticket = states_.communication()->submitted();
  wait_for(ticket);
  if (bound.phase == Phase::kExchange) states_.communication()->take_over();
}

// What the communication stream worked since the last run of any Plan while the compute stream did not wait for it.
void Executor::count_hidden() {
  const auto busy = static_cast<double>(states_.communication()->take_busy_nanoseconds()) * 1e-9;
  seconds_.hidden = std::max(0.0, busy - waited_);
}

void Executor::run() {
  if (resolved_for_ != arena_.generation()) resolve();  // another Plan made the arena grow
  if (!inputs_complete_) {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (inputs_[i].data == nullptr) own_input(i);
    }
    inputs_complete_ = true;
  }
  make_queue();
  states_.change();
  if (queue_) {
    run_queued();
  } else {
    run_here();
  }
  ++runs_;
}

// Steps that are traced run one after another, each to its end: what they take, not how they overlap.
void Executor::run_queued() {
  traces_ = trace_ != nullptr && trace_->recording();
  queue_->use_recordings(uses_recordings_ && !traces_);
  queue_->run();
}

void Executor::run_here() {
  WorkStream* const communication = states_.communication();
  const WorkStream::Ticket before = communication == nullptr ? 0 : communication->submitted();
  seconds_ = {};
  waited_ = 0;
  phase_since_ = monotonic_nanoseconds();
  enter(Phase::kForward);
  for (std::size_t i = 0; i < bound_.size(); ++i) {
    Bound& bound = bound_[i];
    if (bound.stream == StreamKind::kCommunication && communication != nullptr) {
      submit(bound, i);
      continue;
    }
    if (bound.waits) wait_before(bound, before);
    if (bound.phase != phase_) enter(bound.phase);
    if (trace_ != nullptr && trace_->recording()) {
      launch_traced(i, Track::kCompute);
    } else {
      launch(bound, nullptr);
    }
  }
  if (plan_.waits_for_at_end > 0 && communication != nullptr) wait_for(before + plan_.waits_for_at_end);
  account(monotonic_nanoseconds());
  if (communication != nullptr) count_hidden();
}

}  // namespace lockstep
