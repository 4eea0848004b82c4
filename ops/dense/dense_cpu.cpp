// CPU kernels of the matrix products, in one of three ways. Times are of one core with AVX-512,
// f32, oneDNN 2.6.
//
// Small products take loops of our own: a call of oneDNN costs 0.3 us and more, 13 rows of 10 -> 1
// take 0.05 us.
//
// Others take oneDNN's matmul or inner product on row-major operands. The inner product is faster
// for wide outputs (784 -> 512, 16 rows: 115 us against 150), matmul for narrow ones (512 -> 10,
// 128 rows: 18 us against 27). Packed weights are no faster than the better of the two and would
// have to be packed in each step, so no layouts are asked for.
//
// dx of few rows is computed as its transpose, w · dyᵀ, which reads w in its own order: 784 <- 512,
// 16 rows: 122 us against 148.
#include <algorithm>
#include <cstring>

#include "core/kernel/onednn_kernel.h"
#include "ops/activation/activation_math.h"
#include "ops/cpu_kernel.h"
#include "ops/dense/dense.h"
#include "ops/onednn_activation.h"
#include "ops/reduce/column_sum_cpu.h"

namespace lockstep {
namespace {

using onednn::input;
using onednn::output;
using onednn::plain_desc;

// Most multiply-adds of the direct kernels.
constexpr std::int64_t kDirectProducts = 512, kDirectColumnProducts = 4096;
constexpr std::int64_t kDirectOutputs = 64;  // most columns of the direct kernels
// A weight from which on the order in which it is read matters.
constexpr std::int64_t kLargeWeight = 1 << 15;
constexpr std::int64_t kFewRows = 8, kSomeRows = 31;
constexpr std::int64_t kWideOutput = 64;

// A product of matrices: (rows, in) · (in, out).
struct Extents {
  std::int64_t rows, in, out;
  std::int64_t products() const { return rows * in * out; }
  bool direct(DType dtype) const {
    const std::int64_t most = out == 1 ? kDirectColumnProducts : kDirectProducts;
    return dtype == DType::kF32 && products() <= most && out <= kDirectOutputs;
  }
};

std::int64_t rows_of(const TensorType& type) {
  return type.shape.elements(0, type.shape.rank() - 1);
}

// ---- Direct kernels ----------------------------------------------------------------------------

// y[0, n) = b (or 0) + sum over k of x[k] w[k, 0..n).
template <typename Function>
void direct_rows(const Extents& e, const float* x, const float* w, const float* b, float* y,
                 Function function) {
  for (std::int64_t row = 0; row < e.rows; ++row) {
    float sum[kDirectOutputs];
    for (std::int64_t j = 0; j < e.out; ++j) sum[j] = b != nullptr ? b[j] : 0.0f;
    for (std::int64_t k = 0; k < e.in; ++k) {
      for (std::int64_t j = 0; j < e.out; ++j) sum[j] += x[k] * w[k * e.out + j];
    }
    for (std::int64_t j = 0; j < e.out; ++j) y[j] = function(sum[j]);
    x += e.in;
    y += e.out;
  }
}

// The same for one column: a scalar product a row.
template <typename Function>
void direct_column(const Extents& e, const float* x, const float* w, const float* b, float* y,
                   Function function) {
  const float start = b != nullptr ? b[0] : 0.0f;
  for (std::int64_t row = 0; row < e.rows; ++row, x += e.in) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t k = 0; k < e.in; ++k) sum += x[k] * w[k];
    y[row] = function(start + sum);
  }
}

struct Identity {
  float operator()(float x) const { return x; }
};

template <typename Function>
Kernel direct_forward(const Extents& e, bool has_bias, Function function) {
  return {"dense_cpu (direct)", [=](const Launch& launch) {
            const float* b = has_bias ? launch.input<float>(2) : nullptr;
            const auto kernel = e.out == 1 ? direct_column<Function> : direct_rows<Function>;
            kernel(e, launch.input<float>(0), launch.input<float>(1), b, launch.output<float>(0),
                   function);
          }};
}

