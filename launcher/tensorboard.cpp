#include "launcher/tensorboard.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <ctime>

#include "core/base/error.h"
#include "core/base/file.h"

namespace lockstep {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is written as memory is");

constexpr double kStepSeconds = 0.05;  // between steps that are written

// ---- CRC-32C ------------------------------------------------------------------------------------

constexpr std::uint32_t kCastagnoli = 0x82F63B78u;  // reflected

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ ((rest & 1u) != 0 ? kCastagnoli : 0u);
    table[byte] = rest;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kCrcTable = make_crc_table();

// ---- Protocol buffers: field = varint(number << 3 | wire type), then the value ------------------

enum class Wire : unsigned { kVarint = 0, kFixed64 = 1, kBytes = 2 };

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void append_key(std::string& out, unsigned field, Wire wire) {
  append_varint(out, field << 3 | static_cast<unsigned>(wire));
}

template <typename Number>
void append_raw(std::string& out, Number value) {
  char bytes[sizeof(Number)];
  std::memcpy(bytes, &value, sizeof(Number));
  out.append(bytes, sizeof(Number));
}

void append_integer(std::string& out, unsigned field, std::uint64_t value) {
  append_key(out, field, Wire::kVarint);
  append_varint(out, value);
}

void append_double(std::string& out, unsigned field, double value) {
  append_key(out, field, Wire::kFixed64);
  append_raw(out, value);
}

void append_bytes(std::string& out, unsigned field, std::string_view bytes) {
  append_key(out, field, Wire::kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

// Fields of the messages, as in event.proto, summary.proto and tensor.proto of TensorFlow.
namespace event_field {
constexpr unsigned kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
}
namespace value_field {
constexpr unsigned kTag = 1, kTensor = 8, kMetadata = 9;
}

// SummaryMetadata {plugin_data {plugin_name "scalars"} data_class DATA_CLASS_SCALAR}
constexpr std::string_view kScalarMetadata{"\x0a\x09\x0a\x07scalars\x20\x01", 13};
// SessionLog {status START}
constexpr std::string_view kSessionStart{"\x08\x01", 2};

// TensorProto {dtype DT_FLOAT tensor_shape {} float_val [value]}
std::array<char, 10> scalar_tensor(float value) {
  std::array<char, 10> out{0x08, 0x01, 0x12, 0x00, 0x2a, 0x04};
  std::memcpy(out.data() + 6, &value, sizeof(value));
  return out;
}

double unix_time() {
  using std::chrono::duration;
  return duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// A name that no file has yet.
std::string new_file_name(const std::string& directory) {
  char host[256] = "";
  if (::gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0') std::strcpy(host, "localhost");
  const std::string stem =
      text(directory, "/events.out.tfevents.", std::time(nullptr), ".", host, ".", ::getpid(), ".");
  for (int number = 0;; ++number) {
    const std::string path = text(stem, number);
    if (!is_file(path)) return path;
  }
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t rest = ~0u;
  for (const char c : bytes) {
    rest = (rest >> 8) ^ kCrcTable[(rest ^ static_cast<unsigned char>(c)) & 0xffu];
  }
  return ~rest;
}

std::uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8u;
}

EventFile::EventFile(const std::string& directory, std::int64_t resumed_step)
    : file_(new_file_name(directory), false) {
  begin_event(0, unix_time());
  append_bytes(event_, event_field::kFileVersion, "brain.Event:2");
  end_event();
  // A second start of a run makes TensorBoard forget the points of earlier files from that step on;
  // it knows the second by the first.
  begin_event(resumed_step + 1, unix_time());
  append_bytes(event_, event_field::kSessionLog, kSessionStart);
  end_event();
  file_.flush();
}

void EventFile::begin_event(std::int64_t step, double wall_time) {
  event_.clear();
  summary_.clear();
  append_double(event_, event_field::kWallTime, wall_time);
  append_integer(event_, event_field::kStep, static_cast<std::uint64_t>(step));
}

void EventFile::add_scalar(std::string_view group, std::string_view name, double value) {
  tag_ = group;
  if (!tag_.empty()) tag_ += '/';
  tag_ += name;
  value_.clear();
  append_bytes(value_, value_field::kTag, tag_);
  const std::array<char, 10> tensor = scalar_tensor(static_cast<float>(value));
  append_bytes(value_, value_field::kTensor, {tensor.data(), tensor.size()});
  if (!seen_.contains(tag_)) {  // readers keep the metadata of a tag's first value
    seen_.insert(tag_);
    append_bytes(value_, value_field::kMetadata, kScalarMetadata);
  }
  constexpr unsigned kSummaryValue = 1;
  append_bytes(summary_, kSummaryValue, value_);
}

void EventFile::end_event() {
  if (!summary_.empty()) append_bytes(event_, event_field::kSummary, summary_);
  std::string& out = file_.buffer();
  const std::size_t begin = out.size();
  append_raw(out, static_cast<std::uint64_t>(event_.size()));
  append_raw(out, masked_crc32c(std::string_view(out).substr(begin)));
  out += event_;
  append_raw(out, masked_crc32c(event_));
  file_.commit();
}

void EventFile::step(const StepRecord& record) {
  if (stepped_at_ >= 0.0 && record.elapsed - stepped_at_ < kStepSeconds) return;
  stepped_at_ = record.elapsed;
  begin_event(record.step, unix_time());
  add_scalar("train", "loss", record.loss);
  for (const NamedNumber& metric : record.metrics) add_scalar("train", metric.name, metric.value);
  add_scalar("", "learning_rate", record.learning_rate);
  add_scalar("", "samples_per_second", record.samples_per_second);
  end_event();
}

void EventFile::evaluation(const EvaluationRecord& record) {
  begin_event(record.step, unix_time());
  for (const NamedNumber& metric : record.metrics) {
    add_scalar(record.data, metric.name, metric.value);
  }
  end_event();
}

}  // namespace lockstep
