#include "ops/reduce/column_sum_cpu.h"

#include <algorithm>

#include "ops/cpu_kernel.h"

namespace lockstep {
namespace {

constexpr std::int64_t kWide = 256;    // floats that a row should have
constexpr std::int64_t kBlock = 1024;  // floats of the accumulator that are worked on at once
constexpr std::int64_t kGroup = 8;     // rows that are added at once

// sum[j] += the rows [0, rows) of x, whose rows are `stride` apart.
template <typename T>
void add_rows(const T* x, std::int64_t rows, std::int64_t stride, std::int64_t width, float* sum) {
  std::int64_t row = 0;
  for (; row + kGroup <= rows; row += kGroup) {
    const T* r0 = x + row * stride;
    const T *r1 = r0 + stride, *r2 = r1 + stride, *r3 = r2 + stride;
    const T *r4 = r3 + stride, *r5 = r4 + stride, *r6 = r5 + stride, *r7 = r6 + stride;
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) {
      const float low = (float(r0[j]) + float(r1[j])) + (float(r2[j]) + float(r3[j]));
      const float high = (float(r4[j]) + float(r5[j])) + (float(r6[j]) + float(r7[j]));
      sum[j] += low + high;
    }
  }
  for (; row < rows; ++row) {
    const T* r = x + row * stride;
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) sum[j] += float(r[j]);
  }
}

}  // namespace

ColumnSum::ColumnSum(std::int64_t rows, std::int64_t columns, int threads)
    : rows_(rows), columns_(columns) {
  const std::int64_t fit = columns > 0 ? kWide / columns : 1;
  side_by_side_ = std::clamp<std::int64_t>(fit, 1, std::max<std::int64_t>(1, rows));
  const std::int64_t worth = std::max<std::int64_t>(1, rows * columns / kElementGrain);
  pieces_ = static_cast<int>(std::min<std::int64_t>(threads, worth));
}

std::size_t ColumnSum::workspace_bytes() const {
  return static_cast<std::size_t>(columns_ * side_by_side_ * pieces_) * sizeof(float);
}

template <typename T>
void ColumnSum::run(const T* x, float* y, float* workspace, float scale) const {
  const std::int64_t width = columns_ * side_by_side_;
  const std::int64_t wide_rows = rows_ / side_by_side_;
  parallel_for(pieces_, pieces_, 1, [=, this](std::int64_t first, std::int64_t last) {
    for (std::int64_t piece = first; piece < last; ++piece) {
      const std::int64_t begin = wide_rows * piece / pieces_;
      const std::int64_t end = wide_rows * (piece + 1) / pieces_;
      float* sum = workspace + piece * width;
      std::fill(sum, sum + width, 0.0f);
      for (std::int64_t j = 0; j < width; j += kBlock) {
        add_rows(x + begin * width + j, end - begin, width, std::min(kBlock, width - j), sum + j);
      }
    }
  });
  // The rows that did not fill a wide one, the other threads' accumulators, and the parts of the
  // wide row.
  add_rows(x + wide_rows * width, rows_ - wide_rows * side_by_side_, columns_, columns_, workspace);
  if (pieces_ > 1) add_rows(workspace + width, pieces_ - 1, width, width, workspace);
  std::fill(y, y + columns_, 0.0f);
  add_rows(workspace, side_by_side_, columns_, columns_, y);
  if (scale == 1.0f) return;
#pragma omp simd
  for (std::int64_t j = 0; j < columns_; ++j) y[j] *= scale;
}

template void ColumnSum::run(const float*, float*, float*, float) const;
template void ColumnSum::run(const BFloat16*, float*, float*, float) const;

}  // namespace lockstep
