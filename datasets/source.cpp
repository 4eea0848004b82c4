// Where the shards of a dataset are: files, patterns, directories, and the sets that come with
// Lockstep.
#include <glob.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "core/base/error.h"
#include "core/base/hdf5/trial.h"
#include "core/base/file.h"
#include "core/base/settings.h"
#include "datasets/dataset.h"
#include "datasets/shard_name.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

// The directory of bundled sets: beside the source in a build tree, below share/ where installed;
// for a program elsewhere, the directories known when the library was built. Empty where there is
// none.
std::string bundled_directory() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path();
  std::vector<fs::path> candidates;
  if (!error) {
    candidates.push_back(program / "../../../datasets/bundled");
    candidates.push_back(program / "../share/lockstep/datasets");
  }
  candidates.emplace_back(LOCKSTEP_INSTALLED_DATASETS);
  candidates.emplace_back(LOCKSTEP_BUNDLED_DIR);
  for (const fs::path& candidate : candidates) {
    if (fs::is_directory(candidate, error)) return fs::weakly_canonical(candidate, error).string();
  }
  return "";
}

bool is_shard_name(const std::string& name) {
  return name.ends_with(".h5") || name.ends_with(".hdf5");
}

std::vector<std::string> shards_in(const std::string& directory) {
  std::vector<std::string> out;
  for (const std::string& name : list_files(directory)) {
    if (is_shard_name(name)) out.push_back((fs::path(directory) / name).string());
  }
  return out;
}

std::vector<std::string> shards_matching(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> out;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    for (std::size_t i = 0; i < found.gl_pathc; ++i) {
      if (is_file(found.gl_pathv[i])) out.emplace_back(found.gl_pathv[i]);
    }
  }
  ::globfree(&found);
  std::ranges::sort(out);
  return out;
}

// Of shards that are numbered all must be there.
void check_complete(const std::vector<std::string>& paths) {
  std::map<std::pair<std::string, std::int64_t>, std::set<std::int64_t>> found;  // by set and count
  for (const std::string& path : paths) {
    if (const auto name = parse_shard_name(path))
      found[{name->set, name->count}].insert(name->number);
  }
  for (const auto& [set, numbers] : found) {
    for (std::int64_t number = 0; number < set.second; ++number) {
      check_input(numbers.contains(number), ShardName{set.first, number, set.second}.path(),
                  ": shard is missing; found ", numbers.size(), " of ", set.second);
    }
  }
}

[[noreturn]] void nothing_there(const std::string& source) {
  if (is_shard_name(source) || source.find('/') != std::string::npos) {
    bad_input(source, ": no such file or directory");
  }
  const std::vector<std::string> names = bundled_names();
  const std::string nearest = nearest_name(source, names);
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "\"" : ", \"") + name + '"';
  bad_input(source, ": no such file, directory or bundled set",
            nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?",
            all.empty() ? "" : "; bundled are " + all);
}

}  // namespace

std::vector<std::string> bundled_names() {
  std::vector<std::string> names;
  std::error_code error;
  const std::string directory = bundled_directory();
  if (directory.empty()) return names;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    if (entry.is_directory(error)) names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

std::vector<std::string> resolve_source(const std::string& source) {
  check_input(!source.empty(),
              "the source of a dataset is an empty text; expected a path or a name");
  const std::vector<std::string> names = bundled_names();
  std::vector<std::string> out;
  if (std::ranges::find(names, source) != names.end()) {
    out = shards_in((fs::path(bundled_directory()) / source).string());
  } else if (is_file(source)) {
    return {source};
  } else if (is_directory(source)) {
    out = shards_in(source);
    check_input(!out.empty(), source, ": no *.h5 or *.hdf5 files in this directory");
  } else if (source.find_first_of("*?[") != std::string::npos) {
    out = shards_matching(source);
    check_input(!out.empty(), source, ": no file matches this pattern");
  } else {
    nothing_there(source);
  }
  check_complete(out);
  return out;
}

void try_sources(const std::vector<std::string>& sources) {
  std::vector<std::string> files;
  for (const std::string& source : sources) {
    try {
      for (std::string& path : resolve_source(source)) files.push_back(std::move(path));
    } catch (const Error&) {
    }
  }
  try_hdf5(files);
}

}  // namespace lockstep
