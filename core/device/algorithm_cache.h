// Which of a library's algorithms computes what: found once for each problem, and kept in a file between runs.
//
// A choice is a string that only the kernel that made it reads ("38 2=1 5=0": a cuDNN engine and its knobs). It belongs to
// an environment, the GPU and the versions of its libraries, and to a problem: a line of text that holds everything that
// the choice depends on ("conv2d bf16 x=(32, 56, 56, 64) ..."). A choice is a pure function of the two, so that all
// workers compute the same bits; the cache saves the time to find it, and whether it is there changes nothing else.
//
// The file is text, sorted, and holds the choices of any number of environments:
//
//   file     = "lockstep algorithms 1\n" { choice } "checksum " xxh3 "\n"
//   choice   = environment "\t" problem "\t" choice "\n"
//   xxh3     = 16 hexadecimal digits, of all lines before
//
// An object belongs to one thread.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <utility>

namespace lockstep {

class AlgorithmCache {
 public:
  // REQUIRES, as for all texts here: no tab and no line break in it.
  explicit AlgorithmCache(std::string environment);

  const std::string& environment() const { return environment_; }
  // How many choices there are for this environment.
  std::size_t size() const;

  // nullptr where none is known.
  const std::string* find(const std::string& problem) const;
  // Replaces what was there.
  void keep(const std::string& problem, std::string choice);
  // The known choice, or what choose() returns, which is kept.
  const std::string& choose(const std::string& problem, const std::function<std::string()>& choose);

  // Adds the choices of a file to those that are not known yet. Where there is no such file: false, with an empty `why`;
  // where it is broken: false with the reason, and nothing is added.
  bool load(const std::string& path, std::string& why);
  // Writes all choices, those that were loaded for other environments included. Throws as files do.
  void save(const std::string& path) const;

 private:
  using Key = std::pair<std::string, std::string>;  // environment, problem

  std::string environment_;
  std::map<Key, std::string> choices_;
};

}  // namespace lockstep
