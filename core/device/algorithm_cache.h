// Which of a library's algorithms computes what: found once for each problem, and kept in a file between runs.
//
// A choice is a string that only the kernel that made it reads ("38 2=1 5=0": a cuDNN engine and its knobs). It belongs to
// an environment, the GPU and the versions of its libraries, and to a problem: a line of text that holds everything that
// the choice depends on ("conv2d bf16 x=(32, 56, 56, 64) ..."). There are two rules:
//
//   first     The library's favourite: a pure function of environment and problem, so that all workers compute the same
//             bits. The cache saves the time to find it, and whether it is there changes nothing else.
//   fastest   What was measured to be the fastest here. Other measurements may choose otherwise, with other last bits: so one
//             worker measures, the others take its choices, and they are kept (launcher/autotune.h).
//
// The file is text, sorted, and holds the choices of any number of environments, those that were measured marked:
//
//   file     = "lockstep algorithms 1\n" { choice } "checksum " xxh3 "\n"
//   choice   = environment "\t" [ "fastest " ] problem "\t" choice "\n"
//   xxh3     = 16 hexadecimal digits, of all lines before
//
// An object belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace lockstep {

// What a library has for a problem.
struct Proposals {
  // Choices that can be used, the library's favourite first; at most `most`. Empty where it has none.
  std::function<std::vector<std::string>(std::size_t most)> list;
  // How long one run of a choice takes here, in seconds. Empty where that cannot be measured.
  std::function<double(const std::string& choice)> seconds = {};
};

class AlgorithmCache {
 public:
  // REQUIRES, as for all texts here: no tab and no line break in it.
  explicit AlgorithmCache(std::string environment);

  const std::string& environment() const { return environment_; }
  // How many choices there are for this environment.
  std::size_t size() const;

  // nullptr where none is known by the rule.
  const std::string* find(const std::string& problem) const;
  // Replaces what was there by the rule.
  void keep(const std::string& problem, std::string choice);
  void forget(const std::string& problem);
  // The known choice, or one that is made now, and kept. Empty where the library has none. By the rule `fastest` a choice that
  // is not known is measured where measure_for() allows it; else the library's favourite is returned, and not kept.
  std::string choose(const std::string& problem, const Proposals& proposals);

  // Whether the rule is `fastest`. At first it is not.
  void take_fastest(bool fastest) { fastest_ = fastest; }
  // For so many seconds from the next problem on that is not known, such problems are measured; one that was begun is measured
  // to its end. So at least one is, however long it takes to come to it. 0: nothing is, as at first.
  void measure_for(double seconds);
  // The problems for which choose() had to return the favourite since the last call, because they were not to be measured.
  std::set<std::string> take_unmeasured() { return std::exchange(unmeasured_, {}); }

  // The choices as the lines of a file with a checksum, and back: adds those that are not known yet. Where the text is broken:
  // false with the reason, and nothing is added.
  std::string to_text() const;
  bool add_text(const std::string& text, std::string& why);

  // Adds the choices of a file to those that are not known yet. Where there is no such file: false, with an empty `why`;
  // where it is broken: false with the reason, and nothing is added.
  bool load(const std::string& path, std::string& why);
  // Writes all choices, those that were loaded for other environments included. Throws as files do.
  void save(const std::string& path) const;

 private:
  using Key = std::pair<std::string, std::string>;  // environment, problem with its mark

  Key key(const std::string& problem) const;
  bool may_measure();

  std::string environment_;
  std::map<Key, std::string> choices_;
  bool fastest_ = false;
  std::int64_t measures_for_ = 0;    // nanoseconds
  std::int64_t measures_until_ = 0;  // of the monotonic clock; 0 until something is to be measured
  std::set<std::string> unmeasured_;
};

// The choice that takes the least time: medians of rounds in which all take turns. An earlier one wins unless a later one is
// clearly faster, by a twentieth of its time or more: what is nearly equal shall not depend on chance.
// One whose first trial throws an Error is none; the first is returned where that goes for all. REQUIRES: there are choices.
std::string fastest_of(const std::vector<std::string>& choices, const std::function<double(const std::string&)>& seconds);

}  // namespace lockstep
