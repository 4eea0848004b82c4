// What a loader writes: the right samples, converted, in parts that add up, whatever was asked
// before.
#include "datasets/loader.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/core/count_allocations.h"
#include "tests/datasets/shards.h"

namespace lockstep {
namespace {

constexpr std::int64_t kSamples = 23;

// x (2, 3) u8: sample i holds 6 i .. 6 i + 5; z f32 (2); y i64: i modulo 4; w f64: i / 2.
std::shared_ptr<const Dataset> numbered() {
  std::vector<std::uint8_t> x(kSamples * 6);
  std::iota(x.begin(), x.end(), std::uint8_t{0});
  std::vector<float> z(kSamples * 2);
  std::iota(z.begin(), z.end(), 0.5f);
  std::vector<std::int64_t> y;
  std::vector<double> w;
  for (int i = 0; i < kSamples; ++i) {
    y.push_back(i % 4);
    w.push_back(i / 2.0);
  }
  return Dataset::from_memory("m",
                              {array_of("x", {kSamples, 2, 3}, x), array_of("z", {kSamples, 2}, z),
                               array_of("y", {kSamples}, y), array_of("w", {kSamples}, w)});
}

LoaderOptions options_of(std::size_t convert_limit = std::size_t{1} << 30) {
  LoaderOptions options;
  LoaderInput x;
  x.array = "x";
  x.normalization = {{1.0, 2.0, 3.0}, {0.5, 0.25, 1.0}};
  LoaderInput z;
  z.array = "z";
  options.inputs = {x, z};
  options.target = "y";
  options.target_dtype = DType::kI32;
  options.classes = 4;
  options.weights = "w";
  options.seed = 11;
  options.global_batch = 5;
  options.convert_limit = convert_limit;
  return options;
}

// One filled part of a batch.
struct Part {
  std::vector<float> x, z, weights;
  std::vector<std::int32_t> target;
  std::vector<std::int64_t> samples;

