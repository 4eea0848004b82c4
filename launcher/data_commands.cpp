// The commands that make datasets and look at them: data info, verify, import and synthesize.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "datasets/dataset.h"
#include "datasets/describe.h"
#include "datasets/import/format.h"
#include "datasets/verify.h"
#include "launcher/commands.h"
#include "launcher/stop_signal.h"

namespace lockstep {
namespace {

// One line on a terminal that says how far the work is; it is gone when the object is.
class ProgressLine {
 public:
  ~ProgressLine() { clear(); }

  void written(std::int64_t done, std::int64_t all) {
    if (!is_due()) return;
    const double seconds = std::chrono::duration<double>(shown_ - begin_).count();
    const double rate = static_cast<double>(done) / std::max(seconds, 1e-3);
    const double left = static_cast<double>(all - done) / std::max(rate, 1e-9);
    std::fprintf(stderr, "\r\033[K%3.0f %%, %lld of %lld samples, %.0f a second, %.0f s left",
                 100.0 * static_cast<double>(done) / static_cast<double>(all),
                 static_cast<long long>(done), static_cast<long long>(all), rate, left);
    std::fflush(stderr);
  }

  void read(double part) {
    if (!is_due()) return;
    std::fprintf(stderr, "\r\033[K%3.0f %% read", 100.0 * part);
    std::fflush(stderr);
  }

  void clear() {
    if (is_there_) std::fprintf(stderr, "\r\033[K");
    is_there_ = false;
  }

 private:
  // A few times a second, on a terminal.
  bool is_due() {
    const auto now = std::chrono::steady_clock::now();
    if (::isatty(STDERR_FILENO) == 0 || now - shown_ < std::chrono::milliseconds(100)) return false;
    shown_ = now;
    is_there_ = true;
    return true;
  }

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
    line.written(done, all);
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
  try_sources({command.dataset});
  std::printf("%s", describe_dataset({command.dataset}).c_str());
  return kExitDone;
}

int run_command(const DataVerifyCommand& command, const ProgramContext&) {
  try_sources({command.dataset});
  ProgressLine line;
  const VerifyReport report = verify_dataset(
      command.dataset,
      {.target = command.target, .classes = command.classes, .progress = [&](double part) { line.read(part); }});
  line.clear();
  for (const std::string& problem : report.problems) std::fprintf(stderr, "lockstep: %s\n", problem.c_str());
  if (report.more > 0) std::fprintf(stderr, "lockstep: and %lld more\n", static_cast<long long>(report.more));
  std::printf("%lld samples, %.1f MB read, %lld checksums compared: ", static_cast<long long>(report.samples),
              static_cast<double>(report.bytes) / 1e6, static_cast<long long>(report.checksums));
  if (report.good()) {
    std::printf("all good, fingerprint %s\n", report.fingerprint.c_str());
    return kExitDone;
  }
  std::printf("%lld problems\n", static_cast<long long>(report.problems.size()) + static_cast<long long>(report.more));
  return kExitBadInput;
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
