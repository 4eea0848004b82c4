#include "launcher/summary.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/file.h"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;

std::string dumped(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Reads the keys of one JSON object in a file; errors name path and key.
class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {
    try {
      json_ = Json::parse(local_files().read(path));
    } catch (const Json::exception& error) {
      bad_input(path, ": is not JSON: ", error.what());
    }
    if (!json_.is_object()) bad_input(path, ": expected a JSON object");
  }

  std::string word(const char* key) const {
    const Json& value = get(key);
    if (!value.is_string()) refuse(key, "a text");
    return value.get<std::string>();
  }
  std::int64_t integer(const char* key) const {
    const Json& value = get(key);
    if (!value.is_number_integer()) refuse(key, "an integer");
    return value.get<std::int64_t>();
  }
  double real(const char* key) const { return real(key, get(key)); }

  std::vector<std::pair<std::string, double>> numbers(const char* key) const {
    const Json& map = get(key);
    if (!map.is_object()) refuse(key, "a map of numbers");
    std::vector<std::pair<std::string, double>> out;
    for (const auto& [name, value] : map.items()) out.emplace_back(name, real(key, value));
    return out;
  }

 private:
  double real(const char* key, const Json& value) const {
    if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
    if (!value.is_number()) refuse(key, "a number");
    return value.get<double>();
  }
  const Json& get(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) bad_input(path_, ": ", key, " is missing");
    return *found;
  }
  [[noreturn]] void refuse(const char* key, const char* expected) const {
    bad_input(path_, ": ", key, ": expected ", expected, ", found ", json_.at(key).dump());
  }

  std::string path_;
  Json json_;
};

}  // namespace

std::string to_json(const Summary& summary) {
  Json evaluation = Json::object();
  for (const auto& [name, value] : summary.evaluation) evaluation[name] = value;
  Json json;
  json["status"] = summary.status;
  json["world_size"] = summary.world_size;
  json["microbatches"] = summary.microbatches;
  json["global_batch"] = summary.global_batch;
  json["device"] = summary.device;
  json["steps"] = summary.steps;
  json["epochs"] = summary.epochs;
  json["seconds"] = summary.seconds;
  json["seconds_to_first_step"] = summary.seconds_to_first_step;
  json["samples_per_second"] = summary.samples_per_second;
  json["peak_rss_bytes"] = summary.peak_rss_bytes;
  json["final_loss"] = summary.final_loss;
  json["evaluation"] = std::move(evaluation);
  json["parameters"] = summary.parameters;
  json["parameters_sha256"] = summary.parameters_sha256;
  return dumped(json);
}

void write_summary(const std::string& path, const Summary& summary) {
  local_files().write_atomic(path, to_json(summary));
}

Summary read_summary(const std::string& path) {
  const Reader json(path);
  Summary out;
  out.status = json.word("status");
  out.world_size = json.integer("world_size");
  out.microbatches = json.integer("microbatches");
  out.global_batch = json.integer("global_batch");
  out.device = json.word("device");
  out.steps = json.integer("steps");
  out.epochs = json.integer("epochs");
  out.seconds = json.real("seconds");
  out.seconds_to_first_step = json.real("seconds_to_first_step");
  out.samples_per_second = json.real("samples_per_second");
  out.peak_rss_bytes = json.integer("peak_rss_bytes");
  out.final_loss = json.real("final_loss");
  out.evaluation = json.numbers("evaluation");
  out.parameters = json.integer("parameters");
  out.parameters_sha256 = json.word("parameters_sha256");
  return out;
}

namespace {

Json json_of(const RankState& state) {
  Json json;
  json["rank"] = state.rank;
  json["host"] = state.host;
  json["process"] = state.process;
  json["phase"] = name_of(state.phase);
  json["step"] = state.step;
  json["phase_seconds"] = state.phase_seconds;
  json["heard_seconds_ago"] = state.heard;
  json["collectives"] = Json::array();
  for (const RankState::Collective& one : state.collectives) {
    json["collectives"].push_back({{"number", one.number},
                                   {"what", one.what},
                                   {"bytes", one.bytes},
                                   {"begun_seconds_ago", one.begun},
                                   {"seconds", one.seconds < 0 ? Json() : Json(one.seconds)}});
  }
  return json;
}

}  // namespace

std::string to_json(const Failure& failure) {
  Json json;
  json["kind"] = failure.kind;
  json["rank"] = failure.rank;
  json["step"] = failure.step;
  json["message"] = failure.message;
  if (!failure.ranks.empty()) {
    json["host"] = failure.host;
    json["phase"] = failure.phase;
    json["ranks"] = Json::array();
    for (const RankState& state : failure.ranks) json["ranks"].push_back(json_of(state));
  }
  return dumped(json);
}

void write_failure(const std::string& path, const Failure& failure) {
  local_files().write_atomic(path, to_json(failure));
}

Failure read_failure(const std::string& path) {
  const Reader json(path);
  Failure out;
  out.kind = json.word("kind");
  out.rank = static_cast<int>(json.integer("rank"));
  out.step = json.integer("step");
  out.message = json.word("message");
  return out;
}

}  // namespace lockstep
