// The CUDA kernels of the convolution, and the steps that they are made of. Weights may be transposed (conv2d_sizes.h).
#pragma once

#include "ops/conv2d/conv2d_sizes.h"

namespace lockstep {

// Kernels that are all ours, of any sizes. They compute where cuDNN has nothing, and on the emulated GPU.
Kernel conv2d_direct_cuda(const KernelRequest& request);
Kernel conv2d_backward_data_direct_cuda(const KernelRequest& request);
Kernel conv2d_backward_weights_direct_cuda(const KernelRequest& request);
void register_conv2d_direct_cuda(KernelRegistry& registry);

// ---- Steps around cuDNN's kernels ----------------------------------------------------------------

// y = f(y + bias) in place.
void launch_convolution_end(const Launch& on, const ConvolutionSizes& sizes, const ConvolutionEnd& end,
                            const void* bias, void* y);
// The weight transposed, in its type.
void launch_transposed_weight(const Launch& on, const ConvolutionSizes& sizes, const void* weight, void* to);
// The f32 gradient of the weight from a transposed one of type `from`; transposed again where `to_transposed`.
void launch_weight_gradient(const Launch& on, const ConvolutionSizes& sizes, DType from, const void* gradient,
                            bool to_transposed, void* to);
// bf16 from f32.
void launch_low_bias(const Launch& on, const ConvolutionSizes& sizes, const void* bias, void* to);
// The sums of dy over all but the channels, and the memory that they need.
std::size_t bias_gradient_workspace(const ConvolutionSizes& sizes);
void launch_bias_gradient(const Launch& on, const ConvolutionSizes& sizes, const void* dy, void* to, void* workspace);
// Zeros in all outputs: what is left to do without images.
Kernel convolution_of_nothing(const KernelRequest& request);

}  // namespace lockstep
