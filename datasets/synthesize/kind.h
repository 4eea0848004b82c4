// Data made from a formula and random numbers, for `lockstep data synthesize`: what a model should
// find is known. A kind is a source of samples in one of the file pairs of this folder, and one
// line in datasets/synthesize/kinds.cpp.
//
// A sample is a pure function of (kind, options, seed, number of the sample), so the values do not
// depend on shards, and more samples begin with the same ones. Numbers are Philox's
// (core/base/random.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "datasets/import/format_options.h"
#include "datasets/import/sample_source.h"

namespace lockstep {

struct SynthesisRequest {
  std::int64_t samples = 1000;
  std::uint64_t seed = 0;
  FormatOptions options;  // of the kind
};

struct SyntheticKind {
  std::string name;   // "spirals"
  std::string about;  // "points on K arms of a spiral, y is the arm"
  std::vector<FormatOption> options;
  std::unique_ptr<SampleSource> (*make)(const SynthesisRequest& request);
};

const std::vector<SyntheticKind>& synthetic_kinds();

// Throws bad_input where there is no such kind, or an option is given that it does not have.
std::unique_ptr<SampleSource> synthesize(const std::string& kind, const SynthesisRequest& request);

// The random numbers of samples: element `element` of sample `id` in a family of its own, `family`.
class SynthesisRandom {
 public:
  SynthesisRandom(std::uint64_t seed, std::uint32_t family)
      : stream_(seed, Purpose::kSynthesize, family) {}

  // Uniform in [0, 1).
  double uniform(std::int64_t id, std::uint64_t element) const {
    return stream_.uniform(high(id), low(id), element);
  }
  // Standard normal.
  double normal(std::int64_t id, std::uint64_t element) const {
    return stream_.normal(high(id), low(id), element);
  }

 private:
  static std::uint32_t low(std::int64_t id) { return static_cast<std::uint32_t>(id); }
  static std::uint32_t high(std::int64_t id) { return static_cast<std::uint32_t>(id >> 32); }

  RandomStream stream_;
};

}  // namespace lockstep
