#include "core/plan/queued_plan.h"

#include <algorithm>
#include <cstring>

#include "core/base/error.h"

namespace lockstep {
namespace {

constexpr std::size_t kNumber = 8;  // bytes of a place for a number

bool is_beside(const Step& step) { return step.stream == StreamKind::kCommunication && !step.kernel->on_host; }

}  // namespace

QueuedPlan::QueuedPlan(Device& device, const Plan& plan, LaunchStep launch)
    : device_(device),
      plan_(plan),
      launch_(std::move(launch)),
      landing_(plan.inputs.size()),
      landed_(device.make_event()),
      taken_(device.make_event()),
      begun_beside_(device.make_event()) {
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const bool on_host = plan.steps[i].kernel->on_host;
    if (stretches_.empty() || on_host || stretches_.back().on_host) stretches_.push_back({i, i, on_host});
    stretches_.back().end = i + 1;
    if (is_beside(plan.steps[i])) beside_.push_back(device.make_event());
  }
  const auto update = std::ranges::find(plan.steps, Phase::kUpdate, &Step::phase);
  first_update_ = static_cast<std::size_t>(update - plan.steps.begin());
  update_begins_ = device.allocate(kNumber);
  for (Slot& slot : slots_) {
    slot.finished = device.make_event();
    slot.numbers = device.allocate(std::max<std::size_t>(1, plan.inputs.size()) * kNumber, MemoryKind::kStaging);
    slot.timed_by_host = std::ranges::any_of(stretches_, &Stretch::on_host);
  }
  follow({});
}

void QueuedPlan::follow(std::vector<const void*> numbers) {
  device_.synchronize();
  followed_ = std::move(numbers);
  for (Slot& slot : slots_) {
    slot.results = device_.allocate((followed_.size() + kStamps) * kNumber, MemoryKind::kStaging);
  }
}

// ---- Inputs ------------------------------------------------------------------------------------

QueuedPlan::Slot& QueuedPlan::open() {
  Slot& slot = slots_[static_cast<std::size_t>(runs_) % kSlots];
  if (!open_) {
    slot.finished->wait();
    open_ = true;
    reads_in_place_ = false;
  }
  return slot;
}

void QueuedPlan::bring(std::size_t input, void* to, const void* from, std::size_t bytes) {
  open();
  if (bytes == 0) return;
  if (bytes <= kReadInPlace) {
    arriving_.push_back({to, from, bytes});
    reads_in_place_ = true;
    return;
  }
  Memory& landing = landing_[input];
  if (landing.bytes() < bytes) landing = device_.allocate(bytes, MemoryKind::kPrivate, "inputs");
  if (!lands_) taken_->hold(StreamKind::kCopy);  // the run before has taken what landed there
  lands_ = true;
  const Transfer transfer{landing.data(), from, bytes};
  device_.copy(StreamKind::kCopy, {&transfer, 1});
  arriving_.push_back({to, landing.data(), bytes});
}

void QueuedPlan::set(std::size_t input, void* to, const void* number, std::size_t bytes) {
  std::byte* place = open().numbers.at(input * kNumber);
  std::memcpy(place, number, bytes);
  arriving_.push_back({to, place, bytes});
}

// The clock is written before the first copies are made, or beside them.
void QueuedPlan::copy(std::vector<Transfer>& transfers, void* clock) {
  std::size_t i = 0;
  do {
    const auto some = std::span(transfers).subspan(i, std::min(Device::kMostTransfers, transfers.size() - i));
    if (i == 0 && clock != nullptr) {
      device_.copy_and_stamp(StreamKind::kCompute, some, clock);
    } else {
      device_.copy(StreamKind::kCompute, some);
    }
    i += Device::kMostTransfers;
  } while (i < transfers.size());
  transfers.clear();
}

void QueuedPlan::take_inputs(Slot& slot) {
  if (lands_) {
    landed_->record(StreamKind::kCopy);
    landed_->hold(StreamKind::kCompute);
    lands_ = false;
  }
  copy(arriving_, slot.timed_by_host ? nullptr : slot.results.at(kBegin * kNumber));
  taken_->record(StreamKind::kCompute);
}

void QueuedPlan::wait_for_inputs() {
  // A copy of the copy stream ends before the compute stream begins to take it.
  if (reads_in_place_) {
    taken_->wait();
  } else {
    landed_->wait();
  }
}

// ---- Steps -------------------------------------------------------------------------------------

void QueuedPlan::run() {
  Slot& slot = open();
  open_ = false;
  const std::int64_t begin = monotonic_nanoseconds();
  slot.seconds = {};
  if (progress_ != nullptr) progress_->enter(Phase::kForward, begin);
  take_inputs(slot);
  for (std::size_t i = 0; i < stretches_.size(); ++i) {
    if (stretches_[i].on_host) {
      run_on_host(stretches_[i].begin, slot);
    } else {
      launch_stretch(i);
    }
  }
  send_results(slot);
  ++runs_;
  if (!slot.timed_by_host) return;
  slot.finished->wait();
  slot.seconds.forward = static_cast<double>(monotonic_nanoseconds() - begin) * 1e-9 - slot.seconds.exchange;
}

