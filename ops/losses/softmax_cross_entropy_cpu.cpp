// CPU kernels of softmax_cross_entropy, a row of logits at a time. With m the largest logit of a
// row and S = sum exp(x - m), the loss of the row is
//   log S + (1 - s) (m - x_t) + s / classes * sum (m - x),
// in which nothing can overflow. With shares t of the classes instead of one class (smoothed: t' = (1 - s) t + s / classes)
// it is the sum over the classes of t' (log S + m - x). The rows are added in f64 and in order, so the sum does not depend
// on the number of threads.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/lanes.h"
#include "core/base/vector_math.h"
#include "ops/cpu_kernel.h"
#include "ops/losses/loss.h"
#include "ops/losses/softmax_cross_entropy.h"

namespace lockstep {
namespace {

struct Rows {
  std::int64_t rows, classes, positions;  // positions of a sample
  double scale;                           // of a row
  double label_smoothing;
  bool weighted;
  bool shares;  // the target is a share of each class, not a class number
  int threads;
  std::int64_t grain;  // rows worth a thread
};

Rows rows_of(const KernelRequest& request, std::size_t inputs, const SoftmaxCrossEntropyOp& loss) {
  const Shape& logits = request.inputs[0].shape;
  const std::int64_t classes = logits[-1], positions = logits.elements(1, logits.rank() - 1);
  return {.rows = logits[0] * positions,
          .classes = classes,
          .positions = positions,
          .scale = loss.scale() / static_cast<double>(positions),
          .label_smoothing = loss.label_smoothing(),
          .weighted = inputs == 3,
          .shares = request.inputs[1].dtype == DType::kF32,
          .threads = cpu_threads(request),
          .grain = std::max<std::int64_t>(1, kElementGrain / 8 / classes)};
}

// The loss of one row.
float row_loss(const float* x, std::int32_t label, const Rows& shape) {
  if (label < 0 || label >= shape.classes) return std::numeric_limits<float>::quiet_NaN();
  const float m = max_lanes(x, shape.classes);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t k = 0; k < shape.classes; ++k) sum += vector_math::exp(x[k] - m);
  const float loss = std::log(sum);
  if (shape.label_smoothing == 0) return loss + (m - x[label]);
  float distance = 0;
#pragma omp simd reduction(+ : distance)
  for (std::int64_t k = 0; k < shape.classes; ++k) distance += m - x[k];
  const double smoothing = shape.label_smoothing;
  return static_cast<float>(loss + (1.0 - smoothing) * (m - x[label]) +
                            smoothing / static_cast<double>(shape.classes) * distance);
}

// A class's share after smoothing.
double smoothed(float share, const Rows& shape) {
  return share * (1.0 - shape.label_smoothing) + shape.label_smoothing / static_cast<double>(shape.classes);
}

float row_loss(const float* x, const float* shares, const Rows& shape) {
  const float m = max_lanes(x, shape.classes);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t k = 0; k < shape.classes; ++k) sum += vector_math::exp(x[k] - m);
  const double log_sum = std::log(sum);
  double loss = 0;
  for (std::int64_t k = 0; k < shape.classes; ++k) {
    const double share = smoothed(shares[k], shape);
    // A class without a share may be infinitely far.
    if (share != 0) loss += share * (log_sum + (static_cast<double>(m) - x[k]));
  }
  return static_cast<float>(loss);
}

// The gradient of one row, times `factor`.
void row_gradient(const float* x, const float* shares, float factor, const Rows& shape, float* dx) {
  const float m = max_lanes(x, shape.classes);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t k = 0; k < shape.classes; ++k) {
    dx[k] = vector_math::exp(x[k] - m);
    sum += dx[k];
  }
  double all = 0;
  for (std::int64_t k = 0; k < shape.classes; ++k) all += smoothed(shares[k], shape);
  const double of_one = all / sum;
  for (std::int64_t k = 0; k < shape.classes; ++k) {
    dx[k] = static_cast<float>((dx[k] * of_one - smoothed(shares[k], shape)) * factor);
  }
}

