#include "launcher/child_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <thread>

#include "core/base/clock.h"
#include "core/base/error.h"

namespace lockstep {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kTick = std::chrono::milliseconds(20);

ExitStatus status_of(int raw) {
  if (WIFSIGNALED(raw)) return {128 + WTERMSIG(raw), WTERMSIG(raw)};
  return {WEXITSTATUS(raw), 0};
}

enum class ProcessState { kLiving, kEnded };

// The processes of this machine in that state, by parent. One that has ended stays until its parent
// has waited for it.
std::multimap<pid_t, pid_t> children_by_parent(ProcessState wanted = ProcessState::kLiving) {
  std::multimap<pid_t, pid_t> out;
  DIR* all = opendir("/proc");
  if (all == nullptr) return out;
  while (const dirent* entry = readdir(all)) {
    const auto process = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (process <= 0) continue;
    std::ifstream in(text("/proc/", process, "/stat"));
    std::string stat;
    std::getline(in, stat);
    // The name in parentheses may hold anything, so what follows is counted from the last one.
    const std::size_t close = stat.rfind(')');
    if (close == std::string::npos) continue;
    std::istringstream rest(stat.substr(close + 1));
    char state = 0;
    pid_t parent = 0;
    if (!(rest >> state >> parent)) continue;
    const bool has_ended = state == 'Z' || state == 'X';
    if (has_ended == (wanted == ProcessState::kEnded)) out.emplace(parent, process);
  }
  closedir(all);
  return out;
}

// `besides`: they do not count, nor does what descends from them.
std::set<pid_t> descendants_of(pid_t ancestor, const std::set<pid_t>& besides = {}) {
  const auto children = children_by_parent();
  std::set<pid_t> out;
  std::vector<pid_t> open{ancestor};
  while (!open.empty()) {
    const pid_t parent = open.back();
    open.pop_back();
    const auto [begin, end] = children.equal_range(parent);
    for (auto it = begin; it != end; ++it) {
      if (besides.contains(it->second)) continue;
      if (out.insert(it->second).second) open.push_back(it->second);
    }
  }
  return out;
}

// In the child, between fork and exec: only what is safe there. Does not return.
[[noreturn]] void become(char* const* words, pid_t parent, ChildOutput output, int pipe_end) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);  // it died meanwhile
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGHUP, SIGPIPE}) std::signal(signal, SIG_DFL);
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(pipe_end, STDERR_FILENO);
  if (output == ChildOutput::kBoth) dup2(pipe_end, STDOUT_FILENO);
  execv(words[0], words);
  dprintf(STDERR_FILENO, "%s: %s\n", words[0], std::strerror(errno));
  _exit(127);
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& words, ChildOutput output) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    environment_failed(words.at(0), ": pipe: ", std::strerror(errno));
  }
  std::vector<char*> raw;
  for (const std::string& word : words) raw.push_back(const_cast<char*>(word.c_str()));
  raw.push_back(nullptr);
  const pid_t parent = getpid();
  process_ = fork();
  if (process_ == 0) become(raw.data(), parent, output, ends[1]);
  const int reason = errno;
  ::close(ends[1]);
  output_ = ends[0];
  fcntl(output_, F_SETFL, fcntl(output_, F_GETFL) | O_NONBLOCK);
  if (process_ < 0) {
    ::close(output_);
    environment_failed(words.at(0), ": cannot be started: ", std::strerror(reason));
  }
}

ChildProcess::~ChildProcess() {
  if (!ended()) {
    kill_all();
    while (!ended()) std::this_thread::sleep_for(kTick);
  }
  ::close(output_);
}

bool ChildProcess::read(std::string& to) {
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::read(output_, buffer, sizeof buffer);
    if (got > 0) {
      to.append(buffer, static_cast<std::size_t>(got));
    } else {
      return got < 0 && (errno == EAGAIN || errno == EINTR);
    }
  }
}

std::optional<ExitStatus> ChildProcess::ended() {
  int raw = 0;
  if (!status_ && waitpid(process_, &raw, WNOHANG) == process_) status_ = status_of(raw);
  return status_;
}

void ChildProcess::send(int signal) const {
  if (!status_) kill(process_, signal);
}

void ChildProcess::kill_all() {
  // It goes first: a shell that outlived its command would still say that it was killed. What it
  // has left is counted before, for afterwards it descends from this process.
  const std::set<pid_t> left = descendants();
  send(SIGKILL);
  for (const pid_t process : left) kill(process, SIGKILL);
}

std::set<pid_t> ChildProcess::descendants() const {
  return descendants_of(process_);
}

std::set<pid_t> living_children() {
  const auto all = children_by_parent();
  const auto [begin, end] = all.equal_range(getpid());
  std::set<pid_t> out;
  for (auto it = begin; it != end; ++it) out.insert(it->second);
  return out;
}

int end_left_processes(double seconds, const std::set<pid_t>& besides) {
  const Clock::time_point begin = Clock::now();
  int ended = 0;
  for (;;) {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    const std::set<pid_t> left = descendants_of(getpid(), besides);
    if (left.empty()) return ended;
    if (seconds_since(begin) > seconds) {
      for (const pid_t process : left) kill(process, SIGKILL);
      ended = std::max(ended, static_cast<int>(left.size()));
    }
    std::this_thread::sleep_for(kTick);
  }
}

void bury_orphans(pid_t except) {
  const auto ended = children_by_parent(ProcessState::kEnded);
  const auto [begin, end] = ended.equal_range(getpid());
  for (auto it = begin; it != end; ++it) {
    if (it->second != except) waitpid(it->second, nullptr, WNOHANG);
  }
}

FinishedChild run_child(const std::vector<std::string>& words, double seconds) {
  return run_children({words}, seconds).at(0);
}

std::vector<FinishedChild> run_children(const std::vector<std::vector<std::string>>& commands,
                                        double seconds) {
  const Clock::time_point begin = Clock::now();
  std::vector<std::unique_ptr<ChildProcess>> running;
  for (const auto& words : commands) {
    running.push_back(std::make_unique<ChildProcess>(words, ChildOutput::kBoth));
  }
  std::vector<FinishedChild> out(commands.size());
  for (std::size_t i = 0; i < running.size(); ++i) {
    ChildProcess& child = *running[i];
    while (!child.ended()) {
      // The others' pipes hold 64 KiB each: nobody waits for being read.
      for (std::size_t k = i; k < running.size(); ++k) running[k]->read(out[k].output);
      if (seconds_since(begin) > seconds) {
        out[i].timed_out = true;
        child.kill_all();
      }
      pollfd wait{child.output(), POLLIN, 0};
      poll(&wait, 1, 20);
      if ((wait.revents & POLLHUP) != 0) std::this_thread::sleep_for(kTick);
    }
    child.read(out[i].output);
    out[i].status = *child.ended();
  }
  return out;
}

std::string shell_line(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) {
    const bool plain = !word.empty() && std::ranges::all_of(word, [](unsigned char c) {
      return std::isalnum(c) != 0 || std::strchr("-_./:,=@%+", c) != nullptr;
    });
    std::string quoted = word;
    if (!plain) {
      quoted = "'";
      for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
      quoted += "'";
    }
    out += (out.empty() ? "" : " ") + quoted;
  }
  return out;
}

}  // namespace lockstep