void QueuedPlan::launch_stretch(std::size_t number) {
  const Stretch& stretch = stretches_[number];
  if (runs_ == 0 || !records_) return launch_steps(stretch);
  recordings_.resize(stretches_.size());
  if (!recordings_[number]) recordings_[number] = device_.record([&] { launch_steps(stretch); });
  recordings_[number]->launch();
}

// Steps of the communication stream begin after all that was launched before them; whoever has to wait for some waits for
// the last of them. At its end the stretch waits for all, so that it is one piece of the compute stream.
void QueuedPlan::launch_steps(const Stretch& stretch) {
  const std::size_t first = static_cast<std::size_t>(
      std::count_if(plan_.steps.begin(), plan_.steps.begin() + static_cast<std::ptrdiff_t>(stretch.begin), is_beside));
  std::size_t launched = first, waited = first;  // steps of the communication stream
  const auto wait_until = [&](std::size_t count) {
    if (count <= waited || launched == first) return;
    waited = std::min(count, launched);
    beside_[waited - 1]->hold(StreamKind::kCompute);
  };
  for (std::size_t i = stretch.begin; i < stretch.end; ++i) {
    const Step& step = plan_.steps[i];
    if (is_beside(step)) {
      begun_beside_->record(StreamKind::kCompute);
      begun_beside_->hold(StreamKind::kCommunication);
      launch_(i, stream(StreamKind::kCommunication));
      beside_[launched++]->record(StreamKind::kCommunication);
      continue;
    }
    const bool exchanges = step.phase == Phase::kExchange;
    wait_until(exchanges ? launched : static_cast<std::size_t>(step.waits_for));
    if (i == first_update_ && !slots_[0].timed_by_host) {
      device_.stamp(StreamKind::kCompute, update_begins_.data());
    }
    launch_(i, stream(StreamKind::kCompute));
  }
  wait_until(launched);
}

void QueuedPlan::run_on_host(std::size_t step, Slot& slot) {
  device_.synchronize();
  const std::int64_t begin = monotonic_nanoseconds();
  if (progress_ != nullptr) progress_->enter(Phase::kExchange, begin);
  launch_(step, stream(StreamKind::kCompute));
  const std::int64_t end = monotonic_nanoseconds();
  slot.seconds.exchange += static_cast<double>(end - begin) * 1e-9;
  if (progress_ != nullptr) progress_->enter(plan_.steps[step].phase, end);
}

// ---- Results -----------------------------------------------------------------------------------

void QueuedPlan::send_results(Slot& slot) {
  for (std::size_t i = 0; i < followed_.size(); ++i) {
    leaving_.push_back({slot.results.at((kStamps + i) * kNumber), followed_[i], sizeof(float)});
  }
  if (slot.timed_by_host) {
    copy(leaving_, nullptr);
  } else {
    leaving_.push_back({slot.results.at(kUpdate * kNumber), update_begins_.data(), kNumber});
    copy(leaving_, slot.results.at(kEnd * kNumber));
  }
  slot.finished->record(StreamKind::kCompute);
}

void QueuedPlan::wait_for(std::int64_t run) {
  require(run < runs_ && run >= runs_ - static_cast<std::int64_t>(kSlots) && run >= 0, "run ", run, " of ", runs_,
          " is not kept");
  Slot& slot = slots_[static_cast<std::size_t>(run) % kSlots];
  if (slot.finished->done()) return;
  if (progress_ != nullptr && plan_.communication_steps > 0) progress_->enter(Phase::kExchange);
  slot.finished->wait();
}

float QueuedPlan::followed(std::int64_t run, std::size_t i) {
  wait_for(run);
  float value = 0;
  std::memcpy(&value, slots_[static_cast<std::size_t>(run) % kSlots].results.at((kStamps + i) * kNumber), sizeof value);
  return value;
}

RunSeconds QueuedPlan::seconds(std::int64_t run) {
  wait_for(run);
  Slot& slot = slots_[static_cast<std::size_t>(run) % kSlots];
  if (slot.timed_by_host) return slot.seconds;
  std::array<std::uint64_t, kStamps> at{};  // nanoseconds of the device's clock
  std::memcpy(at.data(), slot.results.data(), sizeof at);
  const bool updates = first_update_ < plan_.steps.size();
  RunSeconds seconds;
  seconds.forward = static_cast<double>((updates ? at[kUpdate] : at[kEnd]) - at[kBegin]) * 1e-9;
  if (updates) seconds.update = static_cast<double>(at[kEnd] - at[kUpdate]) * 1e-9;
  return seconds;
}

}  // namespace lockstep
