// Mixup: each training sample becomes a mean of two, inputs and targets alike, with a weight drawn from a Beta(alpha,
// alpha) distribution. H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: beyond empirical risk minimization", 2018.
//
// A sample is mixed with one of its own microbatch, so what a worker computes does not depend on the others.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/range.h"
#include "core/base/random.h"

namespace lockstep {

class Mixup {
 public:
  // `index`: of mixup among the transforms, for its random numbers. REQUIRES: alpha above 0.
  Mixup(double alpha, std::uint64_t seed, std::uint32_t index) : alpha_(alpha), random_(seed, Purpose::kAugment, index) {}

  // Mixes the rows of one microbatch: for each array (rows, elements of a row), with the same partners and weights.
  // `sample_ids`: of the rows. `room`: memory that is kept from call to call.
  struct Rows {
    float* values = nullptr;
    std::int64_t elements = 0;
  };
  void mix(std::int64_t epoch, std::int64_t batch, std::int64_t microbatch, std::span<const std::int64_t> sample_ids,
           std::span<const Rows> arrays, std::vector<float>& room) const;

  // The weight of a sample itself, in [0, 1].
  double weight(std::int64_t epoch, std::int64_t sample) const;

 private:
  double gamma(std::uint32_t epoch, std::uint32_t sample, std::uint64_t first) const;

  double alpha_;
  RandomStream random_;
};

}  // namespace lockstep
