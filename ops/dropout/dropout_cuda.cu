// CUDA kernel of dropout: one pass over x; the mask is an operand that is drawn while x is on its way. It is that of
// RandomStream, bit for bit. In bf16 Philox takes about as long as the memory: each of its instructions counts.
#include <cmath>

#include "core/base/random.h"
#include "core/kernel/cuda_elementwise.h"
#include "ops/dropout/dropout.h"

namespace lockstep {
namespace {

constexpr int kWords = 4;  // of a block of Philox: four neighbours of a sample

// The random word of an element.
struct Drawn {
  std::uint32_t word;
};
__device__ inline Drawn to_float(Drawn drawn) { return drawn; }  // what an operand's elements go through

// Element i is the word of element i of the batch.
struct Words {
  using Element = Drawn;
  static constexpr std::size_t kSize = 1;
  static constexpr bool wide = true;
  static constexpr int kRounds = 10;

  std::uint32_t key[kRounds][2];  // of each round: instructions take them from the parameters
  std::uint32_t tag;
  Divisor elements;  // of a sample
  const std::int64_t *step = nullptr, *samples = nullptr;

  Words(const DropoutOp& op, const Shape& shape) : elements(shape.elements(1, shape.rank()), shape.elements()) {
    const RandomStream random(op.seed(), Purpose::kDropout, op.stream());
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      key[round][0] = random.key()[0] + round * 0x9E3779B9u;
      key[round][1] = random.key()[1] + round * 0xBB67AE85u;
    }
    tag = random.tag();
  }
  Words of(const Launch& on) const {
    Words out = *this;
    out.step = on.input<std::int64_t>(1);
    out.samples = on.input<std::int64_t>(2);
    return out;
  }

  template <int N>
  void prepare() {}
  template <bool kFast, int N>
  __device__ void load(std::int64_t i, int n, Drawn (&to)[N]) const {
    static_assert(N % kWords == 0);
    const auto now = static_cast<std::uint32_t>(*step);
    std::int64_t row = elements.quotient(i), at = i - row * elements.divisor;
    if (elements.divisor % kWords != 0) return draw_each<kFast>(now, row, at, n, to);
#pragma unroll
    for (int first = 0; first < N; first += kWords) {
      if (!kFast && first >= n) return;
      std::uint32_t words[kWords];
      draw(now, row, at, words);
#pragma unroll
      for (int k = 0; k < kWords; ++k) to[first + k].word = words[k];
      at += kWords;
      if (at == elements.divisor) at = 0, ++row;
    }
  }

 private:
  // What RandomStream::block() gives for the block that element `at` of a sample is in.
  __device__ void draw(std::uint32_t now, std::int64_t row, std::int64_t at, std::uint32_t (&to)[kWords]) const {
    std::uint32_t c0 = static_cast<std::uint32_t>(at / kWords), c1 = static_cast<std::uint32_t>(samples[row]), c2 = now,
                  c3 = tag;
#pragma unroll
    for (int round = 0; round < kRounds; ++round) {
      const std::uint64_t a = std::uint64_t{0xD2511F53u} * c0, b = std::uint64_t{0xCD9E8D57u} * c2;
      c0 = static_cast<std::uint32_t>(b >> 32) ^ c1 ^ key[round][0];
      c1 = static_cast<std::uint32_t>(b);
      c2 = static_cast<std::uint32_t>(a >> 32) ^ c3 ^ key[round][1];
      c3 = static_cast<std::uint32_t>(a);
    }
    to[0] = c0, to[1] = c1, to[2] = c2, to[3] = c3;
  }
  // Where neighbours are not of one block.
  template <bool kFast, int N>
  __device__ void draw_each(std::uint32_t now, std::int64_t row, std::int64_t at, int n, Drawn (&to)[N]) const {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      if (!kFast && k >= n) return;
      std::uint32_t words[kWords];
      draw(now, row, at, words);
      const auto place = at % kWords;  // not an index, which would put the words into memory
      to[k].word = place == 0 ? words[0] : place == 1 ? words[1] : place == 2 ? words[2] : words[3];
      if (++at == elements.divisor) at = 0, ++row;
    }
  }
};

// x / (1 - rate) where the 24 bits of RandomStream::uniform are at least `threshold`, else 0.
struct Keep {
  std::uint32_t threshold;  // of whole words
  bool none;                // of the words reaches it
  float scale;

  explicit Keep(double rate) : scale(static_cast<float>(1.0 / (1.0 - rate))) {
    // uniform is a multiple of 2^-24, compared with the rate as a double.
    const auto of_24_bits = static_cast<std::uint64_t>(std::ceil(rate * 0x1p24));
    none = of_24_bits >> 24 != 0;
    threshold = static_cast<std::uint32_t>(of_24_bits << 8);
  }
  __device__ float operator()(float x, Drawn drawn) const {
    return drawn.word >= threshold && !none ? x * scale : 0.0f;
  }
};

Kernel dropout_cuda(const KernelRequest& request) {
  const auto& op = request.op_as<DropoutOp>();
  const Words words(op, request.inputs[0].shape);
  const Keep keep(op.rate());
  const std::int64_t count = request.outputs[0].elements();
  return for_cuda_floating(request, request.inputs[0].dtype, [&]<typename T>(T) -> Kernel {
    return {"dropout_cuda", [=](const Launch& on) {
              launch_elementwise(on, count, on.output<T>(0), keep, Full<T>{on.input<T>(0)}, words.of(on));
            }};
  });
}

}  // namespace

void register_dropout_cuda(KernelRegistry& registry) {
  registry.add("dropout", DeviceKind::kCuda, {dropout_cuda, nullptr});
}

}  // namespace lockstep
