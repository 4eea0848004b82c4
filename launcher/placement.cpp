#include "launcher/placement.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "core/base/error.h"
#include "dist/agree.h"

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

// Reads what written() writes; nothing where it is something else.
std::vector<int> read_cores(const std::string& list) {
  std::vector<int> out;
  std::istringstream in(list);
  for (int first = 0; in >> first;) {
    int last = first;
    if (in.peek() == '-') {
      in.get();
      if (!(in >> last)) return {};
    }
    if (first < 0 || last >= CPU_SETSIZE) return {};
    for (int core = first; core <= last; ++core) out.push_back(core);
    if (in.peek() == ',') in.get();
  }
  return out;
}

std::string text_of_file(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return std::move(out).str();
}

std::map<std::string, std::vector<const WorkerPlace*>> by_host(const std::vector<WorkerPlace>& places) {
  std::map<std::string, std::vector<const WorkerPlace*>> out;
  for (const WorkerPlace& place : places) out[place.host].push_back(&place);
  return out;
}

}  // namespace

// ---- Who is where --------------------------------------------------------------------------------

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

// host, process, GPU, number of GPUs, their uuids and buses, cores: none of them has a space in it.
std::vector<WorkerPlace> gather_places(Communicator& communicator, const WorkerPlace& mine) {
  std::string line = text(mine.host, ' ', mine.process, ' ', mine.gpu, ' ', mine.gpus.size());
  for (const VisibleGpu& gpu : mine.gpus) line += text(' ', gpu.uuid, ' ', gpu.bus);
  for (const int core : mine.cores) line += text(' ', core);
  std::vector<WorkerPlace> out;
  for (const std::string& theirs : gather_texts(communicator, line, "places of the workers")) {
    std::istringstream in(theirs);
    WorkerPlace& place = out.emplace_back();
    place.rank = static_cast<int>(out.size()) - 1;
    std::size_t gpus = 0;
    in >> place.host >> place.process >> place.gpu >> gpus;
    for (VisibleGpu gpu; gpus > 0 && in >> gpu.uuid >> gpu.bus; --gpus) place.gpus.push_back(gpu);
    for (int core = 0; in >> core;) place.cores.push_back(core);
  }
  return out;
}

std::vector<WorkerPlace> gather_places(Communicator& communicator) {
  return gather_places(communicator, own_place(communicator.rank()));
}

std::vector<WorkerPlace> place_workers(Communicator& communicator, const PlacementOptions& options) {
  WorkerPlace mine = own_place(communicator.rank());
  mine.gpus = options.gpus;
  std::vector<WorkerPlace> places = gather_places(communicator, mine);
  try {
    choose_gpus(places, options.may_share_gpu);
  } catch (const Error& error) {
    throw SharedError(error.kind(), error.what());
  }
  if (communicator.size() == 1) return places;
  const auto near = [](const std::string& bus) { return cores_near_gpu(bus, text_of_file); };
  mine = places[static_cast<std::size_t>(communicator.rank())];
  bind_to_cores(share_of_cores(places, mine.rank, options.threads, near));
  mine.cores = own_place(mine.rank).cores;
  return gather_places(communicator, mine);
}

// ---- GPUs ----------------------------------------------------------------------------------------

std::vector<VisibleGpu> visible_gpus(const GpuBackend& backend) {
  std::string why;
  std::vector<VisibleGpu> out;
  const int count = backend.device_count(why);
  for (int i = 0; i < count; ++i) {
    const GpuDescription gpu = backend.describe(i);
    out.push_back({gpu.uuid, gpu.bus});
  }
  return out;
}

namespace {

const VisibleGpu& taken_gpu(const WorkerPlace& place) { return place.gpus[static_cast<std::size_t>(place.gpu)]; }

// The ranks that compute on each GPU, by uuid.
std::map<std::string, std::vector<int>> users_of_gpus(const std::vector<WorkerPlace>& places) {
  std::map<std::string, std::vector<int>> out;
  for (const WorkerPlace& place : places) {
    if (place.gpu >= 0) out[taken_gpu(place).uuid].push_back(place.rank);
  }
  return out;
}

[[noreturn]] void refuse_shared_gpu(const std::vector<WorkerPlace>& places, int first, int second) {
  const WorkerPlace& place = places.at(static_cast<std::size_t>(second));
  std::set<std::string> seen;
  std::size_t workers = 0;
  for (const WorkerPlace& other : places) {
    if (other.host != place.host) continue;
    ++workers;
    for (const VisibleGpu& gpu : other.gpus) seen.insert(gpu.uuid);
  }
  const std::string both = text("ranks ", first, " and ", second, " on ", place.host, " would compute on one GPU (",
                                taken_gpu(place).bus, ")");
  const char* share = "or let workers share a GPU with run.share_gpu = true";
  if (workers <= seen.size()) {
    bad_input(both, ", for their launcher shows them no other; give each its own (srun --gpus-per-task=1), ", share);
  }
  const std::size_t gpus = seen.size();
  bad_input(both, ", for ", place.host, " has ", gpus, gpus == 1 ? " GPU" : " GPUs", " for ", workers,
            " workers; start at most ", gpus, " there (lockstep launch --hosts ", place.host, ":", gpus, "), ", share);
}

}  // namespace

