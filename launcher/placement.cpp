#include "launcher/placement.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "core/base/error.h"

namespace lockstep {
namespace {

// "0-3,8": as taskset and Slurm write them.
std::string written(const std::vector<int>& cores) {
  std::string out;
  for (std::size_t i = 0; i < cores.size();) {
    std::size_t end = i;
    while (end + 1 < cores.size() && cores[end + 1] == cores[end] + 1) ++end;
    out += text(out.empty() ? "" : ",", cores[i]);
    if (end > i) out += text("-", cores[end]);
    i = end + 1;
  }
  return out;
}

std::map<std::string, std::vector<const WorkerPlace*>> by_host(const std::vector<WorkerPlace>& places) {
  std::map<std::string, std::vector<const WorkerPlace*>> out;
  for (const WorkerPlace& place : places) out[place.host].push_back(&place);
  return out;
}

}  // namespace

WorkerPlace own_place(int rank) {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  WorkerPlace place{rank, host, static_cast<int>(getpid()), {}};
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &set)) place.cores.push_back(core);
    }
  }
  return place;
}

std::vector<WorkerPlace> gather_places(Communicator& communicator) {
  const WorkerPlace mine = own_place(communicator.rank());
  std::string line = text(mine.host, ' ', mine.process);
  for (const int core : mine.cores) line += text(' ', core);
  std::vector<WorkerPlace> out;
  for (const std::string& theirs : gather_texts(communicator, line, "places of the workers")) {
    std::istringstream in(theirs);
    WorkerPlace& place = out.emplace_back();
    place.rank = static_cast<int>(out.size()) - 1;
    in >> place.host >> place.process;
    for (int core = 0; in >> core;) place.cores.push_back(core);
  }
  return out;
}

std::vector<int> share_of_cores(const std::vector<WorkerPlace>& places, int rank, int threads) {
  const WorkerPlace& mine = places.at(rank);
  std::size_t neighbours = 0, before = 0;
  for (const WorkerPlace& place : places) {
    if (place.host != mine.host) continue;
    if (place.cores != mine.cores) return mine.cores;  // the launcher has divided them
    ++neighbours;
    before += place.rank < rank;
  }
  const std::size_t each = mine.cores.size() / neighbours;
  if (each < static_cast<std::size_t>(threads)) return mine.cores;
  return {mine.cores.begin() + before * each, mine.cores.begin() + (before + 1) * each};
}

void bind_to_cores(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  // Where the system does not allow it the run is slower, not wrong.
  if (!cores.empty()) sched_setaffinity(0, sizeof set, &set);
}

std::vector<std::string> oversubscribed_hosts(const std::vector<WorkerPlace>& places, int threads) {
  std::vector<std::string> out;
  for (const auto& [host, workers] : by_host(places)) {
    std::set<int> cores;
    for (const WorkerPlace* worker : workers) cores.insert(worker->cores.begin(), worker->cores.end());
    const std::size_t needed = workers.size() * threads;
    if (needed <= cores.size()) continue;
    out.push_back(text(host, ": ", workers.size(), " workers of ", threads, threads == 1 ? " thread" : " threads",
                       " share ", cores.size(), cores.size() == 1 ? " core" : " cores",
                       ": correct, but slower than ", std::max<std::size_t>(1, cores.size() / threads),
                       " workers would be (mpirun --bind-to none frees cores that a launcher has taken away)"));
  }
  return out;
}

std::string to_table(const std::vector<WorkerPlace>& places, const std::string& device) {
  std::size_t width = 4;
  for (const WorkerPlace& place : places) width = std::max(width, place.host.size());
  std::ostringstream out;
  out << "  rank  " << std::string("host").append(width - 4, ' ') << "  process  device  cores\n";
  for (const WorkerPlace& place : places) {
    char line[128];
    std::snprintf(line, sizeof line, "%6d  %-*.64s  %7d  %-6.6s  ", place.rank, static_cast<int>(width),
                  place.host.c_str(), place.process, device.c_str());
    out << line << written(place.cores) << '\n';
  }
  return std::move(out).str();
}

}  // namespace lockstep
