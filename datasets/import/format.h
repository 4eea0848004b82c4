// The formats that `lockstep data import` reads. A format is a file pair in this folder, and one
// line in datasets/import/formats.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "datasets/import/format_options.h"
#include "datasets/import/sample_source.h"

namespace lockstep {

// What is known of a path before it is opened.
struct ImportInput {
  std::string path;
  bool is_directory = false;
  std::string head;  // the first 4 KiB, unpacked where gzip packed them
};

struct ImportRequest {
  std::vector<std::string> paths;  // at least one
  FormatOptions options;           // of this format
  std::string scratch = ".";       // a folder for unpacked content
};

struct ImportFormat {
  std::string name;   // "csv"
  std::string about;  // "delimited text (CSV, TSV): one record a sample"
  std::vector<FormatOption> options;
  // Whether an input looks like this format.
  bool (*recognises)(const ImportInput& input);
  std::unique_ptr<SampleSource> (*open)(const ImportRequest& request);
};

// In the order in which they are tried.
const std::vector<ImportFormat>& import_formats();

// Opens `request.paths` in the format of that name; "auto" finds it from the first path. Throws
// bad_input where there is no such format, nothing recognises the file, or an option is given that
// the format does not have.
std::unique_ptr<SampleSource> open_source(const std::string& format, const ImportRequest& request);

// The nearest folder at or above `output` that exists.
std::string scratch_folder(const std::string& output);

}  // namespace lockstep