  bool operator==(const Part&) const = default;
  void append(const Part& other) {
    const auto add = [](auto& to, const auto& from) {
      to.insert(to.end(), from.begin(), from.end());
    };
    add(x, other.x);
    add(z, other.z);
    add(weights, other.weights);
    add(target, other.target);
    add(samples, other.samples);
  }
};

Part fill(Loader& loader, std::int64_t epoch, std::int64_t batch, Range range) {
  const auto count = static_cast<std::size_t>(range.size());
  Part part{std::vector<float>(count * 6), std::vector<float>(count * 2), std::vector<float>(count),
            std::vector<std::int32_t>(count), std::vector<std::int64_t>(count)};
  Loader::Scratch scratch;
  loader.fill(epoch, batch, range,
              {{part.x.data(), part.z.data()},
               part.target.data(),
               part.weights.data(),
               part.samples.data()},
              scratch);
  return part;
}

Part fill_all(Loader& loader, std::int64_t epoch, std::int64_t batch) {
  return fill(loader, epoch, batch, {0, loader.batch_size(batch)});
}

TEST(Loader, ConvertsNormalisesAndNumbers) {
  for (const std::size_t limit : {std::size_t{1} << 30, std::size_t{0}}) {
    Loader loader(whole(numbered()), options_of(limit));
    EXPECT_EQ(loader.batches(), 5);
    EXPECT_EQ(loader.batch_size(4), 3);
    EXPECT_EQ(loader.input_shape(0), (Shape{2, 3}));
    EXPECT_EQ(loader.target_shape(), Shape{});
    const Part part = fill_all(loader, 2, 1);
    for (std::size_t i = 0; i < 5; ++i) {
      const std::int64_t id = part.samples[i];
      for (std::size_t e = 0; e < 6; ++e) {
        const double scale[] = {0.5, 0.25, 1.0};
        const double stored = static_cast<double>(6 * id) + static_cast<double>(e);
        const double expected = (stored - (static_cast<double>(e % 3) + 1.0)) * scale[e % 3];
        EXPECT_EQ(part.x[i * 6 + e], static_cast<float>(expected));
      }
      EXPECT_EQ(part.z[i * 2], static_cast<float>(2 * id) + 0.5f);
      EXPECT_EQ(part.target[i], id % 4);
      EXPECT_EQ(part.weights[i], static_cast<float>(id) / 2.0f);
    }
  }
}

TEST(Loader, EverySampleOnceInAnEpochInTheOrderOfTheSampler) {
  Subset subset = whole(numbered());
  subset.ids = {2, 3, 5, 7, 11, 13, 17, 19};
  LoaderOptions options = options_of();
  options.global_batch = 3;
  Loader loader(subset, options);
  std::vector<std::int64_t> order(8);
  fill_epoch_order(SampleOrder::kShuffled, 11, 6, order);
  std::vector<std::int64_t> expected, seen;
  for (const std::int64_t position : order) {
    expected.push_back(subset.ids[static_cast<std::size_t>(position)]);
  }
  for (std::int64_t k = 0; k < loader.batches(); ++k) {
    const auto ids = loader.sample_ids(6, k);
    seen.insert(seen.end(), ids.begin(), ids.end());
  }
  EXPECT_EQ(seen, expected);
  std::ranges::sort(seen);
  EXPECT_EQ(seen, subset.ids);
}

TEST(Loader, PartsOfWorkersAreTogetherTheBatch) {
  Loader alone(whole(numbered()), options_of());
  for (const std::int64_t world : {2, 3, 8}) {
    for (const std::int64_t batch : {0, 4}) {
      const std::int64_t size = alone.batch_size(batch);
      Part together;
      for (std::int64_t rank = 0; rank < world; ++rank) {
        Loader worker(whole(numbered()), options_of(rank % 2 == 0 ? 0 : 1 << 20));
        together.append(fill(worker, 1, batch, {size * rank / world, size * (rank + 1) / world}));
      }
      EXPECT_EQ(together, fill_all(alone, 1, batch)) << world << " workers, batch " << batch;
    }
  }
}

TEST(Loader, AFillDoesNotDependOnFillsBefore) {
  Loader first(whole(numbered()), options_of());
  const Part expected = fill_all(first, 3, 2);
  fill_all(first, 0, 0);
  EXPECT_EQ(fill_all(first, 3, 2), expected);
  EXPECT_NE(fill_all(first, 2, 2).samples, expected.samples);
}

TEST(Loader, AFillAllocatesNothing) {
  for (const std::size_t limit : {std::size_t{1} << 30, std::size_t{0}}) {
    Loader loader(whole(numbered()), options_of(limit));
    Part part = fill_all(loader, 0, 0);
    const BatchBuffers buffers{{part.x.data(), part.z.data()},
                               part.target.data(),
                               part.weights.data(),
                               part.samples.data()};
    Loader::Scratch scratch;
    loader.fill(0, 0, {0, loader.batch_size(0)}, buffers, scratch);
    const std::int64_t before = allocations_so_far();
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
      for (std::int64_t batch = 0; batch < loader.batches(); ++batch) {
        loader.fill(epoch, batch, {0, loader.batch_size(batch)}, buffers, scratch);
      }
    }
    EXPECT_EQ(allocations_so_far() - before, 0);
  }
}

TEST(Loader, ReshapesAndReadsIntegers) {
  LoaderOptions options;
  LoaderInput x;
  x.array = "x";
  x.dtype = DType::kI32;
  x.sample_shape = Shape{3, 2, 1};
  options.inputs = {x};
  options.order = SampleOrder::kSequential;
  options.global_batch = 2;
  Loader loader(whole(numbered()), options);
  EXPECT_EQ(loader.input_shape(0), (Shape{3, 2, 1}));
  std::vector<std::int32_t> out(12);
  Loader::Scratch scratch;
  loader.fill(0, 1, {0, 2}, {.inputs = {out.data()}}, scratch);
  std::vector<std::int32_t> expected(12);
  std::iota(expected.begin(), expected.end(), 12);
  EXPECT_EQ(out, expected);
}

TEST(Loader, RefusesWhatDoesNotFit) {
  const auto message_with = [](const auto& change) {
    LoaderOptions options = options_of();
    change(options);
    return message_of([&] { Loader(whole(numbered()), options); });
  };
  EXPECT_EQ(message_with([](LoaderOptions& o) { o.inputs[0].array = "xx"; }),
            "m: no array \"xx\"; did you mean \"x\"?; it has \"w\", \"x\", \"y\", \"z\"");
  EXPECT_EQ(message_with([](LoaderOptions& o) {
              o.inputs[0].sample_shape = Shape{8, 8, 1};
            }),
            "m: array \"x\" has samples of (2, 3), which are not (8, 8, 1): 6 elements against 64");
  EXPECT_EQ(message_with([](LoaderOptions& o) { o.classes = 3; }),
            "m: array \"y\", row 3: label 3, expected a whole number in [0, 3)");
  EXPECT_EQ(message_with([](LoaderOptions& o) { o.weights = "z"; }),
            "m: array \"z\" of weights has samples of (2), expected one number each");
  EXPECT_EQ(message_with([](LoaderOptions& o) { o.global_batch = 0; }),
            "the global batch is 0, expected at least 1");
  EXPECT_EQ(message_with([](LoaderOptions& o) { o.inputs.clear(); }), "no input arrays are named");
  Subset none{numbered(), {}};
  EXPECT_EQ(message_of([&] { Loader(none, options_of()); }), "m: no samples are left to load");
  auto negative = Dataset::from_memory(
      "n", {array_of<float>("x", {2}, {1, 2}), array_of<float>("w", {2}, {1, -2})});
  LoaderOptions options;
  options.inputs = {LoaderInput{.array = "x"}};
  options.weights = "w";
  EXPECT_EQ(message_of([&] { Loader(whole(negative), options); }),
            "n: array \"w\", row 1: weight -2, expected 0 or more");
  auto broken = Dataset::from_memory("n", {array_of<float>("x", {2}, {1, std::nanf("")})});
  options.weights = "";
  EXPECT_EQ(message_of([&] { Loader(whole(broken), options); }),
            "n: array \"x\", row 1: element 0 is nan, expected a finite number");
}

}  // namespace
}  // namespace lockstep
