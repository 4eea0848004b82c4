#include "datasets/transforms/transform.h"

#include "core/base/error.h"

namespace lockstep {

void Transform::apply(const Shape&, const std::uint8_t*, std::uint8_t*, const SampleRandom*) const {
  broken_invariant(kind(), " takes no bytes");
}

TransformPtr TransformRegistry::make(Settings& settings) const {
  std::vector<std::string> kinds;
  for (const auto& [kind, maker] : makers_) kinds.push_back(kind);
  if (!settings.has("type")) settings.word("type");  // the error for a missing key
  return makers_.at(settings.choice("type", kinds, ""))(settings);
}

ImageExtents image_extents(std::string_view kind, const Shape& sample) {
  check_input(sample.rank() == 2 || sample.rank() == 3, kind, ": a sample is ", sample,
              ", expected an image (height, width, channels); data.sample_shape can make it one");
  return {sample[0], sample[1], sample.rank() == 3 ? sample[2] : 1};
}

}  // namespace lockstep
