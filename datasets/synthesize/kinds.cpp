#include <algorithm>

#include "core/base/error.h"
#include "core/base/settings.h"
#include "datasets/synthesize/images.h"
#include "datasets/synthesize/kind.h"
#include "datasets/synthesize/series.h"
#include "datasets/synthesize/tables.h"

namespace lockstep {

const std::vector<SyntheticKind>& synthetic_kinds() {
  static const std::vector<SyntheticKind> kinds = {
      linear_kind(),          //
      logistic_kind(),        //
      xor_kind(),             //
      spirals_kind(),         //
      sine_kind(),            //
      sines_kind(),           //
      autoregressive_kind(),  //
      images_kind(),
  };
  return kinds;
}

std::unique_ptr<SampleSource> synthesize(const std::string& kind, const SynthesisRequest& request) {
  std::vector<std::string> names;
  std::string all;
  for (const SyntheticKind& known : synthetic_kinds()) {
    names.push_back(known.name);
    all += (all.empty() ? "" : ", ") + known.name;
  }
  const auto found = std::ranges::find(synthetic_kinds(), kind, &SyntheticKind::name);
  if (found == synthetic_kinds().end()) {
    const std::string nearest = nearest_name(kind, names);
    bad_input("data synthesize: no kind '", kind, "'",
              nearest.empty() ? "" : "; did you mean '" + nearest + "'?", "; kinds are ", all);
  }
  for (const auto& [name, value] : request.options.given()) {
    if (std::ranges::find(found->options, name, &FormatOption::name) != found->options.end())
      continue;
    std::string owners;
    for (const SyntheticKind& other : synthetic_kinds()) {
      if (std::ranges::find(other.options, name, &FormatOption::name) != other.options.end())
        owners += (owners.empty() ? "" : ", ") + other.name;
    }
    bad_input("--", name, " is an option of ", owners.empty() ? "no kind" : owners, ", not of ",
              kind);
  }
  check_input(request.samples >= 1, "--samples is ", request.samples, ", expected 1 or more");
  return found->make(request);
}

}  // namespace lockstep
