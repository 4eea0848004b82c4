// CPU kernel of dropout: random words in bulk, one pass over x.
#include <array>
#include <cmath>

#include "core/base/random_words.h"
#include "ops/cpu_kernel.h"
#include "ops/dropout/dropout.h"

namespace lockstep {
namespace {

struct Mask {
  RandomStream random;
  std::uint32_t threshold;  // kept where the 24 bits of RandomStream::uniform are at least that
  float scale;              // 1 / (1 - rate)

  explicit Mask(const DropoutOp& op)
      : random(op.seed(), Purpose::kDropout, op.stream()),
        // uniform is a multiple of 2^-24, compared with the rate as a double.
        threshold(static_cast<std::uint32_t>(std::ceil(op.rate() * 0x1p24))),
        scale(static_cast<float>(1.0 / (1.0 - op.rate()))) {}

  // Elements [begin, end) of one sample; x and y point to the sample. REQUIRES: begin is a multiple
  // of kRandomWords.
  template <typename T>
  void apply(const T* x, T* y, std::uint32_t step, std::uint32_t sample, std::int64_t begin,
             std::int64_t end) const {
    std::array<std::uint32_t, kRandomWords> words;
    for (std::int64_t at = begin; at < end; at += kRandomWords) {
      random_words(random, step, sample, static_cast<std::uint32_t>(at / 4), words.data());
      const std::int64_t count = std::min<std::int64_t>(kRandomWords, end - at);
      const T* from = x + at;
      T* to = y + at;
#pragma omp simd
      for (std::int64_t i = 0; i < count; ++i) {
        to[i] = (words[i] >> 8) >= threshold ? float(from[i]) * scale : 0.0f;
      }
    }
  }
};

// The unit of work of a thread is a piece of a sample.
Kernel dropout_cpu(const KernelRequest& request) {
  const Shape& shape = request.inputs[0].shape;
  const std::int64_t elements = shape.elements(1, shape.rank());
  constexpr std::int64_t kPiece = 1 << 12;
  const std::int64_t pieces = (elements + kPiece - 1) / kPiece;  // of a sample
  const std::int64_t grain =
      std::max<std::int64_t>(1, kPiece / std::max<std::int64_t>(1, elements));
  const Mask mask(request.op_as<DropoutOp>());
  const int threads = cpu_threads(request);
  const std::int64_t work = shape[0] * pieces;
  return for_floating(request, request.inputs[0].dtype, [&](auto element) -> Kernel {
    using T = decltype(element);
    return {"dropout_cpu", [=](const Launch& launch) {
              const T* x = launch.input<T>(0);
              T* y = launch.output<T>(0);
              const auto step = static_cast<std::uint32_t>(*launch.input<std::int64_t>(1));
              const auto* samples = launch.input<std::int64_t>(2);
              parallel_for(threads, work, grain, [=](std::int64_t first, std::int64_t last) {
                for (std::int64_t i = first; i < last; ++i) {
                  const std::int64_t row = i / pieces, begin = i % pieces * kPiece;
                  mask.apply(x + row * elements, y + row * elements, step,
                             static_cast<std::uint32_t>(samples[row]), begin,
                             std::min(begin + kPiece, elements));
                }
              });
            }};
  });
}

}  // namespace

void register_dropout_cpu(KernelRegistry& registry) {
  registry.add("dropout", DeviceKind::kCpu, {dropout_cpu, nullptr});
}

}  // namespace lockstep
