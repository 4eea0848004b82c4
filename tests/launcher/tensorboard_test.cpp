// Event files: the checksum, and records decoded field by field.
#include "launcher/tensorboard.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <vector>

#include "core/base/file.h"
#include "tests/core/temporary_directory.h"
#include "tests/launcher/message.h"

namespace lockstep {
namespace {

// Takes a number off the front of `bytes`.
template <typename Number>
Number take(std::string_view& bytes) {
  Number value{};
  EXPECT_GE(bytes.size(), sizeof(Number));
  std::memcpy(&value, bytes.data(), sizeof(Number));
  bytes.remove_prefix(sizeof(Number));
  return value;
}

std::uint64_t take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = take<std::uint8_t>(bytes);
    value |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
}

// The fields of a protobuf message: number -> values, each a varint or the bytes.
struct Field {
  std::uint64_t number = 0;
  std::string_view bytes;
};
using Message = std::multimap<unsigned, Field>;

Message decode(std::string_view bytes) {
  Message out;
  while (!bytes.empty()) {
    const std::uint64_t key = take_varint(bytes);
    const unsigned wire = key & 7;
    Field field;
    if (wire == 0) {
      field.number = take_varint(bytes);
    } else {
      const std::uint64_t size = wire == 1 ? 8 : wire == 5 ? 4 : take_varint(bytes);
      field.bytes = bytes.substr(0, size);
      bytes.remove_prefix(size);
    }
    out.emplace(static_cast<unsigned>(key >> 3), field);
  }
  return out;
}

const Field& one(const Message& message, unsigned field) {
  EXPECT_EQ(message.count(field), 1u) << "field " << field;
  static const Field none;
  const auto found = message.find(field);
  return found == message.end() ? none : found->second;
}

struct Scalar {
  std::int64_t step = 0;
  std::string tag;
  float value = 0.0f;
  bool has_metadata = false;
};

class EventFileTest : public ::testing::Test {
 protected:
  // The events of a file, after checking the checksums.
  std::vector<Message> events(const std::string& path) {
    content_ = local_files().read(path);
    std::vector<Message> out;
    for (std::string_view rest = content_; !rest.empty();) {
      const std::string_view length = rest.substr(0, 8);
      const auto size = take<std::uint64_t>(rest);
      EXPECT_EQ(take<std::uint32_t>(rest), masked_crc32c(length));
      const std::string_view data = rest.substr(0, size);
      rest.remove_prefix(size);
      EXPECT_EQ(take<std::uint32_t>(rest), masked_crc32c(data));
      out.push_back(decode(data));
    }
    return out;
  }

  std::vector<Scalar> scalars(const std::string& path) {
    std::vector<Scalar> out;
    for (const Message& event : events(path)) {
      if (event.count(5) == 0) continue;
      const Message summary = decode(one(event, 5).bytes);
      for (auto [value, end] = summary.equal_range(1); value != end; ++value) {
        const Message fields = decode(value->second.bytes);
        const Message tensor = decode(one(fields, 8).bytes);
        EXPECT_EQ(one(tensor, 1).number, 1u);  // DT_FLOAT
        EXPECT_TRUE(one(tensor, 2).bytes.empty());
        Scalar scalar;
        scalar.step = static_cast<std::int64_t>(one(event, 2).number);
        scalar.tag = one(fields, 1).bytes;
        std::memcpy(&scalar.value, one(tensor, 5).bytes.data(), 4);
        scalar.has_metadata = fields.count(9) > 0;
        if (scalar.has_metadata) {
          const Message metadata = decode(one(fields, 9).bytes);
          EXPECT_EQ(one(decode(one(metadata, 1).bytes), 1).bytes, "scalars");
          EXPECT_EQ(one(metadata, 4).number, 1u);
        }
        out.push_back(scalar);
      }
    }
    return out;
  }

  TemporaryDirectory directory_;
  std::string root_ = directory_.path(".");
  std::string content_;
};

TEST(Crc32c, HasTheValuesOfTheStandard) {
  // RFC 3720, appendix B.4, and the check value of the catalogue of CRC algorithms.
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  EXPECT_EQ(masked_crc32c(""), 0xa282ead8u);
  EXPECT_EQ(masked_crc32c("123456789"), 0xc78ab0e5u);
}

TEST_F(EventFileTest, BeginsWithTheVersion) {
  const std::string path = EventFile(root_).path();
  EXPECT_NE(path.find("/events.out.tfevents."), std::string::npos);
  const auto found = events(path);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(one(found[0], 3).bytes, "brain.Event:2");
  double wall_time = 0.0;
  std::memcpy(&wall_time, one(found[0], 1).bytes.data(), 8);
  EXPECT_GT(wall_time, 1.6e9);
}

TEST_F(EventFileTest, AStepGivesItsCurves) {
  const std::vector<NamedNumber> metrics = {{"accuracy", 0.5}};
  EventFile file(root_);
  StepRecord record;
  record.step = 300;
  record.loss = 0.25;
  record.learning_rate = 0.001;
  record.metrics = metrics;
  record.samples_per_second = 1e5;
  file.step(record);
  record.step = 301;
  record.elapsed = 1.0;
  file.step(record);
  file.flush();

  const auto found = scalars(file.path());
  ASSERT_EQ(found.size(), 8u);
  const char* tags[] = {"train/loss", "train/accuracy", "learning_rate", "samples_per_second"};
  const float values[] = {0.25f, 0.5f, 0.001f, 1e5f};
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(found[i].tag, tags[i % 4]);
    EXPECT_EQ(found[i].value, values[i % 4]);
    EXPECT_EQ(found[i].step, i < 4 ? 300 : 301);
    EXPECT_EQ(found[i].has_metadata, i < 4) << "only the first value of a tag has it";
  }
}

TEST_F(EventFileTest, StepsAreThinnedOutAndEvaluationsAreNot) {
  EventFile file(root_);
  const std::vector<NamedNumber> metrics = {{"loss", 0.5}};
  StepRecord record;
  for (int step = 1; step <= 1000; ++step) {
    record.step = step;
    record.elapsed = 0.001 * step;
    file.step(record);
    if (step % 100 == 0) file.evaluation({.step = step, .data = "test", .metrics = metrics});
  }
  file.flush();
  int steps = 0, evaluations = 0;
  for (const Scalar& scalar : scalars(file.path())) {
    steps += scalar.tag == "train/loss";
    evaluations += scalar.tag == "test/loss";
  }
  EXPECT_GE(steps, 18);
  EXPECT_LE(steps, 21);
  EXPECT_EQ(evaluations, 10);
}

// TensorBoard takes the first start of a session for the beginning, and the next ones for restarts.
TEST_F(EventFileTest, EveryFileStartsASession) {
  for (const std::int64_t resumed_step : {0, 40}) {
    const auto found = events(EventFile(root_, resumed_step).path());
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(one(found[1], 2).number, static_cast<std::uint64_t>(resumed_step + 1));
    EXPECT_EQ(one(decode(one(found[1], 7).bytes), 1).number, 1u);  // SessionLog.START
  }
}

TEST_F(EventFileTest, EveryFileHasANewName) {
  EXPECT_NE(EventFile(root_).path(), EventFile(root_).path());
  EXPECT_EQ(list_files(root_).size(), 2u);
}

TEST_F(EventFileTest, APlaceThatCannotBeWrittenIsNamed) {
  const std::string message = refused([&] { EventFile(directory_.path("no")); });
  EXPECT_NE(message.find(directory_.path("no")), std::string::npos);
  EXPECT_TRUE(message.ends_with("cannot create: No such file or directory")) << message;
}

}  // namespace
}  // namespace lockstep
