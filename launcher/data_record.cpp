#include "launcher/data_record.h"

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/file.h"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::int64_t> dims_of(const Shape& shape) {
  return {shape.dims().begin(), shape.dims().end()};
}

Shape shape_from(const Json& json) {
  return Shape(json.get<std::vector<std::int64_t>>());
}

DType dtype_from(const Json& json) {
  const auto name = json.get<std::string>();
  for (const DType dtype : kAllDTypes) {
    if (name_of(dtype) == name) return dtype;
  }
  bad_input("\"", name, "\" is no type of numbers");
}

}  // namespace

std::string to_json(const DataRecord& record) {
  Json inputs = Json::array();
  for (const DataRecord::Input& input : record.inputs) {
    inputs.push_back({{"array", input.array},
                      {"dtype", name_of(input.dtype)},
                      {"row", dims_of(input.row)},
                      {"shift", input.normalization.shift},
                      {"scale", input.normalization.scale}});
  }
  const Json json = {{"rows", record.rows},
                     {"fingerprint", record.fingerprint},
                     {"inputs", inputs},
                     {"target_row", dims_of(record.target_row)},
                     {"class_names", record.class_names}};
  return json.dump(1) + "\n";
}

DataRecord read_data_record(const std::string& path) {
  try {
    const Json json = Json::parse(local_files().read(path));
    DataRecord record;
    record.rows = json.at("rows").get<std::int64_t>();
    record.fingerprint = json.at("fingerprint").get<std::string>();
    record.target_row = shape_from(json.at("target_row"));
    record.class_names = json.at("class_names").get<std::vector<std::string>>();
    for (const Json& input : json.at("inputs")) {
      record.inputs.push_back({input.at("array").get<std::string>(),
                               dtype_from(input.at("dtype")),
                               shape_from(input.at("row")),
                               {input.at("shift").get<std::vector<double>>(), input.at("scale").get<std::vector<double>>()}});
      const Normalization& normalization = record.inputs.back().normalization;
      check_input(normalization.shift.size() == normalization.scale.size(), "shift and scale have different lengths");
    }
    return record;
  } catch (const std::exception& error) {
    bad_input(path, ": is not what a run keeps of its data: ", error.what());
  }
}

}  // namespace lockstep