void direct_backward_data(const Extents& e, const float* dy, const float* w, float* dx) {
  for (std::int64_t row = 0; row < e.rows; ++row) {
    if (e.out == 1) {
      for (std::int64_t k = 0; k < e.in; ++k) dx[k] = dy[0] * w[k];
    } else {
      for (std::int64_t k = 0; k < e.in; ++k) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t j = 0; j < e.out; ++j) sum += dy[j] * w[k * e.out + j];
        dx[k] = sum;
      }
    }
    dy += e.out;
    dx += e.in;
  }
}

void direct_backward_weights(const Extents& e, const float* x, const float* dy, float* dw) {
  std::fill(dw, dw + e.in * e.out, 0.0f);
  for (std::int64_t row = 0; row < e.rows; ++row) {
    if (e.out == 1) {
      for (std::int64_t k = 0; k < e.in; ++k) dw[k] += x[k] * dy[0];
    } else {
      for (std::int64_t k = 0; k < e.in; ++k) {
        for (std::int64_t j = 0; j < e.out; ++j) dw[k * e.out + j] += x[k] * dy[j];
      }
    }
    x += e.in;
    dy += e.out;
  }
}

// ---- oneDNN ------------------------------------------------------------------------------------

dnnl::memory::desc matrix(DType dtype, std::int64_t rows, std::int64_t columns) {
  return plain_desc(dtype, {rows, columns}, {columns, 1});
}

// The matrix that lies in memory as (columns, rows).
dnnl::memory::desc transposed(DType dtype, std::int64_t rows, std::int64_t columns) {
  return plain_desc(dtype, {rows, columns}, {1, rows});
}

dnnl::matmul::primitive_desc matmul_desc(const std::string& name, const dnnl::memory::desc& a,
                                         const dnnl::memory::desc& b, const dnnl::memory::desc& c) {
  return onednn::checked(name, [&] {
    return onednn::make_primitive_desc<dnnl::matmul>(onednn::attributes(), a, b, c);
  });
}

Kernel onednn_forward(const KernelRequest& request, const Extents& e) {
  const auto& op = request.op_as<DenseOp>();
  const DType dtype = request.inputs[0].dtype;
  const bool has_bias = request.inputs.size() == 3;
  dnnl::primitive_attr attributes = onednn::attributes();
  append_activation(attributes, op.activation());
  const auto x = matrix(dtype, e.rows, e.in), y = matrix(dtype, e.rows, e.out);
  auto arguments = [&](const dnnl::memory::desc& w, const dnnl::memory::desc& b) {
    std::vector<onednn::KernelArgument> out{
        input(DNNL_ARG_SRC, x, 0), input(DNNL_ARG_WEIGHTS, w, 1), output(DNNL_ARG_DST, y, 0)};
    if (has_bias) out.push_back(input(DNNL_ARG_BIAS, b, 2));
    return out;
  };
  const DType bias_dtype = has_bias ? request.inputs[2].dtype : DType::kF32;

  if (e.out >= kWideOutput && dtype == DType::kF32) {
    using Product = dnnl::inner_product_forward;
    constexpr auto kKind = dnnl::prop_kind::forward_inference;
    const auto w = transposed(dtype, e.out, e.in);
    const auto b = plain_desc(bias_dtype, {e.out}, {1});
    const auto desc = onednn::checked("dense_cpu", [&] {
      return has_bias ? onednn::make_primitive_desc<Product>(attributes, kKind, x, w, b, y)
                      : onednn::make_primitive_desc<Product>(attributes, kKind, x, w, y);
    });
    return onednn::make_kernel<Product>("dense_cpu", desc, arguments(w, b));
  }
  const auto w = matrix(dtype, e.in, e.out);
  const auto b = matrix(bias_dtype, 1, e.out);
  const auto desc = onednn::checked("dense_cpu", [&] {
    return has_bias ? onednn::make_primitive_desc<dnnl::matmul>(attributes, x, w, b, y)
                    : onednn::make_primitive_desc<dnnl::matmul>(attributes, x, w, y);
  });
  return onednn::make_kernel<dnnl::matmul>("dense_cpu", desc, arguments(w, b));
}

