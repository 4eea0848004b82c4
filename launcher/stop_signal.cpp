#include "launcher/stop_signal.h"

#include <csignal>

namespace lockstep {
namespace {

volatile std::sig_atomic_t arrived_signals = 0;
constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

extern "C" void note_signal(int signal) {
  arrived_signals = arrived_signals + 1;
  std::signal(signal, SIG_DFL);  // the next one ends the process
}

}  // namespace

StopSignal::StopSignal() {
  arrived_signals = 0;
  for (const int signal : kSignals) std::signal(signal, note_signal);
}

StopSignal::~StopSignal() {
  for (const int signal : kSignals) std::signal(signal, SIG_DFL);
}

bool StopSignal::arrived() const { return arrived_signals != 0; }

}  // namespace lockstep
