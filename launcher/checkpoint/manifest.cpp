#include "launcher/checkpoint/manifest.h"

#include "core/base/error.h"
#include "core/base/hash.h"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;
constexpr int kFormat = 2;
constexpr char kChecksum[] = "xxh3";

std::string numbered(const char* prefix, std::int64_t number, std::size_t digits,
                     const char* suffix) {
  std::string text = std::to_string(number);
  if (text.size() < digits) text.insert(0, digits - text.size(), '0');
  return prefix + text + suffix;
}

std::string checksum_of(const Json& manifest) {
  const std::string bytes = manifest.dump(2);
  return hex_of(xxh3(std::as_bytes(std::span(bytes))));
}

Json dims_of(const Shape& shape) {
  Json dims = Json::array();
  for (const std::int64_t dim : shape.dims()) dims.push_back(dim);
  return dims;
}

Json to_json(const Manifest& manifest) {
  Json json = {{"format", kFormat},
               {"step", manifest.step},
               {"written", manifest.written},
               {"configuration", manifest.configuration},
               {"dataset", manifest.dataset},
               {"world_size", manifest.world_size},
               {"evaluated", manifest.evaluated},
               {"metrics", Json::object()},
               {"followed", Json::object()},
               {"tensors", Json::object()},
               {"parts", Json::array()}};
  for (const auto& [name, value] : manifest.metrics) json["metrics"][name] = value;
  for (const auto& [name, state] : manifest.followed) json["followed"][name] = state;
  for (const auto& [name, shape] : manifest.tensors) json["tensors"][name] = dims_of(shape);
  for (const PartEntry& part : manifest.parts) json["parts"].push_back(lockstep::to_json(part));
  return json;
}

Manifest from_json(const Json& json) {
  Manifest manifest;
  manifest.step = json.at("step").get<std::int64_t>();
  manifest.written = json.at("written").get<std::string>();
  manifest.configuration = json.at("configuration").get<std::string>();
  manifest.dataset = json.at("dataset").get<std::string>();
  manifest.world_size = json.at("world_size").get<std::int64_t>();
  manifest.evaluated = json.at("evaluated").get<bool>();
  for (const auto& [name, value] : json.at("metrics").items()) {
    // JSON has no number that is not finite: it was written as null.
    manifest.metrics[name] = value.is_null() ? std::nan("") : value.get<double>();
  }
  for (const auto& [name, state] : json.at("followed").items()) manifest.followed[name] = state;
  for (const auto& [name, dims] : json.at("tensors").items()) {
    manifest.tensors[name] = Shape(dims.get<std::vector<std::int64_t>>());
  }
  for (const Json& part : json.at("parts")) manifest.parts.push_back(part_entry_from(part));
  return manifest;
}

}  // namespace

std::string step_name(std::int64_t step) { return numbered("step-", step, 8, ""); }
std::string part_name(int rank) { return numbered("part-", rank, 4, ".h5"); }
std::string unfinished_name(std::int64_t step) { return "." + step_name(step) + ".tmp"; }
std::string manifest_path(const std::string& checkpoint) { return checkpoint + "/manifest.json"; }

Json to_json(const PartEntry& part) {
  return {{"file", part.file}, {"bytes", part.bytes}, {"xxh3", part.xxh3}};
}

PartEntry part_entry_from(const Json& json) {
  return {json.at("file").get<std::string>(), json.at("bytes").get<std::uint64_t>(),
          json.at("xxh3").get<std::string>()};
}

std::string Manifest::to_text() const {
  Json json = to_json(*this);
  json[kChecksum] = checksum_of(json);
  return json.dump(2) + "\n";
}

Manifest Manifest::from_text(const std::string& text, const std::string& path) {
  Json json = Json::parse(text, nullptr, false);
  check_input(json.is_object() && json.contains("format") && json.contains(kChecksum), path,
              ": is not a manifest, or a damaged one");
  check_input(json["format"] == kFormat, path, ": has format ", json["format"].dump(),
              ", this program reads format ", kFormat);
  // Not only what it says, but how: a byte that changed anywhere is damage.
  const bool as_written = json.dump(2) + "\n" == text;
  const Json stored = json[kChecksum];
  json.erase(kChecksum);
  check_input(as_written && stored == checksum_of(json), path,
              ": its checksum does not match: it was damaged or edited");
  try {
    Manifest manifest = from_json(json);
    check_input(!manifest.parts.empty(), path, ": names no parts");
    return manifest;
  } catch (const Json::exception& error) {
    bad_input(path, ": is not a manifest: ", error.what());
  }
}

Manifest read_manifest(const std::string& checkpoint, const FileSystem& files) {
  const std::string path = manifest_path(checkpoint);
  check_input(is_file(path), checkpoint, ": has no manifest.json");
  return Manifest::from_text(files.read(path), path);
}

}  // namespace lockstep
