// safetensors: what is written reads back with the same bits, what other programs write is read, and a file that is not
// right is refused in one line.
#include "launcher/weights/safetensors.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/base/bfloat16.h"
#include "core/base/error.h"
#include "core/base/hdf5/hdf5.h"
#include "launcher/weights/weights_file.h"
#include "tests/core/temporary_directory.h"
#include "tests/launcher/message.h"

namespace lockstep {
namespace {

Weights sample_weights() {
  return {{"conv1/weight", {{2, 3}, {1, -2, 3.5f, 0, -0.0f, 1e-40f}}},
          {"conv1/bias", {{1}, {std::numeric_limits<float>::infinity()}}},
          {"empty", {{0, 4}, {}}},
          {"scalar", {{}, {7}}}};
}

// length header data
std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + data;
}

template <typename Number>
std::string bytes_of(const std::vector<Number>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Number)};
}

class Safetensors : public testing::Test {
 protected:
  Weights read(const std::string& bytes) const {
    local_files().write_atomic(path_, bytes);
    return read_safetensors(path_);
  }
  // The message without the path, which it begins with.
  std::string refusal(const std::string& bytes) const {
    const std::string message = refused([&] { read(bytes); });
    EXPECT_EQ(message.rfind(path_ + ": ", 0), 0u) << message;
    return message.substr(std::min(message.size(), path_.size() + 2));
  }

  TemporaryDirectory folder_;
  std::string path_ = folder_.path("weights.safetensors");
};

TEST_F(Safetensors, ReadsBackTheSameBits) {
  const Weights weights = sample_weights();
  write_safetensors(path_, weights, {{"step", "12"}});
  const Weights found = read_safetensors(path_);
  ASSERT_EQ(found.size(), weights.size());
  for (const auto& [name, weight] : weights) {
    EXPECT_EQ(found.at(name).shape, weight.shape) << name;
    EXPECT_EQ(bytes_of(found.at(name).values), bytes_of(weight.values)) << name;
  }
}

TEST_F(Safetensors, WritesWhatTheFormatSays) {
  write_safetensors(path_, {{"b", {{2}, {1, 2}}}, {"a", {{}, {3}}}}, {{"step", "12"}});
  std::string header = R"({"__metadata__":{"step":"12"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                       R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})";
  header.append((8 - header.size() % 8) % 8, ' ');
  EXPECT_EQ(local_files().read(path_), file_of(header, bytes_of<float>({3, 1, 2})));
}

TEST_F(Safetensors, ReadsOtherTypesAsF32) {
  const std::string header = R"({"half":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                             R"("brain":{"dtype":"BF16","shape":[1],"data_offsets":[4,6]},)"
                             R"("double":{"dtype":"F64","shape":[1],"data_offsets":[6,14]}} )";
  const std::string data = bytes_of<std::uint16_t>({0x3e00, 0xc000}) +  // 1.5, -2
                           bytes_of<std::uint16_t>({BFloat16(3.0f).bits}) + bytes_of<double>({0.1});
  const Weights found = read(file_of(header, data));
  EXPECT_EQ(found.at("half").values, (std::vector<float>{1.5f, -2}));
  EXPECT_EQ(found.at("brain").values, (std::vector<float>{3}));
  EXPECT_EQ(found.at("double").values, (std::vector<float>{0.1f}));
}

TEST_F(Safetensors, RefusesWhatIsNoSuchFile) {
  EXPECT_EQ(refusal("abc"), "has 3 bytes and is no safetensors file");
  EXPECT_EQ(refusal(std::string(8, '\xff') + "{}"),
            "is no safetensors file: its header would have 18446744073709551615 bytes, at most 100000000 are allowed");
  EXPECT_EQ(refusal(file_of("{}", "").replace(0, 1, "\x03")),
            "its header says 3 bytes, 2 are there: it was cut short or is no safetensors file");
  EXPECT_EQ(refusal(file_of("[]", "")), "is no safetensors file: its header is no JSON object");
  EXPECT_EQ(refusal(file_of("", "")), "is no safetensors file: its header is no JSON object");
  EXPECT_EQ(refusal(file_of("{\"a\":", "")), "its header is broken JSON");
  EXPECT_EQ(refusal(file_of("{\"\xff\":1}", "")), "its header is broken JSON");
}

