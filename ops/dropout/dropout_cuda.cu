// CUDA kernel of dropout: one pass over x; the mask is an operand that is drawn while x is on its way. It is that of
// RandomStream, bit for bit.
#include <cmath>

#include "core/base/random.h"
#include "core/kernel/cuda_elementwise.h"
#include "ops/dropout/dropout.h"

namespace lockstep {
namespace {

// Element i is 1 / (1 - rate) where element i of the batch is kept, else 0.
struct Mask {
  using Element = float;
  static constexpr std::size_t kSize = 1;
  static constexpr bool wide = true;
  static constexpr int kWords = 4;  // of a block of Philox: four neighbours of a sample

  std::uint32_t key[2], tag;
  std::uint32_t threshold;  // kept where the 24 bits of RandomStream::uniform are at least that
  float scale;
  Divisor elements;  // of a sample
  const std::int64_t *step = nullptr, *samples = nullptr;

  Mask(const DropoutOp& op, const Shape& shape)
      // uniform is a multiple of 2^-24, compared with the rate as a double.
      : threshold(static_cast<std::uint32_t>(std::ceil(op.rate() * 0x1p24))),
        scale(static_cast<float>(1.0 / (1.0 - op.rate()))),
        elements(shape.elements(1, shape.rank()), shape.elements()) {
    const RandomStream random(op.seed(), Purpose::kDropout, op.stream());
    key[0] = random.key()[0];
    key[1] = random.key()[1];
    tag = random.tag();
  }
  Mask of(const Launch& on) const {
    Mask out = *this;
    out.step = on.input<std::int64_t>(1);
    out.samples = on.input<std::int64_t>(2);
    return out;
  }

  template <int N>
  void prepare() {}
  template <bool kFast, int N>
  __device__ void load(std::int64_t i, int n, float (&to)[N]) const {
    static_assert(N % kWords == 0);
    const auto now = static_cast<std::uint32_t>(*step);
#pragma unroll
    for (int first = 0; first < N; first += kWords) {
      if (elements.divisor % kWords == 0 && (kFast || first < n)) {
        draw_four(now, i + first, to + first);
      } else {  // neighbours are not of one block
        draw_each(now, i + first, n - first, to + first);
      }
    }
  }

 private:
  // What RandomStream::block() gives.
  __device__ void draw(std::uint32_t now, std::uint32_t sample, std::uint32_t block, std::uint32_t (&to)[kWords]) const {
    std::uint32_t c0 = block, c1 = sample, c2 = now, c3 = tag, k0 = key[0], k1 = key[1];
#pragma unroll
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t a = std::uint64_t{0xD2511F53u} * c0, b = std::uint64_t{0xCD9E8D57u} * c2;
      c0 = static_cast<std::uint32_t>(b >> 32) ^ c1 ^ k0;
      c1 = static_cast<std::uint32_t>(b);
      c2 = static_cast<std::uint32_t>(a >> 32) ^ c3 ^ k1;
      c3 = static_cast<std::uint32_t>(a);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    to[0] = c0, to[1] = c1, to[2] = c2, to[3] = c3;
  }
  __device__ float weight(std::uint32_t word) const { return (word >> 8) >= threshold ? scale : 0.0f; }
  __device__ void draw_four(std::uint32_t now, std::int64_t i, float* to) const {
    const std::int64_t row = elements.quotient(i), at = i - row * elements.divisor;
    std::uint32_t words[kWords];
    draw(now, static_cast<std::uint32_t>(samples[row]), static_cast<std::uint32_t>(at / kWords), words);
#pragma unroll
    for (int k = 0; k < kWords; ++k) to[k] = weight(words[k]);
  }
  __device__ void draw_each(std::uint32_t now, std::int64_t i, int n, float* to) const {
#pragma unroll
    for (int k = 0; k < kWords; ++k) {
      to[k] = 0.0f;
      if (k >= n) continue;
      const std::int64_t row = elements.quotient(i + k), at = i + k - row * elements.divisor;
      std::uint32_t words[kWords];
      draw(now, static_cast<std::uint32_t>(samples[row]), static_cast<std::uint32_t>(at / kWords), words);
      const auto place = at % kWords;  // not an index, which would put the words into memory
      to[k] = weight(place == 0 ? words[0] : place == 1 ? words[1] : place == 2 ? words[2] : words[3]);
    }
  }
};

struct Keep {
  __device__ float operator()(float x, float weight) const { return weight == 0.0f ? 0.0f : x * weight; }
};

Kernel dropout_cuda(const KernelRequest& request) {
  const Mask mask(request.op_as<DropoutOp>(), request.inputs[0].shape);
  const std::int64_t count = request.outputs[0].elements();
  return for_cuda_floating(request, request.inputs[0].dtype, [&]<typename T>(T) -> Kernel {
    return {"dropout_cuda", [=](const Launch& on) {
              launch_elementwise(on, count, on.output<T>(0), Keep{}, Full<T>{on.input<T>(0)}, mask.of(on));
            }};
  });
}

}  // namespace

void register_dropout_cuda(KernelRegistry& registry) {
  registry.add("dropout", DeviceKind::kCuda, {dropout_cuda, nullptr});
}

}  // namespace lockstep