// The gradient of one row, times `factor`.
void row_gradient(const float* x, std::int32_t label, float factor, const Rows& shape, float* dx) {
  if (label < 0 || label >= shape.classes) {
    std::fill(dx, dx + shape.classes, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  const float m = max_lanes(x, shape.classes);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t k = 0; k < shape.classes; ++k) {
    dx[k] = vector_math::exp(x[k] - m);
    sum += dx[k];
  }
  const float inverse = factor / sum;
  const double smoothing = shape.label_smoothing;
  const auto floor = static_cast<float>(factor * smoothing / static_cast<double>(shape.classes));
  const float of_label = dx[label];
#pragma omp simd
  for (std::int64_t k = 0; k < shape.classes; ++k) dx[k] = dx[k] * inverse - floor;
  // p - 1 in one rounding: factor * (e / S - 1) loses digits where p is near 1.
  dx[label] = static_cast<float>(
      (static_cast<double>(of_label) / sum - (1.0 - smoothing)) * factor - floor);
}

Kernel softmax_cross_entropy_cpu(const KernelRequest& request) {
  const Rows shape =
      rows_of(request, request.inputs.size(), request.op_as<SoftmaxCrossEntropyOp>());
  auto run = [=](const Launch& launch) {
    const float* x = launch.input<float>(0);
    const float* weights = shape.weighted ? launch.input<float>(2) : nullptr;
    float* losses = static_cast<float*>(launch.workspace);
    parallel_for(shape.threads, shape.rows, shape.grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const float* logits = x + row * shape.classes;
        losses[row] = shape.shares ? row_loss(logits, launch.input<float>(1) + row * shape.classes, shape)
                                   : row_loss(logits, launch.input<std::int32_t>(1)[row], shape);
      }
    });
    double total = 0;
    for (std::int64_t row = 0; row < shape.rows; ++row) {
      const double weight = weights == nullptr ? 1.0 : weights[row / shape.positions];
      total += weight * losses[row];
    }
    *launch.output<float>(0) = static_cast<float>(total * shape.scale);
  };
  return {"softmax_cross_entropy_cpu", run, shape.rows * sizeof(float)};
}

Kernel softmax_cross_entropy_backward_cpu(const KernelRequest& request) {
  const Rows shape = rows_of(request, request.inputs.size() - 1,
                             request.op_as<SoftmaxCrossEntropyBackwardOp>().loss());
  const int cotangent_input = static_cast<int>(request.inputs.size()) - 1;
  auto run = [=](const Launch& launch) {
    const float* x = launch.input<float>(0);
    const float* weights = shape.weighted ? launch.input<float>(2) : nullptr;
    float* dx = launch.output<float>(0);
    const double scale = shape.scale * *launch.input<float>(cotangent_input);
    parallel_for(shape.threads, shape.rows, shape.grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const double weight = weights == nullptr ? 1.0 : weights[row / shape.positions];
        const float* logits = x + row * shape.classes;
        const auto factor = static_cast<float>(scale * weight);
        float* gradient = dx + row * shape.classes;
        if (shape.shares) {
          row_gradient(logits, launch.input<float>(1) + row * shape.classes, factor, shape, gradient);
        } else {
          row_gradient(logits, launch.input<std::int32_t>(1)[row], factor, shape, gradient);
        }
      }
    });
  };
  return {"softmax_cross_entropy_backward_cpu", run};
}

}  // namespace

void register_softmax_cross_entropy_cpu(KernelRegistry& registry) {
  registry.add("softmax_cross_entropy", DeviceKind::kCpu, {softmax_cross_entropy_cpu, nullptr});
  registry.add("softmax_cross_entropy_backward", DeviceKind::kCpu,
               {softmax_cross_entropy_backward_cpu, nullptr});
}

}  // namespace lockstep
