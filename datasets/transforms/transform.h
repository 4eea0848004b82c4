// Transforms: what happens to a sample on its way from the dataset to the model, as [[data.transform]]
// lists it. A transform is a pure function of the sample, its number, the epoch and the seed, so
// augmentation depends neither on ranks nor on threads. It holds settings only and may be used by any
// number of threads.
//
// There are two stages. Those on elements come first: they move or mix the elements of an image as
// they are stored, bytes or f32. Then the input is normalised. Those on numbers come last, in f32.
//
// A new transform is a file pair here and a line in register.cpp.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/random.h"
#include "core/base/settings.h"
#include "core/base/shape.h"

namespace lockstep {

// The random numbers of one sample in one epoch for one transform; `k` counts them.
class SampleRandom {
 public:
  // `index`: of the transform in its list.
  SampleRandom(std::uint64_t seed, std::uint32_t index, std::int64_t epoch, std::int64_t sample)
      : stream_(seed, Purpose::kAugment, index),
        epoch_(static_cast<std::uint32_t>(epoch)),
        sample_(static_cast<std::uint32_t>(sample)) {}

  // In [0, 1).
  double uniform(std::uint64_t k) const { return stream_.word(epoch_, sample_, k) * 0x1p-32; }
  // In [0, bound), bound below 2^32.
  std::int64_t below(std::int64_t bound, std::uint64_t k) const {
    return static_cast<std::int64_t>(std::uint64_t{stream_.word(epoch_, sample_, k)} *
                                         static_cast<std::uint64_t>(bound) >> 32);
  }
  // Of mean 0 and standard deviation 1.
  double normal(std::uint64_t k) const { return stream_.normal(epoch_, sample_, k); }

 private:
  RandomStream stream_;
  std::uint32_t epoch_, sample_;
};

class Transform {
 public:
  enum class Stage { kElements, kNumbers };

  virtual ~Transform() = default;
  virtual std::string_view kind() const = 0;  // "random_crop"
  virtual Stage stage() const { return Stage::kElements; }
  // The shape of what becomes of a sample of that shape. Throws bad_input where it cannot be applied.
  virtual Shape output(const Shape& sample) const { return sample; }
  // More than 0: the elements have to be whole numbers in [0, that number).
  virtual std::int64_t integers_below() const { return 0; }
  // Only training samples; otherwise all, with `random` null for those that are evaluated.
  virtual bool training_only() const { return true; }

  // Writes what becomes of the sample. `to` is other memory than `from`, of output(sample).
  // REQUIRES: the stage is kElements.
  virtual void apply(const Shape& sample, const std::uint8_t* from, std::uint8_t* to,
                     const SampleRandom* random) const;
  virtual void apply(const Shape& sample, const float* from, float* to, const SampleRandom* random) const = 0;
};

using TransformPtr = std::shared_ptr<const Transform>;

// Makes transforms from settings: [[data.transform]] type = "random_crop" padding = 4 ...
class TransformRegistry {
 public:
  using Maker = std::function<TransformPtr(Settings&)>;
  void add(const std::string& kind, Maker maker) { makers_[kind] = std::move(maker); }
  // Reads "type" of `settings` and makes the transform; throws bad_input naming the nearest valid
  // kind. The caller has read "input" and calls settings.finish() afterwards.
  TransformPtr make(Settings& settings) const;

 private:
  std::map<std::string, Maker> makers_;
};

// All transforms there are.
void register_transforms(TransformRegistry& registry);

// Extents of an image (height, width, channels) or (height, width). Throws bad_input "<kind>: ..."
// where the sample is none.
struct ImageExtents {
  std::int64_t height = 0, width = 0, channels = 1;
};
ImageExtents image_extents(std::string_view kind, const Shape& sample);

}  // namespace lockstep
