// Sums of the rows of a row-major matrix into one f32 vector, y[j] = sum over i of x[i, j], in an
// order that depends on the extents and the number of threads only. For gradients of biases and of
// broadcast inputs.
//
// Algorithm: narrow matrices are read as if several rows stood side by side, so that a row is at
// least a few vectors wide; rows are added in groups of eight (a tree) onto an accumulator that
// stays in L1, one for each thread; last, the accumulators and the parts of a wide row are added
// up. One pass over x.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lockstep {

class ColumnSum {
 public:
  ColumnSum(std::int64_t rows, std::int64_t columns, int threads);

  // Memory that run() needs as workspace.
  std::size_t workspace_bytes() const;
  // y[j] = scale * sum; x of T = float or BFloat16. REQUIRES: y does not overlap x or the
  // workspace.
  template <typename T>
  void run(const T* x, float* y, float* workspace, float scale = 1.0f) const;

 private:
  std::int64_t rows_, columns_;
  std::int64_t side_by_side_;  // rows read as one
  int pieces_;                 // threads that work
};

}  // namespace lockstep
