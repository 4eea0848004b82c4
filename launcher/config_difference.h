// Where two configurations differ, in the words of --set.
#pragma once

#include <string>

namespace lockstep {

struct ConfigDifference {
  std::string key;            // "train.global_batch", "layer.1.units"; empty: none
  std::string first, second;  // the values as TOML; "nothing" where the key is missing
};

// The first difference of two texts of Config::toml, in the order of the first one.
ConfigDifference difference_of(const std::string& first, const std::string& second);

}  // namespace lockstep
