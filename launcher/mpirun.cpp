#include "launcher/mpirun.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <sstream>
#include <string_view>

#include "core/base/error.h"
#include "launcher/child_process.h"

namespace lockstep {
namespace {

bool is_rule(const std::string& line) {
  return line.size() > 60 && line.find_first_not_of('-') == std::string::npos;
}

// Paragraphs that say that something failed, not what.
bool says_little(const std::string& paragraph) {
  for (const char* begin : {"Primary job", "MPI_ABORT was invoked", "mpirun detected that one"}) {
    if (paragraph.starts_with(begin)) return true;
  }
  return false;
}

// mpirun counts the paragraphs that it has not shown, and says that it does what it was asked to.
bool is_chatter(const std::string& line) {
  const auto says = [&](const char* words) { return line.find(words) != std::string::npos; };
  if (line.starts_with("[")) {
    return says(" have sent help message ") || says(" has sent help message ") ||
           says("orte_base_help_aggregate");
  }
  return says("mpirun: Forwarding signal ");
}

std::string on_one_line(const std::string& paragraph) {
  constexpr std::size_t kMost = 400;
  std::string out;
  std::istringstream in(paragraph);
  for (std::string word; in >> word;) out += (out.empty() ? "" : " ") + word;
  if (out.size() > kMost) out = out.substr(0, kMost) + " ...";
  return out;
}

}  // namespace

std::string find_mpirun(const LaunchTarget& target, const Environment& environment) {
  if (!target.mpirun.empty()) {
    if (access(target.mpirun.c_str(), X_OK) != 0 || std::filesystem::is_directory(target.mpirun)) {
      bad_input("--mpirun ", target.mpirun, ": is no program that can be run");
    }
    return target.mpirun;
  }
  const std::string found = find_program("mpirun", environment);
  check_input(!found.empty(),
              "mpirun is not in PATH; install openmpi-bin, load the module of Open MPI, or name it "
              "with --mpirun");
  return found;
}

std::string mpirun_version(const std::string& mpirun) {
  const FinishedChild child = run_child({mpirun, "--version"}, 10);
  const std::string first = child.output.substr(0, child.output.find('\n'));
  if (child.timed_out) environment_failed(mpirun, " --version does not answer");
  check_input(child.status.code == 0 && first.find("Open MPI") != std::string::npos, mpirun,
              " is not Open MPI's: its --version says '", first,
              "'; name Open MPI's with --mpirun");
  return first;
}

std::vector<std::string> mpirun_words(const MpirunCall& call, const LaunchTarget& target) {
  std::vector<std::string> words{call.mpirun};
  const auto add = [&](std::initializer_list<std::string> more) {
    words.insert(words.end(), more);
  };
  const bool here = call.hosts.empty() ? !call.allocated : all_on_this_machine(call.hosts);
  if (geteuid() == 0) add({"--allow-run-as-root"});
  // Lockstep divides the cores of a host itself (launcher/placement.h).
  add({"--bind-to", "none"});
  // The loss of a host is seen after about 5 seconds, not after 8 minutes.
  add({"--mca", "oob_tcp_keepalive_time", "2", "--mca", "oob_tcp_keepalive_intvl", "1"});
  add({"--mca", "oob_tcp_keepalive_probes", "3"});
  // On one machine no fast network is looked for: that takes longer than all the rest.
  if (here) add({"--mca", "pml", "ob1", "--mca", "btl", "self,vader,tcp"});
  if (!target.remote_shell.empty()) add({"--mca", "plm_rsh_agent", target.remote_shell});
  for (const std::string& setting : target.mca) {
    const std::size_t equal = setting.find('=');
    add({"--mca", setting.substr(0, equal), setting.substr(equal + 1)});
  }
  const bool counted =
      std::ranges::all_of(call.hosts, [](const Host& host) { return host.workers > 0; });
  const std::int64_t room =
      call.hosts.empty()
          ? usable_cores()
          : std::accumulate(call.hosts.begin(), call.hosts.end(), std::int64_t{0},
                            [](std::int64_t sum, const Host& host) { return sum + host.workers; });
  if (!call.hosts.empty()) add({"--host", for_mpirun(call.hosts)});
  if (call.workers > 0) {
    // Where the room is not known, more workers than cores are not refused either: a slow run says
    // so by itself.
    if (call.allocated || !counted || call.workers > room) add({"--oversubscribe"});
    add({"-n", std::to_string(call.workers)});
  } else if (counted && !call.hosts.empty()) {
    add({"-n", std::to_string(room)});
  }
  return words;
}

std::vector<std::string> remote_words(const LaunchTarget& target, const Environment& environment,
                                      const std::string& host,
                                      const std::vector<std::string>& command) {
  std::vector<std::string> words;
  std::istringstream agent(target.remote_shell.empty() ? "ssh -o BatchMode=yes -o ConnectTimeout=5"
                                                       : target.remote_shell);
  for (std::string word; agent >> word;) words.push_back(word);
  check_input(!words.empty(), "--remote-shell: expected a command, as \"ssh -p 2222\"");
  if (words[0].find('/') == std::string::npos) {
    const std::string found = find_program(words[0], environment);
    check_input(!found.empty(), words[0],
                " is not in PATH, but starts the workers of other hosts; install openssh-client or "
                "name another with --remote-shell");
    words[0] = found;
  }
  words.push_back(host);
  // The remote shell joins the words with spaces.
  words.push_back(shell_line(command));
  return words;
}

std::string path_of_program() {
  return std::filesystem::read_symlink("/proc/self/exe").string();
}

std::string MpirunWords::pass(const std::string& bytes) {
  std::string out;
  begun_ += bytes;
  for (std::size_t end; (end = begun_.find('\n')) != std::string::npos;) {
    line(begun_.substr(0, end), out);
    begun_.erase(0, end + 1);
  }
  return out;
}

std::string MpirunWords::finish() {
  std::string out;
  if (!begun_.empty()) line(begun_, out);
  begun_.clear();
  if (in_paragraph_ && !paragraph_.empty()) paragraphs_.push_back(paragraph_);
  in_paragraph_ = false;
  return out;
}

// What a line says about how the run goes.
void MpirunWords::note(const std::string& text) {
  constexpr std::string_view kOurs = "lockstep: ";
  if (text.starts_with(kOurs) && !text.starts_with("lockstep: warning: ")) {
    if (told_line_.empty()) told_line_ = text.substr(kOurs.size());
    if (!fault_) fault_ = blame_in_fault(text);
  }
  if (text.starts_with("ORTE has lost communication")) lost_ = true;
  // "  Remote daemon: [[41062,0],2] on node h2": the other end of the connection
  constexpr std::string_view kOnNode = " on node ";
  if (const std::size_t at = text.rfind(kOnNode);
      lost_ && at != std::string::npos && text.find("Remote daemon") != std::string::npos) {
    lost_host_ = text.substr(at + kOnNode.size());
  }
}

void MpirunWords::line(const std::string& text, std::string& out) {
  note(text);
  const bool ours = text.starts_with("lockstep: ");
  if (all_) out += text + '\n';
  if (is_rule(text)) {
    if (in_paragraph_ && !paragraph_.empty()) paragraphs_.push_back(paragraph_);
    paragraph_.clear();
    in_paragraph_ = !in_paragraph_;
  } else if (in_paragraph_ && !ours) {
    paragraph_ += text + '\n';
  } else if (!all_ && (ours || !only_workers_) && !is_chatter(text)) {
    out += text + '\n';
  }
}

Blame MpirunWords::blame() const {
  if (!lost_host_.empty() && (!fault_ || fault_->host != lost_host_)) return {.host = lost_host_};
  if (fault_) return *fault_;
  for (const std::string& paragraph : paragraphs_) {
    if (const auto found = blame_in_paragraph(on_one_line(paragraph))) return *found;
  }
  return {};
}

std::string MpirunWords::cause() const {
  for (const std::string& paragraph : paragraphs_) {
    if (!says_little(paragraph)) return on_one_line(paragraph);
  }
  return paragraphs_.empty() ? "" : on_one_line(paragraphs_.front());
}

}  // namespace lockstep
