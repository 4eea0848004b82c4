// Errors of Lockstep. There are three kinds; all are exceptions, and only the program's main function
// turns them into an exit code (bad input: 2, the other two: 1).
//
// A message names the op, file or key, what was required and what was found, on one line:
//   conv1 (conv2d): weight (3, 3, 3, 64) needs 3 input channels, input has 1
// Control characters of what it quotes are shown as \n, \t or \x1b, so that it stays one line.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace lockstep {

enum class ErrorKind {
  kBadInput,     // the user can mend it: a configuration, a file, an argument
  kEnvironment,  // the machine failed: disk full, permission, a peer that is gone
  kInvariant,    // Lockstep is wrong: please report
};

inline std::string on_one_line(std::string_view message) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string out;
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out += c;
    } else if (c == '\n' || c == '\t') {
      out += c == '\n' ? "\\n" : "\\t";
    } else {
      out += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return out;
}

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message)
      : std::runtime_error(on_one_line(message)), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// The parts written one after another, as by operator<<.
template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

template <typename... Parts>
[[noreturn]] void bad_input(const Parts&... parts) {
  throw Error(ErrorKind::kBadInput, text(parts...));
}

template <typename... Parts>
[[noreturn]] void environment_failed(const Parts&... parts) {
  throw Error(ErrorKind::kEnvironment, text(parts...));
}

template <typename... Parts>
[[noreturn]] void broken_invariant(const Parts&... parts) {
  throw Error(ErrorKind::kInvariant, text(parts...));
}

// Throws bad_input unless `ok`.
template <typename... Parts>
void check_input(bool ok, const Parts&... parts) {
  if (!ok) bad_input(parts...);
}

// Throws broken_invariant unless `ok`. Stays on in release builds.
template <typename... Parts>
void require(bool ok, const Parts&... parts) {
  if (!ok) broken_invariant(parts...);
}

}  // namespace lockstep
