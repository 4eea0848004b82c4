#include "ops/dense/cublas_choices.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "core/base/error.h"

namespace lockstep::cublas {

std::string Algorithm::to_string() const {
  std::string out = std::to_string(workspace);
  for (const std::uint64_t word : words) out += text(' ', word);
  return out;
}

std::optional<Algorithm> Algorithm::from(const std::string& written) {
  Algorithm out;
  const char *at = written.data(), *const end = at + written.size();
  const auto read = [&](std::uint64_t& number) {
    const auto [behind, code] = std::from_chars(at, end, number);
    at = behind;
    return code == std::errc();
  };
  if (!read(out.workspace)) return {};
  for (std::uint64_t& word : out.words) {
    if (at == end || *at++ != ' ' || !read(word)) return {};
  }
  if (at != end) return {};
  return out;
}

std::vector<Epilogue> epilogues_of(const DenseSizes& sizes, const DenseEnd& end) {
  const bool low = sizes.dtype == DType::kBF16;
  Epilogue all;
  all.bias = end.has_bias && (low || fills_lines(sizes.out));
  if (end.activation && all.bias == end.has_bias) {
    const ActivationKind kind = end.activation->kind;
    if (kind == ActivationKind::kRelu || (kind == ActivationKind::kGeluApproximate && low)) all.activation = kind;
  }
  std::vector<Epilogue> out{all};
  if (all.bias && all.activation) out.push_back({true});
  if (all != Epilogue{}) out.push_back({});
  return out;
}

// ---- Gradients of weight and bias ----------------------------------------------------------------

namespace {

constexpr std::string_view kTogether = "together ", kApart = "apart ";

}  // namespace

std::string WeightsChoice::to_string() const { return text(together ? kTogether : kApart, algorithm); }

WeightsChoice WeightsChoice::from(const std::string& written) {
  const bool together = written.starts_with(kTogether);
  require(together || written.starts_with(kApart), "no choice for the gradients of weight and bias: ", written);
  return {together, written.substr(together ? kTogether.size() : kApart.size())};
}

std::vector<std::string> weights_choices(const std::vector<std::string>& together, const std::vector<std::string>& apart,
                                         bool together_first, std::size_t most) {
  std::vector<std::string> out;
  const auto add = [&](bool both, std::size_t i) {
    const std::vector<std::string>& algorithms = both ? together : apart;
    if (i < algorithms.size() && out.size() < most) out.push_back(WeightsChoice{both, algorithms[i]}.to_string());
  };
  for (std::size_t i = 0; i < std::max(together.size(), apart.size()); ++i) {
    add(together_first, i);
    add(!together_first, i);
  }
  return out;
}

}  // namespace lockstep::cublas
