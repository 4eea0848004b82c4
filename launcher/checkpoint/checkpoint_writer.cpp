#include "launcher/checkpoint/checkpoint_writer.h"

#include <thread>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "dist/agree.h"
#include "launcher/checkpoint/part.h"
#include "launcher/checkpoint/stored_checkpoint.h"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;

constexpr auto kGlance = std::chrono::milliseconds(20);
constexpr char kFailed[] = "failed: ";  // begins what a thread says that failed

// A thread's work, whose errors become what it says.
template <typename Work>
std::future<std::string> in_background(Work work) {
  return std::async(std::launch::async, [work]() -> std::string {
    try {
      return work();
    } catch (const std::exception& error) {
      return std::string(kFailed) + error.what();
    }
  });
}

bool has_failed(const std::string& said) { return said.starts_with(kFailed); }
std::string reason_of(const std::string& said) { return said.substr(sizeof kFailed - 1); }

}  // namespace

CheckpointWriter::CheckpointWriter(Training& training, CheckpointOptions options)
    : training_(training),
      options_(std::move(options)),
      copy_(training.worker().device(), training.own_state()),
      committed_step_(options_.loaded_step) {
  Communicator& communicator = training_.worker().communicator();
  together(communicator, [&] {
    if (communicator.rank() != 0) return;
    const FileSystem& files = *options_.files;
    remove_unfinished(options_.directory, files);
    files.make_directories(options_.directory);
    files.sync(directory_of(options_.directory));
    // There may be room needed, and fewer to be kept than before.
    if (committed_step_ >= 0) remove_old_checkpoints(options_.directory, committed_step_, options_.retention, files);
  });
}

CheckpointWriter::~CheckpointWriter() = default;

std::string CheckpointWriter::unfinished_path() const {
  return options_.directory + "/" + unfinished_name(current_.step);
}

bool CheckpointWriter::begin(CheckpointNotes notes) {
  next_due_ = Clock::now();
  finish();
  next_due_.reset();
  if (training_.step() == committed_step_) return false;
  Communicator& communicator = training_.worker().communicator();  // waits for the exchange under way
  copy_.take();
  notes_ = std::move(notes);
  begun_ = Clock::now();
  current_ = {.step = training_.step(), .path = options_.directory + "/" + step_name(training_.step())};
  stage_ = Stage::kParts;
  work_ = in_background([this, rank = communicator.rank()] {
    options_.files->make_directories(unfinished_path());
    const std::string path = unfinished_path() + "/" + part_name(rank);
    return to_json(write_part(path, copy_.slices(), *options_.files)).dump();
  });
  return true;
}

void CheckpointWriter::amend(const CheckpointNotes& notes) {
  together(training_.worker().communicator(), [&] {
    if (training_.worker().rank() != 0 || committed_step_ != training_.step()) return;
    const std::string path = options_.directory + "/" + step_name(committed_step_);
    Manifest manifest = read_manifest(path, *options_.files);
    manifest.evaluated = notes.evaluated;
    manifest.metrics = notes.metrics;
    manifest.followed = notes.followed;
    for (const std::string& file : options_.belonging) options_.files->sync(file);
    options_.files->write_atomic(manifest_path(path), manifest.to_text());
  });
}

bool CheckpointWriter::busy() const {
  return work_.valid() && work_.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
}

void CheckpointWriter::advance() {
  Communicator& communicator = training_.worker().communicator();
  const std::string mine = work_.valid() ? work_.get() : std::string();
  const std::vector<std::string> all = gather_texts(communicator, mine, "checkpoint");
  if (stage_ == Stage::kCommit) {
    end(has_failed(all[0]) ? reason_of(all[0]) : std::string());
    return;
  }
  stage_ = Stage::kCommit;
  std::vector<PartEntry> parts;
  std::string failed;
  for (std::size_t rank = 0; rank < all.size() && failed.empty(); ++rank) {
    if (!has_failed(all[rank])) {
      parts.push_back(part_entry_from(Json::parse(all[rank])));
    } else {
      failed = all.size() == 1 ? reason_of(all[0]) : text("rank ", rank, ": ", reason_of(all[rank]));
    }
  }
  if (communicator.rank() != 0) return;
  work_ = in_background([this, parts, failed] { return failed.empty() ? commit(parts) : give_up(failed); });
}

const CheckpointOutcome& CheckpointWriter::finish() {
  // The others may be slower than run.deadline lets anyone wait: they are asked again and again.
  while (pending()) {
    if (work_.valid()) work_.wait_for(kGlance);
    bool any_busy = false;
    const double mine = busy() ? 1 : 0;
    for (const auto& rank : gather_doubles(training_.worker().communicator(), {mine}, "checkpoint")) {
      any_busy = any_busy || rank.at(0) != 0;
    }
    if (!any_busy) {
      advance();
    } else if (mine == 0) {
      std::this_thread::sleep_for(kGlance);
    }
  }
  return current_;
}

void CheckpointWriter::end(const std::string& error) {
  stage_ = Stage::kIdle;
  current_.error = error;
  current_.seconds = seconds_since(begun_);
  if (next_due_) current_.waited = seconds_since(*next_due_);
  if (error.empty()) committed_step_ = current_.step;
  if (options_.ended) options_.ended(current_);
}

Manifest CheckpointWriter::manifest_of(const std::vector<PartEntry>& parts) const {
  return {.step = current_.step,
          .written = utc_now(),
          .configuration = config_hash(training_.config(), training_.worker().world_size()),
          .dataset = training_.data().record.fingerprint,
          .world_size = static_cast<std::int64_t>(parts.size()),
          .evaluated = notes_.evaluated,
          .metrics = notes_.metrics,
          .followed = notes_.followed,
          .tensors = training_.state_shapes(),
          .parts = parts};
}

// Rank 0's thread. Nobody writes there now, and nobody begins to before it is done.
std::string CheckpointWriter::give_up(const std::string& why) const {
  try {
    options_.files->remove(unfinished_path());
  } catch (const Error&) {
    // What is left does no harm, and the next run removes it.
  }
  return kFailed + why;
}

// Rank 0's thread.
std::string CheckpointWriter::commit(const std::vector<PartEntry>& parts) const {
  const FileSystem& files = *options_.files;
  const std::string from = unfinished_path();
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    const std::string path = from + "/" + parts[rank].file;
    if (is_file(path) && file_size(path) == parts[rank].bytes) continue;
    environment_failed(path, ": was written by rank ", rank,
                       " and is not seen by rank 0; the run directory must lie on a file system that all hosts share");
  }
  for (const std::string& file : options_.belonging) files.sync(file);
  files.write_atomic(manifest_path(from), manifest_of(parts).to_text());
  // One of that step may be there: a broken one, or one whose name was not on the disk for sure.
  const std::string aside = options_.directory + "/" + unfinished_name(current_.step) + ".old.tmp";
  if (is_directory(current_.path)) files.rename(current_.path, aside);
  files.rename(from, current_.path);
  files.sync(options_.directory);
  try {
    files.remove(aside);
    remove_old_checkpoints(options_.directory, current_.step, options_.retention, files);
  } catch (const std::exception&) {
    // One that stays too long does no harm; the next checkpoint tries again.
  }
  return {};
}

}  // namespace lockstep