TEST_F(Safetensors, RefusesHeadersThatContradictThemselves) {
  const auto of_tensor = [&](const std::string& description, std::size_t data) {
    return refusal(file_of("{\"a\":" + description + "}", std::string(data, '\0')));
  };
  const std::string right = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  EXPECT_EQ(read(file_of("{\"a\":" + right + "}", std::string(8, '\0'))).size(), 1u);
  EXPECT_EQ(refusal(file_of("{\"a\":" + right + ",\"a\":" + right + "}", std::string(8, '\0'))),
            "its header has \"a\" twice");
  EXPECT_EQ(of_tensor("3", 0), "tensor \"a\": expected an object of dtype, shape and data_offsets");
  EXPECT_EQ(of_tensor(R"({"dtype":"I64","shape":[1],"data_offsets":[0,8]})", 8),
            "tensor \"a\": is of type I64, expected F32, F16, BF16 or F64");
  EXPECT_EQ(of_tensor(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})", 8),
            "tensor \"a\": an extent is -2, expected a number from 0 on");
  EXPECT_EQ(of_tensor(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})", 8),
            "tensor \"a\": an extent is 2.0, expected a number from 0 on");
  EXPECT_EQ(of_tensor(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})", 8),
            "tensor \"a\": data_offsets [0, 8] do not hold the 12 bytes of f32(3)");
  EXPECT_EQ(of_tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})", 8),
            "tensor \"a\": data_offsets [8, 0] do not hold the 8 bytes of f32(2)");
  EXPECT_EQ(of_tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 7),
            "has 7 bytes of data, its header says 8: it was cut short; get it again");
  EXPECT_EQ(of_tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 9),
            "has 9 bytes of data, its header says 8");
  EXPECT_EQ(of_tensor(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]})", 4),
            "tensor \"a\": a tensor of 9 dimensions: at most 8 are supported");
  // More elements than 64 bits count.
  EXPECT_EQ(of_tensor(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})", 0),
            "tensor \"a\": a tensor of shape (4294967296, 4294967296) has more elements than any memory");
  EXPECT_EQ(refusal(file_of("{\"a\":[[[[[1]]]]]}", "")), "its header is nested too deep");
}

TEST_F(Safetensors, RefusesOverlapsAndGaps) {
  const auto of_two = [&](const std::string& offsets) {
    return refusal(file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                           R"("b":{"dtype":"F32","shape":[1],"data_offsets":)" + offsets + "}}",
                           std::string(16, '\0')));
  };
  EXPECT_EQ(of_two("[4,8]"), "tensor \"b\" begins at byte 4 of the data, expected 8: tensors may not overlap or leave gaps");
  EXPECT_EQ(of_two("[12,16]"), "tensor \"b\" begins at byte 12 of the data, expected 8: tensors may not overlap or leave gaps");
}

TEST_F(Safetensors, AFailedWriteLeavesNothing) {
  class FullDisk : public FileSystem {
    void write(const std::string& path, std::string_view) const override { file_failed(path, "write", ENOSPC); }
  };
  EXPECT_THROW(write_safetensors(path_, sample_weights(), {}, FullDisk()), Error);
  EXPECT_TRUE(list_files(folder_.path("")).empty());
}

TEST_F(Safetensors, Hdf5HoldsTheSame) {
  const std::string path = folder_.path("weights.h5");
  Weights weights = sample_weights();
  write_weights(path, WeightsFormat::kHdf5, weights, {{"step", "12"}});
  EXPECT_EQ(read_weights(path), weights);
  const std::string other = folder_.path("other.hdf5");
  write_weights(other, WeightsFormat::kHdf5, weights, {{"step", "12"}});
  EXPECT_EQ(local_files().read(path), local_files().read(other));  // nothing of when
  weights["conv1"] = {{}, {1}};
  EXPECT_EQ(refused([&] { write_weights(path, WeightsFormat::kHdf5, weights); }),
            path + ": HDF5 has no room for both \"conv1\" and \"conv1/bias\"; write safetensors instead");
  EXPECT_EQ(refused([&] { read_weights(folder_.path("weights.pt")); }),
            folder_.path("weights.pt") + ": is not named as a file of weights, expected .safetensors, .h5 or .hdf5");
  EXPECT_EQ(refused([&] { read_weights(folder_.path("none.h5")); }), folder_.path("none.h5") + ": there is no such file");
}

TEST_F(Safetensors, Hdf5OfIntegersIsRefused) {
  const std::string path = folder_.path("weights.h5");
  Hdf5Writer file(path);
  const std::int32_t number = 3;
  file.write("a/b", DType::kI32, {1}, &number);
  file.commit();
  EXPECT_EQ(refused([&] { read_weights(path); }),
            path + ": tensor \"a/b\" is of type i32, expected f32, f16, bf16 or f64");
}

}  // namespace
}  // namespace lockstep
