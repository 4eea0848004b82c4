// The commands that make datasets and look at them: data info, import and synthesize.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "datasets/describe.h"
#include "datasets/import/format.h"
#include "launcher/commands.h"
#include "launcher/stop_signal.h"

namespace lockstep {
namespace {

// One line on a terminal that says how far the writing is; it is gone when the object is.
class ProgressLine {
 public:
  ~ProgressLine() { clear(); }

  void show(std::int64_t done, std::int64_t all) {
    const auto now = std::chrono::steady_clock::now();
    if (::isatty(STDERR_FILENO) == 0 || now - shown_ < std::chrono::milliseconds(100)) return;
    shown_ = now;
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    const double rate = static_cast<double>(done) / std::max(seconds, 1e-3);
    const double left = static_cast<double>(all - done) / std::max(rate, 1e-9);
    std::fprintf(stderr, "\r\033[K%3.0f %%, %lld of %lld samples, %.0f a second, %.0f s left",
                 100.0 * static_cast<double>(done) / static_cast<double>(all),
                 static_cast<long long>(done), static_cast<long long>(all), rate, left);
    std::fflush(stderr);
    is_there_ = true;
  }

  void clear() {
    if (is_there_) std::fprintf(stderr, "\r\033[K");
    is_there_ = false;
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now(), shown_ = {};
  bool is_there_ = false;
};

std::string shape_and_type(const SourceArray& array) {
  return text(array.name, " ", name_of(array.dtype), " ", array.sample);
}

// Writes the shards of a source and tells what was written.
int write_dataset(SampleSource& source, const ShardOptions& options) {
  // A limit on the size of files is an error of writing, not the end of the process.
  std::signal(SIGXFSZ, SIG_IGN);
  const StopSignal stop;
  ProgressLine line;
  const auto sets = write_shards(source, options, [&](std::int64_t done, std::int64_t all) {
    if (stop.arrived()) environment_failed("stopped by a signal; nothing was written");
    line.show(done, all);
  });
  line.clear();
  std::string arrays;
  for (const SourceArray& array : source.arrays()) {
    arrays += (arrays.empty() ? "" : ", ") + shape_and_type(array);
  }
  std::printf("%lld samples: %s\n", static_cast<long long>(source.size()), arrays.c_str());
  for (const std::string& note : source.notes()) std::printf("%s\n", note.c_str());
  for (const WrittenSet& set : sets) {
    std::printf("%s: %lld samples, fingerprint %s\n", set.name.c_str(),
                static_cast<long long>(set.samples), hex_of(set.fingerprint).c_str());
    for (const std::string& file : set.files) std::printf("  %s\n", file.c_str());
  }
  return kExitDone;
}

}  // namespace

int run_command(const DataInspectCommand& command, const ProgramContext&) {
  std::printf("%s", describe_dataset({command.dataset}).c_str());
  return kExitDone;
}

int run_command(const DataImportCommand& command, const ProgramContext&) {
  const auto source = open_source(
      command.format, {command.paths, command.options, scratch_folder(command.shards.output)});
  return write_dataset(*source, command.shards);
}

int run_command(const DataSynthesizeCommand& command, const ProgramContext&) {
  return write_dataset(*synthesize(command.kind, command.request), command.shards);
}

}  // namespace lockstep
