#include "launcher/restart_log.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/error.h"
#include "core/base/file.h"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;

RestartRecord record_of(const Json& json) {
  RestartRecord out;
  out.time = json.at("time").get<std::string>();
  out.cause = json.at("cause").get<std::string>();
  out.host = json.at("host").get<std::string>();
  if (!json.at("rank").is_null()) out.rank = json.at("rank").get<int>();
  out.failed_step = json.at("failed_step").get<std::int64_t>();
  if (!json.at("from_step").is_null()) out.from_step = json.at("from_step").get<std::int64_t>();
  out.pause = json.at("pause").get<double>();
  out.left_out = json.at("left_out").get<std::vector<std::string>>();
  return out;
}

}  // namespace

std::string to_line(const RestartRecord& record) {
  Json json;
  json["time"] = record.time;
  json["cause"] = record.cause;
  json["host"] = record.host;
  json["rank"] = record.rank < 0 ? Json() : Json(record.rank);
  json["failed_step"] = record.failed_step;
  json["from_step"] = record.from_step ? Json(*record.from_step) : Json();
  json["pause"] = record.pause;
  json["left_out"] = record.left_out;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void append_restart(const std::string& path, const RestartRecord& record) {
  const std::string before = is_file(path) ? local_files().read(path) : "";
  local_files().write_atomic(path, before + to_line(record));
}

std::vector<RestartRecord> read_restarts(const std::string& path) {
  std::vector<RestartRecord> out;
  if (!is_file(path)) return out;
  std::istringstream in(local_files().read(path));
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    try {
      out.push_back(record_of(Json::parse(line)));
    } catch (const Json::exception& error) {
      bad_input(path, ":", number, ": not a line of a list of restarts: ", error.what());
    }
  }
  return out;
}

}  // namespace lockstep
