// What the CUDA kernels of the convolution do before and after the convolution itself.
#include "core/kernel/cuda_transpose.h"
#include "ops/activation/activation_cuda.h"
#include "ops/conv2d/conv2d_cuda.h"
#include "ops/reduce/column_sum_cuda.h"

namespace lockstep {

namespace {

// Calls body(T{}) with the type of x and y.
template <typename Body>
auto with_type(DType dtype, const Body& body) {
  return dtype == DType::kF32 ? body(float{}) : body(BFloat16{});
}

// f(y + b), or f(y).
template <typename Function>
struct EndOf {
  Function function;
  __device__ float operator()(float y) const { return function(y); }
  __device__ float operator()(float y, float b) const { return function(__fadd_rn(y, b)); }
};

template <typename T, typename Function>
void launch_end(const Launch& on, const ConvolutionSizes& sizes, const ConvolutionEnd& end, Function function,
                const void* bias, T* y) {
  const std::int64_t count = sizes.output_elements();
  const EndOf<Function> f{function};
  if (!end.bias) return launch_elementwise(on, count, y, f, Full<T>{y});
  if (end.low_bias) {
    return launch_elementwise(on, count, y, f, Full<T>{y},
                              repeated(static_cast<const BFloat16*>(bias), 1, sizes.out, count));
  }
  launch_elementwise(on, count, y, f, Full<T>{y}, repeated(static_cast<const float*>(bias), 1, sizes.out, count));
}

std::int64_t taps(const ConvolutionSizes& sizes) { return sizes.kernel[0] * sizes.kernel[1] * sizes.in_group(); }

template <typename T>
ColumnSum bias_gradient_sum(const ConvolutionSizes& sizes) {
  return {1, sizes.output_elements() / sizes.out, sizes.out, MatrixValues<T>::kWidest};
}

}  // namespace

void launch_convolution_end(const Launch& on, const ConvolutionSizes& sizes, const ConvolutionEnd& end,
                            const void* bias, void* y) {
  with_type(sizes.dtype, [&]<typename T>(T) {
    const auto go = [&](auto function) { launch_end(on, sizes, end, function, bias, static_cast<T*>(y)); };
    if (end.activation) {
      cuda_activation::with_function(*end.activation, go);
    } else {
      go(cuda_activation::Identity{});
    }
  });
}

void launch_transposed_weight(const Launch& on, const ConvolutionSizes& sizes, const void* weight, void* to) {
  with_type(sizes.dtype, [&]<typename T>(T) {
    launch_transpose(on, static_cast<const T*>(weight), static_cast<T*>(to), taps(sizes), sizes.out);
  });
}

void launch_weight_gradient(const Launch& on, const ConvolutionSizes& sizes, DType from, const void* gradient,
                            bool to_transposed, void* to) {
  with_type(from, [&]<typename T>(T) {
    const auto* typed = static_cast<const T*>(gradient);
    if (!to_transposed) return launch_transpose(on, typed, static_cast<float*>(to), sizes.out, taps(sizes));
    launch_elementwise(on, sizes.weight_elements(), static_cast<float*>(to), cuda_activation::Identity{},
                       Full<T>{typed});
  });
}

void launch_low_bias(const Launch& on, const ConvolutionSizes& sizes, const void* bias, void* to) {
  launch_elementwise(on, sizes.out, static_cast<BFloat16*>(to), cuda_activation::Identity{},
                     Full<float>{static_cast<const float*>(bias)});
}

std::size_t bias_gradient_workspace(const ConvolutionSizes& sizes) {
  return with_type(sizes.dtype, [&]<typename T>(T) { return bias_gradient_sum<T>(sizes).workspace_bytes(1); });
}

void launch_bias_gradient(const Launch& on, const ConvolutionSizes& sizes, const void* dy, void* to, void* workspace) {
  with_type(sizes.dtype, [&]<typename T>(T) {
    launch_column_sum<1>(on, bias_gradient_sum<T>(sizes), workspace,
                         MatrixValues<T>{static_cast<const T*>(dy), sizes.out}, StoreSum<float>{static_cast<float*>(to)});
  });
}

Kernel convolution_of_nothing(const KernelRequest& request) {
  std::vector<std::size_t> bytes;
  for (const TensorType& type : request.outputs) bytes.push_back(type.bytes());
  return {text(request.op.name(), "_cuda (no images)"), [=](const Launch& on) {
            for (std::size_t i = 0; i < bytes.size(); ++i) {
              if (bytes[i] == 0) continue;
              check_cuda(cudaMemsetAsync(on.outputs[i], 0, bytes[i], static_cast<cudaStream_t>(on.stream)),
                         "cudaMemsetAsync");
            }
          }};
}

}  // namespace lockstep
