// CPU kernels of the elementwise losses. The elements that share a weight are a row (all of them
// without weights); a row is cut into blocks. A block is summed in f32, the blocks of all rows in
// f64 and in order, so the sum does not depend on the number of threads.
#include <algorithm>
#include <cmath>

#include "core/base/vector_math.h"
#include "ops/cpu_kernel.h"
#include "ops/losses/element_loss.h"
#include "ops/losses/loss.h"

namespace lockstep {
namespace {

constexpr std::int64_t kBlock = 1024;

// log(1 + e) for 0 <= e <= 1, as 2 atanh(e / (2 + e)) by its series: the argument is at most 1 / 3,
// where the first term left out is below 2^-27 of the sum. Relative error below 2 units in the last
// place.
[[gnu::always_inline]] inline float log1p_of_unit(float e) {
  const float s = e / (2.0f + e);
  const float z = s * s;
  float p = 1.0f / 15.0f;
  p = std::fma(p, z, 1.0f / 13.0f);
  p = std::fma(p, z, 1.0f / 11.0f);
  p = std::fma(p, z, 1.0f / 9.0f);
  p = std::fma(p, z, 1.0f / 7.0f);
  p = std::fma(p, z, 1.0f / 5.0f);
  p = std::fma(p, z, 1.0f / 3.0f);
  return 2.0f * std::fma(p * z, s, s);
}

struct Squared {
  float value(float x, float t) const { return (x - t) * (x - t); }
  float derivative(float x, float t) const { return 2.0f * (x - t); }
};

struct Absolute {
  float value(float x, float t) const { return std::abs(x - t); }
  float derivative(float x, float t) const { return (x > t ? 1.0f : 0.0f) - (x < t ? 1.0f : 0.0f); }
};

struct BinaryCrossEntropy {
  float keep, shift;  // the smoothed target is t * keep + shift

