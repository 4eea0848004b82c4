// Event files for TensorBoard, written without protobuf.
//
//   file   = record*
//   record = u64 length, u32 masked_crc(length), byte data[length], u32 masked_crc(data)
//   data   = an Event message of tensorflow/core/util/event.proto
//
// Integers are little-endian; masked_crc(x) is CRC-32C rotated right by 15 bits plus 0xa282ead8.
// Used by one thread.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "launcher/append_file.h"
#include "launcher/log.h"

namespace lockstep {

class EventFile {
 public:
  // Creates "events.out.tfevents.<unix time>.<host>.<process>" in `directory`. A run that is
  // resumed gives the step it starts from: TensorBoard then drops what earlier files say about
  // later steps.
  explicit EventFile(const std::string& directory, std::int64_t resumed_step = 0);
  // Curves train/loss, train/<metric>, learning_rate, samples_per_second; at most 20 points a
  // second, since a curve is drawn with a few thousand at most.
  void step(const StepRecord& record);
  // Curves <data>/<metric>.
  void evaluation(const EvaluationRecord& record);

  // Throws failed environment where the disk does not take the records.
  void flush() { file_.flush(); }

  const std::string& path() const { return file_.path(); }

 private:
  void begin_event(std::int64_t step, double wall_time);
  void add_scalar(std::string_view group, std::string_view name, double value);
  void end_event();

  AppendFile file_;
  std::string event_, summary_, value_, tag_;  // kept, so that writing does not allocate
  std::set<std::string, std::less<>> seen_;    // tags whose metadata is written
  double stepped_at_ = -1.0;                   // elapsed of the last step that was written
};

// CRC-32C (Castagnoli), and the form in which event files hold it.
std::uint32_t crc32c(std::string_view bytes);
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace lockstep
