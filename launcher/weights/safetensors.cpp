#include "launcher/weights/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "core/base/error.h"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kMostHeaderBytes = 100'000'000;
constexpr std::size_t kAlignment = 8;  // of the data in the file
constexpr int kMostDepth = 3;          // the object, a tensor, its shape
constexpr const char* kMetadata = "__metadata__";

// One tensor as the header describes it.
struct Entry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::uint64_t begin = 0, end = 0;  // in the data
};

// ---- Reading -----------------------------------------------------------------------------------

// Refuses what JSON allows and the format does not: a name that comes twice, and nesting.
class StrictHeader {
 public:
  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    check_input(depth <= kMostDepth, "its header is nested too deep");
    if (event == Json::parse_event_t::object_start) names_.emplace_back();
    if (event == Json::parse_event_t::object_end) names_.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto name = parsed.get<std::string>();
      check_input(names_.back().insert(name).second, "its header has \"", name, "\" twice");
    }
    return true;
  }

 private:
  std::vector<std::set<std::string>> names_;  // of the objects that are open
};

Json parse_header(const std::string& header) {
  check_input(!header.empty() && header[0] == '{', "is no safetensors file: its header is no JSON object");
  Json json;
  try {
    json = Json::parse(header, StrictHeader());
  } catch (const Json::exception&) {
    bad_input("its header is broken JSON");
  }
  return json;
}

DType dtype_of(const std::string& word) {
  const std::pair<const char*, DType> known[] = {
      {"F32", DType::kF32}, {"F16", DType::kF16}, {"BF16", DType::kBF16}, {"F64", DType::kF64}};
  for (const auto& [name, dtype] : known) {
    if (word == name) return dtype;
  }
  bad_input("is of type ", word, ", expected F32, F16, BF16 or F64");
}

std::int64_t natural(const Json& json, const char* what) {
  const bool fits = json.is_number_unsigned() && json.get<std::uint64_t>() >> 63 == 0;
  check_input(fits, what, " is ", json.dump(), ", expected a number from 0 on");
  return json.get<std::int64_t>();
}

// REQUIRES: `json` is what stands for `name` in the header, which has passed StrictHeader.
Entry read_entry(const std::string& name, const Json& json) {
  check_input(json.is_object() && json.size() == 3 && json.contains("dtype") &&
                  json.contains("shape") && json.contains("data_offsets"),
              "expected an object of dtype, shape and data_offsets");
  const Json &dtype = json["dtype"], &shape = json["shape"], &offsets = json["data_offsets"];
  check_input(dtype.is_string(), "dtype is ", dtype.dump(), ", expected a text");
  check_input(shape.is_array(), "shape is ", shape.dump(), ", expected a list");
  check_input(offsets.is_array() && offsets.size() == 2, "data_offsets is ", offsets.dump(),
              ", expected [begin, end]");
  std::vector<std::int64_t> dims;
  for (const Json& extent : shape) dims.push_back(natural(extent, "an extent"));
  Entry entry{name, dtype_of(dtype.get<std::string>()), Shape(dims), 0, 0};
  entry.begin = static_cast<std::uint64_t>(natural(offsets[0], "an offset"));
  entry.end = static_cast<std::uint64_t>(natural(offsets[1], "an offset"));
  const std::uint64_t bytes = static_cast<std::uint64_t>(entry.shape.elements()) * size_of(entry.dtype);
  check_input(entry.begin <= entry.end && entry.end - entry.begin == bytes, "data_offsets [", entry.begin,
              ", ", entry.end, "] do not hold the ", bytes, " bytes of ", name_of(entry.dtype), entry.shape);
  return entry;
}

// By place in the data, which they cover without gap or overlap.
std::vector<Entry> read_entries(const Json& header, std::uint64_t data_bytes) {
  std::vector<Entry> entries;
  for (const auto& [name, json] : header.items()) {
    if (name == kMetadata) continue;
    try {
      entries.push_back(read_entry(name, json));
    } catch (const Error& error) {
      bad_input("tensor \"", name, "\": ", error.what());
    }
  }
  std::ranges::sort(entries, {}, [](const Entry& entry) { return std::pair(entry.begin, entry.end); });
  std::uint64_t at = 0;
  for (const Entry& entry : entries) {
    check_input(entry.begin == at, "tensor \"", entry.name, "\" begins at byte ", entry.begin,
                " of the data, expected ", at, ": tensors may not overlap or leave gaps");
    at = entry.end;
  }
  check_input(at <= data_bytes, "has ", data_bytes, " bytes of data, its header says ", at,
              ": it was cut short; get it again");
  check_input(at == data_bytes, "has ", data_bytes, " bytes of data, its header says ", at);
  return entries;
}

Weights read_tensors(const ReadOnlyFile& file) {
  std::uint64_t length = 0;
  check_input(file.size() >= sizeof length, "has ", file.size(), " bytes and is no safetensors file");
  file.read(0, sizeof length, &length);
  check_input(length <= kMostHeaderBytes, "is no safetensors file: its header would have ", length,
              " bytes, at most ", kMostHeaderBytes, " are allowed");
  const std::uint64_t rest = file.size() - sizeof length;
  check_input(length <= rest, "its header says ", length, " bytes, ", rest, " are there: it was cut short or is no safetensors file");
  std::string header(length, '\0');
  file.read(sizeof length, length, header.data());
  const std::uint64_t data = sizeof length + length;
  Weights weights;
  std::vector<std::byte> bytes;
  for (const Entry& entry : read_entries(parse_header(header), file.size() - data)) {
    bytes.resize(entry.end - entry.begin);
    file.read(data + entry.begin, bytes.size(), bytes.data());
    const auto elements = static_cast<std::size_t>(entry.shape.elements());
    weights[entry.name] = {entry.shape, weights_from(entry.dtype, bytes.data(), elements)};
  }
  return weights;
}

}  // namespace

Weights read_safetensors(const std::string& path) {
  const ReadOnlyFile file(path);
  try {
    return read_tensors(file);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kBadInput) throw;
    bad_input(path, ": ", error.what());
  }
}

// ---- Writing -----------------------------------------------------------------------------------

void write_safetensors(const std::string& path, const Weights& weights,
                       const std::map<std::string, std::string>& metadata, const FileSystem& files) {
  Json header = Json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  std::uint64_t at = 0;
  for (const auto& [name, weight] : weights) {
    check_input(name != kMetadata, path, ": no tensor may be named \"", kMetadata, "\"");
    const std::uint64_t end = at + weight.values.size() * sizeof(float);
    const auto dims = weight.shape.dims();
    header[name] = {{"dtype", "F32"},
                    {"shape", std::vector<std::int64_t>(dims.begin(), dims.end())},
                    {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump();
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  const std::uint64_t length = text.size();
  check_input(length <= kMostHeaderBytes, path, ": the names of the tensors are too long for a safetensors file");
  std::string bytes;
  bytes.reserve(sizeof length + length + at);
  bytes.append(reinterpret_cast<const char*>(&length), sizeof length);
  bytes += text;
  for (const auto& [name, weight] : weights) {
    bytes.append(reinterpret_cast<const char*>(weight.values.data()), weight.values.size() * sizeof(float));
  }
  files.write_atomic(path, bytes);
}

}  // namespace lockstep