  float value(float x, float t) const {
    const float positive = x > 0.0f ? x : 0.0f;
    return positive - x * std::fma(t, keep, shift) + log1p_of_unit(vector_math::exp(-std::abs(x)));
  }
  float derivative(float x, float t) const {
    return vector_math::sigmoid(x) - std::fma(t, keep, shift);
  }
};

// How the elements are cut; `row_scale` is the constant factor of each element's share.
struct Division {
  std::int64_t rows, row_elements, row_blocks;
  double row_scale;
  bool weighted;
  int threads;
};

Division divide(const KernelRequest& request, std::size_t inputs, double scale) {
  const Shape& shape = request.inputs[0].shape;
  const bool weighted = inputs == 3;
  const std::int64_t rows = weighted ? shape[0] : 1;
  const std::int64_t row_elements = weighted ? shape.elements(1, shape.rank()) : shape.elements();
  const auto sample_elements = static_cast<double>(shape.elements(1, shape.rank()));
  return {
      rows,     row_elements,        (row_elements + kBlock - 1) / kBlock, scale / sample_elements,
      weighted, cpu_threads(request)};
}

// Calls body(block, row, begin, end) for all blocks of all rows; begin and end count from the first
// row.
template <typename Body>
void for_blocks(const Division& division, const Body& body) {
  const std::int64_t grain = std::max<std::int64_t>(
      1, kElementGrain / std::clamp<std::int64_t>(division.row_elements, 1, kBlock));
  parallel_for(division.threads, division.rows * division.row_blocks, grain,
               [&](std::int64_t first, std::int64_t last) {
                 for (std::int64_t block = first; block < last; ++block) {
                   const std::int64_t row = block / division.row_blocks;
                   const std::int64_t offset = block % division.row_blocks * kBlock;
                   const std::int64_t begin = row * division.row_elements + offset;
                   const std::int64_t length = std::min(kBlock, division.row_elements - offset);
                   body(block, row, begin, begin + length);
                 }
               });
}

template <typename Formula>
Kernel make_forward(const KernelRequest& request, double scale, Formula formula) {
  const Division division = divide(request, request.inputs.size(), scale);
  const std::int64_t blocks = division.rows * division.row_blocks;
  auto run = [=](const Launch& launch) {
    const float* x = launch.input<float>(0);
    const float* t = launch.input<float>(1);
    const float* weights = division.weighted ? launch.input<float>(2) : nullptr;
    float* sums = static_cast<float*>(launch.workspace);
    for_blocks(division,
               [&](std::int64_t block, std::int64_t, std::int64_t begin, std::int64_t end) {
                 float sum = 0;
#pragma omp simd reduction(+ : sum)
                 for (std::int64_t i = begin; i < end; ++i) sum += formula.value(x[i], t[i]);
                 sums[block] = sum;
               });
    double total = 0;
    for (std::int64_t block = 0; block < blocks; ++block) {
      const double weight = weights == nullptr ? 1.0 : weights[block / division.row_blocks];
      total += weight * sums[block];
    }
    *launch.output<float>(0) = static_cast<float>(total * division.row_scale);
  };
  return {std::string(request.op.name()) + "_cpu", run, blocks * sizeof(float)};
}

template <typename Formula>
Kernel make_backward(const KernelRequest& request, double scale, Formula formula) {
  const Division division = divide(request, request.inputs.size() - 1, scale);
  const int cotangent_input = static_cast<int>(request.inputs.size()) - 1;
  auto run = [=](const Launch& launch) {
    const float* x = launch.input<float>(0);
    const float* t = launch.input<float>(1);
    const float* weights = division.weighted ? launch.input<float>(2) : nullptr;
    float* dx = launch.output<float>(0);
    const double scale = division.row_scale * *launch.input<float>(cotangent_input);
    for_blocks(division, [=](std::int64_t, std::int64_t row, std::int64_t begin, std::int64_t end) {
      const auto factor = static_cast<float>(weights == nullptr ? scale : scale * weights[row]);
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) dx[i] = factor * formula.derivative(x[i], t[i]);
    });
  };
  return {std::string(request.op.name()) + "_cpu", run};
}

// Calls make(formula) with the formula of the loss.
template <typename Make>
Kernel with_formula(const ElementLossOp& loss, const Make& make) {
  switch (loss.kind()) {
    case ElementLossKind::kSquared:
      return make(Squared{});
    case ElementLossKind::kAbsolute:
      return make(Absolute{});
    case ElementLossKind::kBinaryCrossEntropy: {
      const double smoothing = loss.label_smoothing();
      return make(BinaryCrossEntropy{static_cast<float>(1.0 - smoothing),
                                     static_cast<float>(0.5 * smoothing)});
    }
  }
  broken_invariant("element loss of an unknown kind");
}

Kernel element_loss_cpu(const KernelRequest& request) {
  const auto& loss = request.op_as<ElementLossOp>();
  return with_formula(loss,
                      [&](auto formula) { return make_forward(request, loss.scale(), formula); });
}

Kernel element_loss_backward_cpu(const KernelRequest& request) {
  const ElementLossOp& loss = request.op_as<ElementLossBackwardOp>().loss();
  return with_formula(loss,
                      [&](auto formula) { return make_backward(request, loss.scale(), formula); });
}

}  // namespace

void register_element_loss_cpu(KernelRegistry& registry) {
  for (const ElementLossKind kind : {ElementLossKind::kSquared, ElementLossKind::kAbsolute,
                                     ElementLossKind::kBinaryCrossEntropy}) {
    const ElementLossOp loss(kind, 1.0);
    registry.add(std::string(loss.name()), DeviceKind::kCpu, {element_loss_cpu, nullptr});
    registry.add(std::string(ElementLossBackwardOp(loss).name()), DeviceKind::kCpu,
                 {element_loss_backward_cpu, nullptr});
  }
}

}  // namespace lockstep
