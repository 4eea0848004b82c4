#include "core/base/hdf5/trial.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <exception>

#include "core/base/error.h"
#include "core/base/hdf5/hdf5.h"

namespace lockstep {
namespace {

// For one file. A network file system may be slow; a damaged size makes the library fill gigabytes with zeros.
constexpr int kLongestMilliseconds = 30'000;
constexpr long kMostKilobytes = 1 << 20;

constexpr int kExitTooLarge = 3;

long peak_kilobytes() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return used.ru_maxrss;
}

void read_description(const std::string& path) {
  const Hdf5File file(path);
  std::vector<std::string> objects{""};
  for (const Hdf5Array& array : file.arrays()) objects.push_back(array.name);
  for (const std::string& object : objects) {
    for (const std::string& name : file.attributes(object)) {
      file.texts(object, name);
      file.integer(object, name);
      file.real(object, name);
    }
  }
}

// One byte into `progress` after each file. A crash here is nobody's fault: what tells of crashes is switched off.
[[noreturn]] void be_the_child(const std::vector<std::string>& paths, int progress) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) std::signal(signal, SIG_DFL);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  const int nowhere = open("/dev/null", O_WRONLY);
  if (nowhere >= 0) dup2(nowhere, STDERR_FILENO);
  for (const std::string& path : paths) {
    const long before = peak_kilobytes();
    try {
      read_description(path);
    } catch (const std::exception&) {  // told to whoever opens the file next
    }
    if (peak_kilobytes() - before > kMostKilobytes) _exit(kExitTooLarge);
    if (write(progress, "", 1) != 1) break;
  }
  _exit(0);
}

// How many files the child came through; stops waiting where it is silent for too long.
std::size_t files_survived(int progress, bool& hangs) {
  std::size_t done = 0;
  hangs = false;
  while (true) {
    pollfd waiting{progress, POLLIN, 0};
    const int ready = poll(&waiting, 1, kLongestMilliseconds);
    if (ready < 0 && errno == EINTR) continue;
    hangs = ready == 0;
    char bytes[64];
    const ssize_t got = ready > 0 ? read(progress, bytes, sizeof bytes) : 0;
    if (got <= 0) return done;
    done += static_cast<std::size_t>(got);
  }
}

}  // namespace

void try_hdf5(const std::vector<std::string>& paths) {
  int ends[2];
  if (paths.empty() || pipe2(ends, O_CLOEXEC) != 0) return;
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    be_the_child(paths, ends[1]);
  }
  close(ends[1]);
  bool hangs = false;
  const std::size_t done = child > 0 ? files_survived(ends[0], hangs) : paths.size();
  close(ends[0]);
  if (child < 0) return;  // no room for a process: the files are opened untried
  if (hangs) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (done >= paths.size()) return;
  const bool too_large = WIFEXITED(status) && WEXITSTATUS(status) == kExitTooLarge;
  const std::string damaged = ": the file is damaged; copy or write it again";
  const std::string library = text(paths[done], ": HDF5 ", hdf5_version());
  check_input(!hangs, library, " does not come back from reading its description (", kLongestMilliseconds / 1000, " s)", damaged);
  check_input(!too_large, library, " takes more than ", kMostKilobytes >> 20, " GiB to read its description", damaged);
  check_input(WIFEXITED(status) && WEXITSTATUS(status) == 0, library, " crashes on its description", damaged);
}

}  // namespace lockstep