// Who has less to choose from chooses first.
void choose_gpus(std::vector<WorkerPlace>& places, bool may_share) {
  std::vector<WorkerPlace*> order;
  for (WorkerPlace& place : places) order.push_back(&place);
  std::ranges::stable_sort(order, {}, [](const WorkerPlace* place) { return place->gpus.size(); });
  std::map<std::string, int> workers;  // by uuid
  for (WorkerPlace* place : order) {
    place->gpu = -1;
    if (place->gpus.empty()) continue;
    const auto chosen = std::ranges::min_element(place->gpus, {}, [&](const VisibleGpu& gpu) { return workers[gpu.uuid]; });
    place->gpu = static_cast<int>(chosen - place->gpus.begin());
    ++workers[chosen->uuid];
  }
  if (may_share) return;
  for (const auto& [uuid, ranks] : users_of_gpus(places)) {
    if (ranks.size() > 1) refuse_shared_gpu(places, ranks[0], ranks[1]);
  }
}

GpuPlace gpu_place(const std::vector<WorkerPlace>& places, int rank) {
  const WorkerPlace& mine = places.at(static_cast<std::size_t>(rank));
  require(mine.gpu >= 0, "rank ", rank, " has no GPU");
  GpuPlace out{.index = mine.gpu};
  for (const auto& [uuid, ranks] : users_of_gpus(places)) {
    if (uuid == taken_gpu(mine).uuid) out.workers = static_cast<int>(ranks.size());
    out.any_shared |= ranks.size() > 1;
  }
  return out;
}

// ---- Cores ---------------------------------------------------------------------------------------

std::vector<int> cores_near_gpu(const std::string& bus, const std::function<std::string(const std::string& path)>& read) {
  return read_cores(read("/sys/bus/pci/devices/" + bus + "/local_cpulist"));
}

namespace {

// The workers of the host of `mine`, in order of their ranks.
std::vector<const WorkerPlace*> neighbours_of(const std::vector<WorkerPlace>& places, const WorkerPlace& mine) {
  std::vector<const WorkerPlace*> out;
  for (const WorkerPlace& place : places) {
    if (place.host == mine.host) out.push_back(&place);
  }
  return out;
}

// The share of one of `sharers`; all cores where there are not enough for each.
std::vector<int> divided(const std::vector<int>& cores, const std::vector<const WorkerPlace*>& sharers, const WorkerPlace& mine,
                         int threads) {
  const std::size_t each = cores.size() / sharers.size();
  if (each < static_cast<std::size_t>(threads)) return cores;
  const auto before = std::ranges::find(sharers, &mine) - sharers.begin();
  const auto begin = cores.begin() + before * static_cast<std::ptrdiff_t>(each);
  return {begin, begin + static_cast<std::ptrdiff_t>(each)};
}

using Sharers = std::map<std::vector<int>, std::vector<const WorkerPlace*>>;  // by cores

// The neighbours by the cores near their GPUs. Empty where these are not known for all, lie in more than one group, or are not
// enough for all of a group.
Sharers by_near_cores(const std::vector<const WorkerPlace*>& neighbours, const CoresNear& near, int threads) {
  Sharers out;
  for (const WorkerPlace* place : neighbours) {
    if (place->gpu < 0) return {};
    std::vector<int> cores;
    const std::vector<int> here = near(taken_gpu(*place).bus);
    std::ranges::set_intersection(place->cores, here, std::back_inserter(cores));
    if (cores.empty()) return {};
    out[cores].push_back(place);
  }
  std::set<int> all;
  for (const auto& [cores, sharers] : out) {
    if (cores.size() < sharers.size() * static_cast<std::size_t>(threads)) return {};
    for (const int core : cores) {
      if (!all.insert(core).second) return {};
    }
  }
  return out;
}

}  // namespace

std::vector<int> share_of_cores(const std::vector<WorkerPlace>& places, int rank, int threads, const CoresNear& near) {
  const WorkerPlace& mine = places.at(static_cast<std::size_t>(rank));
  const std::vector<const WorkerPlace*> neighbours = neighbours_of(places, mine);
  for (const WorkerPlace* place : neighbours) {
    if (place->cores != mine.cores) return mine.cores;  // the launcher has divided them
  }
  if (near) {
    for (const auto& [cores, sharers] : by_near_cores(neighbours, near, threads)) {
      if (std::ranges::find(sharers, &mine) != sharers.end()) return divided(cores, sharers, mine, threads);
    }
  }
  return divided(mine.cores, neighbours, mine, threads);
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

namespace {

std::string device_of(const WorkerPlace& place, const std::string& device) {
  return place.gpu < 0 ? device : text(device, ' ', place.gpu, ", ", taken_gpu(place).bus);
}

}  // namespace

std::string to_table(const std::vector<WorkerPlace>& places, const std::string& device) {
  std::size_t host_width = 4, device_width = 6;
  for (const WorkerPlace& place : places) {
    host_width = std::max(host_width, place.host.size());
    device_width = std::max(device_width, device_of(place, device).size());
  }
  const auto padded = [](std::string word, std::size_t width) { return word.append(width - word.size(), ' '); };
  std::ostringstream out;
  out << "  rank  " << padded("host", host_width) << "  process  " << padded("device", device_width) << "  cores\n";
  for (const WorkerPlace& place : places) {
    char numbers[2][32];
    std::snprintf(numbers[0], sizeof numbers[0], "%6d  ", place.rank);
    std::snprintf(numbers[1], sizeof numbers[1], "  %7d  ", place.process);
    out << numbers[0] << padded(place.host, host_width) << numbers[1] << padded(device_of(place, device), device_width) << "  "
        << written(place.cores) << '\n';
  }
  return std::move(out).str();
}

}  // namespace lockstep