// x (rows, columns) becomes y (columns, rows), in squares that stay in registers and L1.
void transpose(const float* x, float* y, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t kSquare = 8;
  for (std::int64_t i = 0; i < rows; i += kSquare) {
    const std::int64_t height = std::min(kSquare, rows - i);
    for (std::int64_t j = 0; j < columns; j += kSquare) {
      const std::int64_t width = std::min(kSquare, columns - j);
      if (height == kSquare && width == kSquare) {
        for (std::int64_t b = 0; b < kSquare; ++b) {
          for (std::int64_t a = 0; a < kSquare; ++a) {
            y[(j + b) * rows + i + a] = x[(i + a) * columns + j + b];
          }
        }
        continue;
      }
      for (std::int64_t b = 0; b < width; ++b) {
        for (std::int64_t a = 0; a < height; ++a) {
          y[(j + b) * rows + i + a] = x[(i + a) * columns + j + b];
        }
      }
    }
  }
}

Kernel transposed_backward_data(const Extents& e) {
  constexpr DType kType = DType::kF32;
  const auto w = matrix(kType, e.in, e.out);
  const auto dy = transposed(kType, e.out, e.rows);
  const auto dx = matrix(kType, e.in, e.rows);
  onednn::KernelArgument product = output(DNNL_ARG_DST, dx, 0);
  product.place = onednn::KernelArgument::Place::kWorkspace;
  Kernel kernel = onednn::make_kernel<dnnl::matmul>(
      "dense_backward_data_cpu, transposed", matmul_desc("dense_backward_data_cpu", w, dy, dx),
      {input(DNNL_ARG_SRC, w, 1), input(DNNL_ARG_WEIGHTS, dy, 0), product}, dx.get_size());
  kernel.run = [e, multiply = std::move(kernel.run)](const Launch& launch) {
    multiply(launch);
    transpose(static_cast<const float*>(launch.workspace), launch.output<float>(0), e.in, e.rows);
  };
  return kernel;
}

Kernel onednn_backward_data(const Extents& e, DType dtype) {
  const std::string name = "dense_backward_data_cpu";
  const auto dy = matrix(dtype, e.rows, e.out), dx = matrix(dtype, e.rows, e.in);
  const bool large = dtype == DType::kF32 && e.in * e.out >= kLargeWeight;
  if (large && e.rows <= kFewRows) {
    using Product = dnnl::inner_product_forward;
    const auto w = matrix(dtype, e.in, e.out);
    const auto desc = onednn::checked(name, [&] {
      return onednn::make_primitive_desc<Product>(onednn::attributes(),
                                                  dnnl::prop_kind::forward_inference, dy, w, dx);
    });
    return onednn::make_kernel<Product>(
        name, desc,
        {input(DNNL_ARG_SRC, dy, 0), input(DNNL_ARG_WEIGHTS, w, 1), output(DNNL_ARG_DST, dx, 0)});
  }
  if (large && e.rows <= kSomeRows) return transposed_backward_data(e);
  const auto w = transposed(dtype, e.out, e.in);
  return onednn::make_kernel<dnnl::matmul>(
      name, matmul_desc(name, dy, w, dx),
      {input(DNNL_ARG_SRC, dy, 0), input(DNNL_ARG_WEIGHTS, w, 1), output(DNNL_ARG_DST, dx, 0)});
}

// ---- Entries -----------------------------------------------------------------------------------

// Without rows: oneDNN does not like them in bf16.
Kernel nothing(const char* name) {
  return {name, [](const Launch&) {}};
}

