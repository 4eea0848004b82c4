#include "launcher/fault.h"

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "core/base/error.h"
#include "core/base/settings.h"

namespace lockstep {
namespace {

constexpr std::array<const char*, 11> kNames = {"exception", "abort",     "segfault", "kill", "exit",     "stop",
                                                "sleep",     "slow-data", "nan",      "flip", "full-disk"};

template <typename Number>
bool read_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

[[noreturn]] void wait_for_ever() {
  while (true) std::this_thread::sleep_for(std::chrono::hours(1));
}

// A bit of the first parameter, in the half of this replica that another rank owns where there is one: the owner's would
// reach all replicas.
void flip_a_bit(Training& training) {
  const int owner = training.worker().rank() == 0 ? training.worker().world_size() - 1 : 0;
  for (const Bucket& bucket : training.compiler().buckets()) {
    const Range chunk = bucket.chunk(owner, training.worker().world_size());
    if (bucket.is_statistics || chunk.size() == 0) continue;
    auto* values = static_cast<std::uint32_t*>(training.states().on_host(bucket.state));
    values[chunk.begin] ^= 1u;
    training.write_back();
    return;
  }
}

// The system refuses every write, as that of a full disk does.
void fill_the_disk() {
  signal(SIGXFSZ, SIG_IGN);
  const rlimit nothing{0, 0};
  setrlimit(RLIMIT_FSIZE, &nothing);
}

void commit(FaultKind kind, Training& training) {
  Progress& progress = training.worker().progress();
  switch (kind) {
    case FaultKind::kException: environment_failed("an error to order (--inject exception)");
    case FaultKind::kAbort: std::abort();
    case FaultKind::kSegfault: raise(SIGSEGV); return;
    case FaultKind::kKill: raise(SIGKILL); return;
    case FaultKind::kExit: _exit(0);
    case FaultKind::kStop: raise(SIGSTOP); return;
    case FaultKind::kSleep: progress.enter(Phase::kForward); wait_for_ever();
    case FaultKind::kSlowData: progress.enter(Phase::kData); wait_for_ever();
    case FaultKind::kNan: training.spoil_next_batch(); return;
    case FaultKind::kFlip: flip_a_bit(training); return;
    case FaultKind::kFullDisk: fill_the_disk(); return;
  }
}

}  // namespace

Fault parse_fault(const std::string& text) {
  const std::size_t at = text.find('@'), colon = text.find(':');
  Fault out;
  const bool complete = at != std::string::npos && colon != std::string::npos && at < colon &&
                        read_number(std::string_view(text).substr(at + 1, colon - at - 1), out.rank) &&
                        read_number(std::string_view(text).substr(colon + 1), out.step);
  check_input(complete && out.rank >= 0 && out.step >= 1, "--inject: found '", text,
              "', expected FAULT@RANK:STEP, as kill@2:10");
  const std::string name = text.substr(0, at);
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (name != kNames[i]) continue;
    out.kind = static_cast<FaultKind>(i);
    return out;
  }
  std::string all;
  for (const char* known : kNames) all += (all.empty() ? "" : ", ") + std::string(known);
  bad_input("--inject: there is no fault '", name, "'; expected one of ", all);
}

void check_faults(const std::vector<Fault>& faults, Training& training) {
  const int world = training.worker().world_size();
  for (const Fault& fault : faults) {
    check_input(fault.rank < world, "--inject: rank ", fault.rank, " of ", world, " workers, counted from 0");
    check_input(fault.kind != FaultKind::kNan || training.first_input_can_be_nan(), "--inject nan: array \"",
                training.data().inputs.front().array,
                "\" is of whole numbers, which are never NaN; inject it where the first input is of f32");
  }
}

void commit_faults(const std::vector<Fault>& faults, std::int64_t step, Training& training) {
  for (const Fault& fault : faults) {
    if (fault.step == step && fault.rank == training.worker().rank()) commit(fault.kind, training);
  }
}

}  // namespace lockstep
