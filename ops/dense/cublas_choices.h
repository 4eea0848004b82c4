// What is decided around cuBLASLt's matrix products without asking a GPU. Apart from the rest, so that tests need none.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace lockstep::cublas {

// An algorithm of cuBLASLt, which may be kept as bytes for the same version of the library (cublasLt.h). Its text, for
// core/device/algorithm_cache.h: "WORKSPACE WORD WORD ...", in decimal.
struct Algorithm {
  std::uint64_t workspace = 0;  // bytes
  std::array<std::uint64_t, 8> words{};

  std::string to_string() const;
  // Nothing where the text is not exactly that.
  static std::optional<Algorithm> from(const std::string& written);
  bool operator==(const Algorithm&) const = default;
};

}  // namespace lockstep::cublas
