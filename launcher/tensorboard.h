// Event files for TensorBoard, written without protobuf.
//
//   file   = record*
//   record = u64 length, u32 masked_crc(length), byte data[length], u32 masked_crc(data)
//   data   = an Event message of tensorflow/core/util/event.proto
//
// Integers are little-endian; masked_crc(x) is CRC-32C rotated right by 15 bits plus 0xa282ead8.
// Used by one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "launcher/log.h"

namespace lockstep {

class EventFile {
 public:
  // Creates "events.out.tfevents.<unix time>.<host>.<process>" in `directory`. A run that is
  // resumed gives the step it starts from: TensorBoard then drops what earlier files say about
  // later steps.
  explicit EventFile(const std::string& directory, std::int64_t resumed_step = 0);
  ~EventFile();  // flushes; failures are lost here, so call flush() before
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  // One point of each of several curves ("train/loss", "test/accuracy"). `wall_time` is unix time.
  void scalars(std::int64_t step, double wall_time, std::span<const NamedNumber> values);

  // Curves train/loss, train/<metric>, learning_rate, samples_per_second; at most 20 points a
  // second, since a curve is drawn with a few thousand at most.
  void step(const StepRecord& record);
  // Curves <data>/<metric>.
  void evaluation(const EvaluationRecord& record);

  // Throws failed environment where the disk does not take the records.
  void flush();

  const std::string& path() const { return path_; }

 private:
  void record(std::string_view data);

  std::string path_;
  int file_ = -1;
  std::string buffer_, event_, summary_, value_, tag_;  // kept, so that writing does not allocate
  std::set<std::string, std::less<>> seen_;             // tags whose metadata is written
  double stepped_at_ = -1.0;                            // elapsed of the last step that was written
  std::chrono::steady_clock::time_point flushed_;
};

// CRC-32C (Castagnoli), and the form in which event files hold it.
std::uint32_t crc32c(std::string_view bytes);
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace lockstep
