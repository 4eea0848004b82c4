#include "launcher/autotune.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "dist/agree.h"

namespace lockstep {
namespace {

// All ranks learn what this one knows.
void share(Communicator& communicator, AlgorithmCache& algorithms, std::size_t from) {
  const bool mine = static_cast<std::size_t>(communicator.rank()) == from;
  const auto all = gather_texts(communicator, mine ? algorithms.to_text() : "", "algorithms");
  std::string why;
  require(algorithms.add_text(all.at(from), why), "the algorithms of rank ", from, ": ", why);
}

// What a file has, where there is one and it is whole.
void load(AlgorithmCache& algorithms, const std::string& path) {
  std::string why;
  algorithms.load(path, why);
  if (!why.empty()) std::fprintf(stderr, "lockstep: warning: %s; it is passed over\n", why.c_str());
}

}  // namespace

std::string user_algorithms() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  const std::string cache = variable("XDG_CACHE_HOME"), home = variable("HOME");
  if (!cache.empty()) return cache + "/lockstep/algorithms";
  return home.empty() ? "" : home + "/.cache/lockstep/algorithms";
}

void take_algorithms(Communicator& communicator, AlgorithmCache& algorithms, const std::vector<std::string>& files) {
  algorithms.take_fastest(true);
  together(communicator, [&] {
    if (communicator.rank() != 0) return;
    for (const std::string& path : files) {
      if (!path.empty()) load(algorithms, path);
    }
  });
  share(communicator, algorithms, 0);
}

Autotuned autotune(Communicator& communicator, AlgorithmCache& algorithms, const std::function<void()>& make_kernels) {
  // The others wait meanwhile, with their deadline.
  constexpr double kSlice = 10;  // seconds
  const std::int64_t begin = monotonic_nanoseconds();
  Autotuned out;
  for (;;) {
    // Every worker may have problems that no other has: parts of a batch of another size.
    std::set<std::string> open;
    together(communicator, [&] {
      make_kernels();
      open = algorithms.take_unmeasured();
    });
    const auto counts = gather_doubles(communicator, {static_cast<double>(open.size())}, "algorithms to measure");
    const auto next = std::ranges::find_if(counts, [](const std::vector<double>& count) { return count.at(0) > 0; });
    if (next == counts.end()) break;
    const auto measurer = static_cast<std::size_t>(next - counts.begin());
    const std::size_t known = algorithms.size();
    together(communicator, [&] {
      if (static_cast<std::size_t>(communicator.rank()) != measurer) return;
      algorithms.measure_for(kSlice);
      make_kernels();
      algorithms.measure_for(0);
    });
    share(communicator, algorithms, measurer);
    out.measured += algorithms.size() - known;
  }
  out.seconds = static_cast<double>(monotonic_nanoseconds() - begin) * 1e-9;
  return out;
}

void keep_for_user(AlgorithmCache& algorithms) {
  const std::string path = user_algorithms();
  if (path.empty()) return;
  try {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    load(algorithms, path);
    algorithms.save(path);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lockstep: warning: the algorithms that were measured are not kept for later trainings: %s\n",
                 error.what());
  }
}

}  // namespace lockstep
