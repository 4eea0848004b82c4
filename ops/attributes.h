// Numbers in the printed attributes of ops.
#pragma once

#include <charconv>
#include <string>

namespace lockstep {

// The shortest decimal that reads back as exactly this number: "0.1", "1e-08". Attributes are
// compared to tell whether two ops compute the same, so they must not be rounded.
inline std::string exact(double value) {
  char digits[32];
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof digits, value);
  return std::string(digits, end.ptr);
}

}  // namespace lockstep
