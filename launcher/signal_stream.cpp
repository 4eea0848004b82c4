#include "launcher/signal_stream.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/error.h"

namespace lockstep {

SignalStream::SignalStream() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGHUP}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, &before_);
  descriptor_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (descriptor_ < 0) environment_failed("signalfd: ", std::strerror(errno));
}

SignalStream::~SignalStream() {
  ::close(descriptor_);
  sigprocmask(SIG_SETMASK, &before_, nullptr);
}

int SignalStream::next() const {
  signalfd_siginfo one{};
  return ::read(descriptor_, &one, sizeof one) == sizeof one ? static_cast<int>(one.ssi_signo) : 0;
}

}  // namespace lockstep
