#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <sstream>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/hash.h"
#include "launcher/child_process.h"
#include "launcher/doctor.h"
#include "launcher/mpirun.h"

namespace lockstep {
namespace {

constexpr double kAnswer = 10;     // seconds for a host to answer
constexpr double kExchange = 60;   // seconds for two workers to start and exchange
constexpr double kClockOff = 1.0;  // seconds: more makes logs of several hosts hard to read
constexpr std::int64_t kMebibyte = std::int64_t{1} << 20;
constexpr double kSlow = 0.1;  // GB/s: Gigabit Ethernet moves 0.125

double seconds_of_clock() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string sha256_of_program() {
  const std::string bytes = local_files().read(path_of_program());
  Sha256 hash;
  hash.update(std::as_bytes(std::span(bytes)));
  return hash.hex();
}

// What MPI says of itself, empty where it does not. The library is linked
// (dist/mpi_communicator.cpp); this function can be called before MPI_Init, which must not run
// outside of mpirun.
std::string linked_mpi() {
  using GetVersion = int (*)(char*, int*);
  const auto get = reinterpret_cast<GetVersion>(dlsym(RTLD_DEFAULT, "MPI_Get_library_version"));
  char version[8192] = {};  // MPI_MAX_LIBRARY_VERSION_STRING is at most that
  int length = 0;
  return get != nullptr && get(version, &length) == 0 ? std::string(version) : std::string();
}

// "4.1.4": the first word of digits and two dots; empty where there is none.
std::string version_in(const std::string& words) {
  constexpr const char* kParts = "0123456789.";
  for (std::size_t at = 0; (at = words.find_first_of(kParts, at)) != std::string::npos;) {
    const std::size_t end = words.find_first_not_of(kParts, at);
    const std::string word = words.substr(at, end - at);
    if (std::ranges::count(word, '.') == 2 && word.front() != '.' && word.back() != '.') {
      return word;
    }
    at = end;
  }
  return "";
}

// Microseconds of one all-reduce of that many bytes between two workers, or why there is none.
std::optional<double> measure(const std::vector<std::string>& mpirun, std::int64_t bytes,
                              std::string& why) {
  std::vector<std::string> words = mpirun;
  for (const std::string& word :
       {path_of_program(), std::string("bench"), std::string("allreduce"), std::string("--json"),
        text("--min=", bytes), text("--max=", bytes)}) {
    words.push_back(word);
  }
  const std::set<pid_t> inherited = living_children();
  const FinishedChild child = run_child(words, kExchange);
  end_left_processes(1, inherited);
  if (child.timed_out) {
    why = text("no answer within ", kExchange, " s");
    return std::nullopt;
  }
  const std::size_t begin = child.output.find("{\n"), end = child.output.rfind('}');
  if (child.status.code == 0 && begin != std::string::npos && end != std::string::npos) {
    const auto json =
        nlohmann::json::parse(child.output.substr(begin, end + 1 - begin), nullptr, false);
    if (!json.is_discarded() && json.contains("all_reduce") && !json["all_reduce"].empty()) {
      return json["all_reduce"][0].value("exchange_seconds", 0.0) * 1e6;
    }
  }
  MpirunWords said(false);
  std::string passed = said.pass(child.output) + said.finish();
  why = said.cause();
  if (why.empty() || said.told()) why = passed.substr(0, passed.find('\n'));
  if (why.empty()) why = text("exit code ", child.status.code);
  return std::nullopt;
}

// Two workers under that mpirun exchange few bytes, and `mebibytes`.
Finding exchange(const std::string& what, const std::vector<std::string>& mpirun,
                 std::int64_t mebibytes, const std::string& remedy) {
  std::string why;
  const std::optional<double> small = measure(mpirun, 4, why);
  const std::optional<double> large =
      small ? measure(mpirun, mebibytes * kMebibyte, why) : std::nullopt;
  if (!large) return {Verdict::kFailed, what, "two workers could not exchange: " + why, remedy};
  const double rate = static_cast<double>(mebibytes * kMebibyte) / *large / 1e3;
  char words[128];
  std::snprintf(words, sizeof words, "two workers exchange %d MiB at %.2f GB/s, 4 bytes in %.0f us",
                static_cast<int>(mebibytes), rate, *small);
  if (rate >= kSlow) return {Verdict::kOk, what, words};
  return {Verdict::kWarning, what, words,
          "that is less than Gigabit Ethernet; name a faster network with --mca "
          "btl_tcp_if_include=NAME"};
}

// What a host says of itself: the digest of the program, the cores, the time.
struct Answer {
  bool reached = false;
  std::string why;     // it was not
  std::string sha256;  // empty: the program is not there
  int cores = 0;
  double ahead = 0, error = 0;  // of its clock, seconds
};

Answer ask(const std::string& host, const LaunchTarget& target, const Environment& environment) {
  const std::string script = "sha256sum " + shell_line({path_of_program()}) +
                             " 2>/dev/null || echo none; nproc; date +%s.%N";
  const double begin = seconds_of_clock();
  const FinishedChild child =
      run_child(remote_words(target, environment, host, {"/bin/sh", "-c", script}), kAnswer);
  const double end = seconds_of_clock();
  Answer answer;
  std::istringstream in(child.output);
  std::string line, digest;
  double time = 0;
  // A host may greet before it answers.
  while (std::getline(in, line)) {
    std::istringstream words(line);
    words >> digest;
    if (digest == "none" || (digest.size() == 64 &&
                             digest.find_first_not_of("0123456789abcdef") == std::string::npos)) {
      answer.reached = static_cast<bool>(in >> answer.cores >> time);
      break;
    }
  }
  if (!answer.reached) {
    answer.why = child.timed_out        ? text("no answer within ", kAnswer, " s")
                 : child.output.empty() ? text("exit code ", child.status.code)
                                        : child.output.substr(0, child.output.find('\n'));
    return answer;
  }
  if (digest != "none") answer.sha256 = digest;
  answer.error = (end - begin) / 2;
  answer.ahead = time - (begin + end) / 2;
  return answer;
}

// False where nothing more can be asked of it.
bool examine_host(const Host& host, const LaunchTarget& target, const Environment& environment,
                  const Tell& tell) {
  const std::string what = "host " + host.name;
  if (target.remote_shell.empty()) {
    std::string why;
    if (address_of(host.name, why).empty()) {
      tell({Verdict::kFailed, what, "its name is not known: " + why,
            "check --hosts, or /etc/hosts and DNS"});
      return false;
    }
  }
  const Answer answer = ask(host.name, target, environment);
  if (!answer.reached) {
    tell({Verdict::kFailed, what, "cannot be reached: " + answer.why,
          "it must run commands without a password (ssh-copy-id), or give --remote-shell"});
    return false;
  }
  if (answer.sha256 != sha256_of_program()) {
    tell({Verdict::kFailed, what,
          answer.sha256.empty() ? path_of_program() + " is not there"
                                : path_of_program() + " is another program there",
          "install the same build at the same place on all hosts"});
    return false;
  }
  tell({Verdict::kOk, what,
        text("is reached, has the same program, ", answer.cores,
             answer.cores == 1 ? " core" : " cores")});
  if (host.workers > answer.cores) {
    tell({Verdict::kWarning, what,
          text(host.workers, " workers for ", answer.cores, answer.cores == 1 ? " core" : " cores"),
          text("give it at most ", host.name, ":", answer.cores)});
  }
  tell(judge_clock(host.name, answer.ahead, answer.error));
  return true;
}

}  // namespace

Finding judge_mpi_versions(const std::string& linked, const std::string& mpirun,
                           const std::string& started) {
  const std::string ours = version_in(linked), theirs = version_in(started);
  const std::string both = text(mpirun, " is of Open MPI ", theirs, ", this program uses ", ours);
  if (linked.find("Open MPI") == std::string::npos) {
    return {Verdict::kFailed, "mpirun",
            text("this program uses '", linked.substr(0, linked.find_first_of(",\n")), "'"),
            "build Lockstep with Open MPI"};
  }
  if (ours == theirs) return {Verdict::kOk, "mpirun", text(mpirun, ", Open MPI ", ours)};
  const auto series = [](const std::string& version) {
    return version.substr(0, version.rfind('.'));
  };
  const char* remedy = "use the mpirun of the Open MPI that it was built with: --mpirun PATH";
  return {series(ours) == series(theirs) ? Verdict::kWarning : Verdict::kFailed, "mpirun", both,
          remedy};
}

Finding judge_clock(const std::string& host, double ahead, double error) {
  char words[128];
  std::snprintf(words, sizeof words, "%.2f s %s (+- %.2f s)", std::abs(ahead),
                ahead < 0 ? "behind" : "ahead", error);
  Finding finding{Verdict::kOk, "clock of " + host, words};
  if (std::abs(ahead) - error > kClockOff) {
    finding.verdict = Verdict::kWarning;
    finding.remedy = "times in logs of several hosts cannot be compared; start chrony or ntpd";
  }
  return finding;
}

bool examine_mpi(const LaunchTarget& target, const Environment& environment, const Tell& tell) {
  std::string mpirun, version;
  try {
    mpirun = find_mpirun(target, environment);
    version = mpirun_version(mpirun);
  } catch (const Error& error) {
    const std::string message = error.what();
    const std::size_t remedy = message.rfind("; ");
    tell({Verdict::kFailed, "mpirun", message.substr(0, remedy),
          remedy == std::string::npos ? "name Open MPI's with --mpirun"
                                      : message.substr(remedy + 2)});
    return false;
  }
  const Finding versions = judge_mpi_versions(linked_mpi(), mpirun, version);
  tell(versions);
  if (versions.verdict == Verdict::kFailed) return false;
  LaunchTarget here;
  here.mca = target.mca;
  const Finding found =
      exchange("exchange", mpirun_words({.mpirun = mpirun, .workers = 2}, here), 16,
               "'lockstep launch -n 2 --verbose -- bench allreduce' shows all that mpirun says");
  tell(found);
  return found.verdict != Verdict::kFailed;
}

void examine_hosts(const LaunchTarget& target, const Environment& environment, const Tell& tell) {
  const std::vector<Host> hosts = hosts_of(target.hosts, target.hostfile);
  std::vector<Host> good;
  for (const Host& host : hosts) {
    if (is_this_machine(host.name) || examine_host(host, target, environment, tell)) {
      good.push_back(host);
    }
  }
  for (std::size_t i = 1; i < good.size(); ++i) {
    const std::vector<Host> pair{{good[0].name, 1}, {good[i].name, 1}};
    MpirunCall call{.mpirun = find_mpirun(target, environment), .hosts = pair, .workers = 2};
    tell(exchange(text(pair[0].name, " and ", pair[1].name), mpirun_words(call, target), 1,
                  "let TCP pass between them on all ports, or name the network: --mca "
                  "btl_tcp_if_include=eth0 --mca oob_tcp_if_include=eth0"));
  }
}

}  // namespace lockstep
