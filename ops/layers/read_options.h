// Settings that several layers have.
#pragma once

#include <array>
#include <string>

#include "core/base/settings.h"
#include "ops/layers/initializer.h"

namespace lockstep {

// An integer of at least 1 that must be given.
std::int64_t read_positive(Settings& settings, const std::string& key);
// The same with a default.
std::int64_t read_positive(Settings& settings, const std::string& key, std::int64_t fallback);
// One integer or two, of at least 1: height and width. `fallback` of {0, 0}: it must be given.
std::array<std::int64_t, 2> read_size(Settings& settings, const std::string& key,
                                      const std::array<std::int64_t, 2>& fallback);
// An axis of a tensor; below 0 it counts from the end.
int read_axis(Settings& settings, const std::string& key, int fallback);
// A word, or for those with a value a table: {kind = "constant", value = 0.5}.
Initializer read_initializer(Settings& settings, const std::string& key,
                             const Initializer& fallback);

}  // namespace lockstep
