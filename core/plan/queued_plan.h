// How a Plan runs on a device that queues work (core/device/device.h).
//
// A run is: the inputs are taken, the steps are launched, the results that are followed are brought to the host. run()
// returns when all of that is queued. The first run launches step by step, so that libraries load what they need; later ones
// launch recordings: one for all steps, or one for each stretch between steps that need the host.
//
// Up to kRunsAhead + 1 runs may be under way; the next one waits for the oldest. Within a run the host waits for nothing but
// steps that are its own (Kernel::on_host).
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "core/base/progress.h"
#include "core/plan/plan.h"

namespace lockstep {

// Where the time of a run went, in seconds.
struct RunSeconds {
  // Of the compute stream, at work. A device that queues work tells forward and backward together, as forward.
  double forward = 0, backward = 0, update = 0;
  double exchange = 0;  // the compute stream waited for the exchange or exchanged itself
  double hidden = 0;    // the communication stream was at work while the compute stream was too
};

class QueuedPlan {
 public:
  static constexpr int kRunsAhead = 1;

  // Launches step i of the Plan on `stream` (Launch::stream).
  using LaunchStep = std::function<void(std::size_t step, void* stream)>;
  // `device` and `plan` outlive the object.
  QueuedPlan(Device& device, const Plan& plan, LaunchStep launch);

  // The next run begins with these bytes of staging memory at `to` in the device's. They stay as they are until
  // wait_for_inputs(). `input` numbers the inputs.
  void bring(std::size_t input, void* to, const void* from, std::size_t bytes);
  // The same for one number, which is copied now. REQUIRES: bytes <= 8, of input number `input`.
  void set(std::size_t input, void* to, const void* number, std::size_t bytes);
  // After each run these numbers (4 bytes each, in the device's memory) are kept for followed().
  void follow(std::vector<const void*> numbers);
  // What was recorded has moved or changed.
  void forget_recordings() { recordings_.clear(); }
  // false: every run launches step by step. For tests, and for tools that look at single kernels.
  void use_recordings(bool use) { records_ = use; }

  void run();
  // How many runs were launched.
  std::int64_t runs() const { return runs_; }
  // The host's memory that was brought may be used again.
  void wait_for_inputs();
  // Waits until run number `run`, from 0, is done. REQUIRES: it is one of the last kRunsAhead + 1.
  void wait_for(std::int64_t run);
  // The followed number i of that run. Waits for it.
  float followed(std::int64_t run, std::size_t i);
  RunSeconds seconds(std::int64_t run);
  void report_to(Progress* progress) { progress_ = progress; }

 private:
  static constexpr std::size_t kSlots = kRunsAhead + 1;
  static constexpr std::size_t kReadInPlace = 64 << 10;  // bytes of an input that the device reads from the host itself

  // Steps [begin, end), launched as one; or one step of the host.
  struct Stretch {
    std::size_t begin = 0, end = 0;
    bool on_host = false;
  };
  // What the host shares with one run.
  struct Slot {
    std::unique_ptr<Event> finished;
    Memory numbers, results;  // staging; 8 bytes for each input, and for each result and stamp
    RunSeconds seconds;
    bool timed_by_host = false;
  };
  enum Stamp { kBegin, kUpdate, kEnd, kStamps };

  Slot& open();
  void take_inputs(Slot& slot);
  void launch_stretch(std::size_t number);
  void launch_steps(const Stretch& stretch);
  void run_on_host(std::size_t step, Slot& slot);
  void send_results(Slot& slot);
  void copy(std::vector<Transfer>& transfers, void* clock);
  void* stream(StreamKind kind) const { return device_.stream(kind); }

  Device& device_;
  const Plan& plan_;
  const LaunchStep launch_;
  std::vector<Stretch> stretches_;
  std::size_t first_update_ = 0;  // step
  std::vector<std::unique_ptr<Recording>> recordings_;  // by stretch
  bool records_ = true;
  std::array<Slot, kSlots> slots_;
  bool open_ = false;  // the slot of the next run is free, and being filled
  bool lands_ = false;  // inputs of the next run are on the copy stream
  std::vector<Memory> landing_;  // by input, of the device: where large inputs arrive while the step before runs
  std::vector<Transfer> arriving_, leaving_;
  std::vector<const void*> followed_;
  Memory update_begins_;  // the device's clock
  std::unique_ptr<Event> landed_, taken_, begun_beside_;
  std::vector<std::unique_ptr<Event>> beside_;  // by step of the communication stream, in order
  bool reads_in_place_ = false;  // the last run took inputs from the host's memory itself
  std::int64_t runs_ = 0;
  Progress* progress_ = nullptr;
};

}  // namespace lockstep
