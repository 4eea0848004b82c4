// The rows of softmax_cross_entropy on the CPU. With m the largest logit of a row and S = sum exp(x - m), the loss of the row is
//   log S + (1 - s) (m - x_t) + s / classes * sum (m - x),
// in which nothing can overflow. With shares t of the classes instead of one class (smoothed: t' = (1 - s) t + s / classes)
// it is the sum over the classes of t' (log S + m - x). The rows are added in f64 and in order, so the sum does not depend
// on the number of threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/lanes.h"
#include "core/base/vector_math.h"
#include "ops/cpu_kernel.h"
#include "ops/losses/softmax_cross_entropy.h"

namespace lockstep::cross_entropy {

struct Rows {
  std::int64_t rows, classes, positions;  // positions of a sample
  double scale;                           // of a row
  double label_smoothing;
  bool weighted;
  bool shares;  // the target is a share of each class, not a class number
  int threads;
  std::int64_t grain;  // rows worth a thread
};

inline Rows rows_of(const KernelRequest& request, std::size_t inputs, const SoftmaxCrossEntropyOp& loss) {
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

// m and S.
struct RowSums {
  float largest, sum;
};

inline RowSums sums_of(const float* x, const Rows& shape) {
  const float m = max_lanes(x, shape.classes);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t k = 0; k < shape.classes; ++k) sum += vector_math::exp(x[k] - m);
  return {m, sum};
}

// The same, and all exp(x - m).
inline RowSums exponentials_of(const float* x, const Rows& shape, float* exponentials) {
  const float m = max_lanes(x, shape.classes);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t k = 0; k < shape.classes; ++k) {
    exponentials[k] = vector_math::exp(x[k] - m);
    sum += exponentials[k];
  }
  return {m, sum};
}

// ---- Targets: a class, or a share of each ------------------------------------------------------

struct ClassTarget {
  std::int32_t label;

  bool is_known(const Rows& shape) const { return label >= 0 && label < shape.classes; }

  float loss(const float* x, const RowSums& row, const Rows& shape) const {
    if (!is_known(shape)) return std::numeric_limits<float>::quiet_NaN();
    const float log_sum = std::log(row.sum), m = row.largest;
    if (shape.label_smoothing == 0) return log_sum + (m - x[label]);
    float distance = 0;
#pragma omp simd reduction(+ : distance)
    for (std::int64_t k = 0; k < shape.classes; ++k) distance += m - x[k];
    const double smoothing = shape.label_smoothing;
    return static_cast<float>(log_sum + (1.0 - smoothing) * (m - x[label]) +
                              smoothing / static_cast<double>(shape.classes) * distance);
  }

  // Of exponentials, which become the gradient times `factor`.
  void gradient(const RowSums& row, float factor, const Rows& shape, float* dx) const {
    if (!is_known(shape)) {
      std::fill(dx, dx + shape.classes, std::numeric_limits<float>::quiet_NaN());
      return;
    }
    const float inverse = factor / row.sum;
    const double smoothing = shape.label_smoothing;
    const auto floor = static_cast<float>(factor * smoothing / static_cast<double>(shape.classes));
    const float of_label = dx[label];
#pragma omp simd
    for (std::int64_t k = 0; k < shape.classes; ++k) dx[k] = dx[k] * inverse - floor;
    // p - 1 in one rounding: factor * (e / S - 1) loses digits where p is near 1.
    dx[label] = static_cast<float>((static_cast<double>(of_label) / row.sum - (1.0 - smoothing)) * factor - floor);
  }
};

struct ShareTarget {
  const float* shares;

  // After smoothing.
  static double smoothed(float share, const Rows& shape) {
    return share * (1.0 - shape.label_smoothing) + shape.label_smoothing / static_cast<double>(shape.classes);
  }

  float loss(const float* x, const RowSums& row, const Rows& shape) const {
    const double log_sum = std::log(row.sum);
    double loss = 0;
    for (std::int64_t k = 0; k < shape.classes; ++k) {
      const double share = smoothed(shares[k], shape);
      // A class without a share may be infinitely far.
      if (share != 0) loss += share * (log_sum + (static_cast<double>(row.largest) - x[k]));
    }
    return static_cast<float>(loss);
  }

  void gradient(const RowSums& row, float factor, const Rows& shape, float* dx) const {
    double all = 0;
    for (std::int64_t k = 0; k < shape.classes; ++k) all += smoothed(shares[k], shape);
    const double of_one = all / row.sum;
    for (std::int64_t k = 0; k < shape.classes; ++k) {
      dx[k] = static_cast<float>((dx[k] * of_one - smoothed(shares[k], shape)) * factor);
    }
  }
};

// Calls body(row, target) for the rows, on the threads.
template <typename Body>
void for_rows(const Launch& launch, const Rows& shape, const Body& body) {
  parallel_for(shape.threads, shape.rows, shape.grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      if (shape.shares) {
        body(row, ShareTarget{launch.input<float>(1) + row * shape.classes});
      } else {
        body(row, ClassTarget{launch.input<std::int32_t>(1)[row]});
      }
    }
  });
}

inline double weight_of(const Launch& launch, const Rows& shape, std::int64_t row) {
  return shape.weighted ? double{launch.input<float>(2)[row / shape.positions]} : 1.0;
}

// Of all rows, in order.
inline float loss_of(const Launch& launch, const Rows& shape, const float* losses) {
  double total = 0;
  for (std::int64_t row = 0; row < shape.rows; ++row) total += weight_of(launch, shape, row) * losses[row];
  return static_cast<float>(total * shape.scale);
}

}  // namespace lockstep::cross_entropy
