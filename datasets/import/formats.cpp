#include <algorithm>
#include <filesystem>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/settings.h"
#include "datasets/import/cifar.h"
#include "datasets/import/csv.h"
#include "datasets/import/format.h"
#include "datasets/import/idx.h"
#include "datasets/import/input_file.h"
#include "datasets/import/numpy.h"
#include "datasets/import/pictures.h"
#include "datasets/import/text.h"

namespace lockstep {
namespace {

const ImportFormat& format_named(const std::string& name) {
  std::vector<std::string> names;
  for (const ImportFormat& format : import_formats()) {
    if (format.name == name) return format;
    names.push_back(format.name);
  }
  const std::string nearest = nearest_name(name, names);
  std::string all;
  for (const std::string& known : names) all += ", " + known;
  bad_input("--format: no format '", name, "'",
            nearest.empty() ? "" : "; did you mean '" + nearest + "'?", "; formats are auto", all);
}

const ImportFormat& format_of(const std::string& path) {
  std::error_code error;
  check_input(std::filesystem::exists(path, error), path, ": no such file or directory");
  const ImportInput input{path, is_directory(path), head_of(path, 4096)};
  for (const ImportFormat& format : import_formats()) {
    if (format.recognises(input)) return format;
  }
  std::string all;
  for (const ImportFormat& format : import_formats()) {
    all += (all.empty() ? "" : ", ") + format.name;
  }
  bad_input(path, ": the format of this ", input.is_directory ? "folder" : "file",
            " was not recognised; name it with --format (", all, ")");
}

void check_options(const ImportFormat& format, const FormatOptions& options) {
  for (const auto& [name, value] : options.given()) {
    if (std::ranges::find(format.options, name, &FormatOption::name) != format.options.end())
      continue;
    std::string owners;
    for (const ImportFormat& other : import_formats()) {
      if (std::ranges::find(other.options, name, &FormatOption::name) != other.options.end())
        owners += (owners.empty() ? "" : ", ") + other.name;
    }
    bad_input("--", name, " is an option of ", owners.empty() ? "no format" : owners,
              ", but the data is read as ", format.name,
              "; leave it out, or name the format with --format");
  }
}

}  // namespace

// Text formats last: nearly everything looks like them.
const std::vector<ImportFormat>& import_formats() {
  static const std::vector<ImportFormat> formats = {
      npy_format(),       //
      npz_format(),       //
      idx_format(),       //
      cifar10_format(),   //
      cifar100_format(),  //
      pictures_format(),  //
      csv_format(),       //
      text_format(),
  };
  return formats;
}

std::unique_ptr<SampleSource> open_source(const std::string& format, const ImportRequest& request) {
  require(!request.paths.empty(), "nothing to import");
  for (const std::string& path : request.paths) {
    std::error_code error;
    check_input(std::filesystem::exists(path, error), path, ": no such file or directory");
  }
  const ImportFormat& chosen =
      format == "auto" ? format_of(request.paths[0]) : format_named(format);
  check_options(chosen, request.options);
  return chosen.open(request);
}

std::string scratch_folder(const std::string& output) {
  std::filesystem::path folder = std::filesystem::absolute(output);
  while (!is_directory(folder.string()) && folder.has_parent_path() &&
         folder != folder.parent_path()) {
    folder = folder.parent_path();
  }
  return folder.string();
}

}  // namespace lockstep