Kernel dense_cpu(const KernelRequest& request) {
  const TensorType &x = request.inputs[0], &w = request.inputs[1];
  const Extents e{rows_of(x), w.shape[0], w.shape[1]};
  if (e.rows == 0) return nothing("dense_cpu (no rows)");
  if (!e.direct(x.dtype)) return onednn_forward(request, e);
  const bool has_bias = request.inputs.size() == 3;
  const auto& activation = request.op_as<DenseOp>().activation();
  if (!activation) return direct_forward(e, has_bias, Identity{});
  return activation_math::with_function(
      *activation, [&](auto function) { return direct_forward(e, has_bias, function); });
}

Kernel dense_backward_data_cpu(const KernelRequest& request) {
  const TensorType &dy = request.inputs[0], &w = request.inputs[1];
  const Extents e{rows_of(dy), w.shape[0], w.shape[1]};
  if (e.rows == 0) return nothing("dense_backward_data_cpu (no rows)");
  if (!e.direct(dy.dtype)) return onednn_backward_data(e, dy.dtype);
  return {"dense_backward_data_cpu (direct)", [e](const Launch& launch) {
            direct_backward_data(e, launch.input<float>(0), launch.input<float>(1),
                                 launch.output<float>(0));
          }};
}

Kernel product_backward_weights(const KernelRequest& request) {
  const TensorType &x = request.inputs[0], &dy = request.inputs[1];
  const Extents e{rows_of(x), x.shape[-1], dy.shape[-1]};
  if (e.rows == 0) {
    return {"dense_backward_weights_cpu (no rows)", [bytes = request.outputs[0].bytes()](const Launch& launch) {
              std::memset(launch.output<std::byte>(0), 0, bytes);
            }};
  }
  if (e.direct(x.dtype)) {
    return {"dense_backward_weights_cpu (direct)", [e](const Launch& launch) {
              direct_backward_weights(e, launch.input<float>(0), launch.input<float>(1),
                                      launch.output<float>(0));
            }};
  }
  const auto left = transposed(x.dtype, e.in, e.rows), right = matrix(x.dtype, e.rows, e.out);
  const auto dw = matrix(DType::kF32, e.in, e.out);
  return onednn::make_kernel<dnnl::matmul>(
      "dense_backward_weights_cpu", matmul_desc("dense_backward_weights_cpu", left, right, dw),
      {input(DNNL_ARG_SRC, left, 0), input(DNNL_ARG_WEIGHTS, right, 1),
       output(DNNL_ARG_DST, dw, 0)});
}

// The gradient of the bias comes after that of the weights.
Kernel dense_backward_weights_cpu(const KernelRequest& request) {
  Kernel kernel = product_backward_weights(request);
  if (!request.op_as<DenseBackwardWeightsOp>().bias()) return kernel;
  const TensorType& dy = request.inputs[1];
  const ColumnSum sum(rows_of(dy), dy.shape[-1], cpu_threads(request));
  kernel.name += ", bias";
  kernel.workspace_bytes = std::max(kernel.workspace_bytes, sum.workspace_bytes());
  return for_floating(request, dy.dtype, [&](auto element) -> Kernel {
    using T = decltype(element);
    kernel.run = [sum, product = std::move(kernel.run)](const Launch& launch) {
      product(launch);
      sum.run(launch.input<T>(1), launch.output<float>(1), static_cast<float*>(launch.workspace));
    };
    return kernel;
  });
}

}  // namespace

void register_dense_cpu(KernelRegistry& registry) {
  registry.add("dense", DeviceKind::kCpu, {dense_cpu, nullptr});
  registry.add("dense_backward_data", DeviceKind::kCpu, {dense_backward_data_cpu, nullptr});
  registry.add("dense_backward_weights", DeviceKind::kCpu, {dense_backward_weights_cpu, nullptr});
}

}  // namespace lockstep
