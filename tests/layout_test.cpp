// The house: which folder may include which, and that every source file and every test is in the
// build.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace lockstep {
namespace {

namespace fs = std::filesystem;

// The floors of docs/architecture.md. A file includes its own folder and lower floors.
const std::map<std::string, int> kFloors{
    {"core/base", 0},    {"core/device", 1}, {"core/graph", 1},  {"core/kernel", 2},
    {"core/builtin", 3}, {"core/plan", 3},   {"core/passes", 4}, {"ops", 5},
    {"datasets", 5},     {"dist", 6},        {"launcher", 7},
};

// Folders above all floors: they may include everything but tests/, which only tests include.
const std::set<std::string> kAbove{"tests", "bench", "examples"};

const fs::path kSource = LOCKSTEP_SOURCE_DIR;

std::string read(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

bool has_extension(const fs::path& path, const std::set<std::string>& extensions) {
  return extensions.contains(path.extension().string());
}

// Paths from the repository root, sorted, of the files in the folders of the house.
std::vector<std::string> files(const std::set<std::string>& extensions) {
  std::set<std::string> top = kAbove;
  for (const auto& [folder, floor] : kFloors) top.insert(folder.substr(0, folder.find('/')));
  std::vector<std::string> out;
  for (const std::string& folder : top) {
    if (!fs::exists(kSource / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(kSource / folder)) {
      if (!entry.is_regular_file() || !has_extension(entry.path(), extensions)) continue;
      out.push_back(fs::relative(entry.path(), kSource).generic_string());
    }
  }
  std::ranges::sort(out);
  return out;
}

// The folder of kFloors or kAbove that the file is in; empty where there is none.
std::string folder_of(const std::string& path) {
  const std::string top = path.substr(0, path.find('/'));
  if (kAbove.contains(top) || kFloors.contains(top)) return top;
  const std::size_t second = path.find('/', top.size() + 1);
  const std::string both = second == std::string::npos ? path : path.substr(0, second);
  return kFloors.contains(both) ? both : "";
}

// What is wrong with `file` including `header`; empty where it may.
std::string fault(const std::string& file, const std::string& header) {
  const std::string from = folder_of(file), to = folder_of(header);
  const std::string what = file + " includes " + header;
  if (from.empty()) return file + " is in no folder of the house";
  if (to.empty()) return what + ", which is in no folder of the house";
  if (!fs::exists(kSource / header)) return what + ", which does not exist";
  if (to == "tests") return from == "tests" ? "" : what + ": only tests include tests";
  if (kAbove.contains(to)) return from == to ? "" : what + ": nothing includes " + to;
  if (kAbove.contains(from) || from == to) return "";
  const int floor = kFloors.at(from), below = kFloors.at(to);
  if (below < floor) return "";
  return what + ": floor " + std::to_string(floor) + " includes floor " + std::to_string(below);
}

std::vector<std::string> includes_of(const std::string& file) {
  static const std::regex pattern(R"re(^[ \t]*#[ \t]*include[ \t]*"([^"]+)")re",
                                  std::regex::multiline);
  const std::string source = read(kSource / file);
  std::vector<std::string> out;
  for (std::sregex_iterator it(source.begin(), source.end(), pattern), end; it != end; ++it) {
    out.push_back((*it)[1]);
  }
  return out;
}

// The .cpp files that the CMakeLists.txt of the tree name, from the repository root.
std::set<std::string> built_files() {
  static const std::regex comment("#[^\n]*"),
      name(R"re((\$\{PROJECT_SOURCE_DIR\}/)?([A-Za-z0-9_./-]+\.(cpp|cu)))re");
  std::set<std::string> out;
  for (const std::string& list : files({".txt"})) {
    if (fs::path(list).filename() != "CMakeLists.txt") continue;
    const std::string text = std::regex_replace(read(kSource / list), comment, "");
    const fs::path folder = fs::path(list).parent_path();
    for (std::sregex_iterator it(text.begin(), text.end(), name), end; it != end; ++it) {
      const fs::path from = (*it)[1].matched ? fs::path() : folder;
      out.insert((from / (*it)[2].str()).lexically_normal().generic_string());
    }
  }
  return out;
}

TEST(Layout, FilesIncludeTheirOwnFolderAndLowerFloors) {
  int includes = 0;
  for (const std::string& file : files({".h", ".cpp", ".cu", ".cuh"})) {
    for (const std::string& header : includes_of(file)) {
      EXPECT_EQ(fault(file, header), "");
      ++includes;
    }
  }
  EXPECT_GT(includes, 100);
}

TEST(Layout, EverySourceFileIsInTheBuild) {
  const std::set<std::string> built = built_files();
  for (const std::string& file : files({".cpp", ".cu"})) {
    EXPECT_TRUE(built.contains(file)) << file << " is in no CMakeLists.txt";
  }
  for (const std::string& file : built) {
    EXPECT_TRUE(fs::exists(kSource / file)) << file << " is in a CMakeLists.txt but does not exist";
  }
  EXPECT_GT(built.size(), 50u);
}

TEST(Layout, HeadersAreGuarded) {
  for (const std::string& file : files({".h", ".cuh"})) {
    EXPECT_NE(read(kSource / file).find("#pragma once\n"), std::string::npos) << file;
  }
}

TEST(Layout, TheRulesKnowRightFromWrong) {
  const auto refused = [](const std::string& file, const std::string& header) {
    return !fault(file, header).empty();
  };
  EXPECT_FALSE(refused("core/plan/lower.cpp", "core/plan/plan.h"));
  EXPECT_FALSE(refused("core/plan/lower.cpp", "core/kernel/kernel.h"));
  EXPECT_FALSE(refused("tests/core/graph_test.cpp", "tests/core/run_graph.h"));
  EXPECT_FALSE(refused("bench/step.cpp", "core/plan/plan.h"));
  EXPECT_TRUE(refused("core/plan/lower.cpp", "core/builtin/builtin.h"));  // the same floor
  EXPECT_TRUE(refused("core/graph/graph.cpp", "core/device/device.h"));
  EXPECT_TRUE(refused("core/kernel/kernel.cpp", "core/plan/plan.h"));  // a higher one
  EXPECT_TRUE(refused("ops/register.cpp", "tests/core/run_graph.h"));
  EXPECT_TRUE(refused("bench/step.cpp", "tests/core/run_graph.h"));
  EXPECT_TRUE(refused("core/plan/lower.cpp", "core/kernel/absent.h"));
  EXPECT_TRUE(refused("core/plan/lower.cpp", "plan.h"));  // not from the repository root
  EXPECT_TRUE(refused("core/lower.cpp", "core/plan/plan.h"));
}

}  // namespace
}  // namespace lockstep
