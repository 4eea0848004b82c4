#include "tests/launcher/same_bits.h"

#include "core/base/random.h"

namespace lockstep::testing {
namespace {

TEST_P(SameBits, ThreeHundredStepsInF32) { expect("f32"); }

INSTANTIATE_TEST_SUITE_P(Models, SameBits, ::testing::ValuesIn(kCases),
                         [](const auto& about) { return std::string(about.param.name); });

// Any number of samples, batch, microbatches, workers and nodes.
TEST(RandomSplits, GradientsOfAThousandHaveTheBitsOfOneWorker) {
  const RandomStream random(7, Purpose::kShuffle, 0);
  std::uint32_t drawn = 0;
  const auto below = [&](int bound) { return static_cast<int>(random.word(0, drawn++, 0) % static_cast<std::uint32_t>(bound)); };
  for (int round = 0; round < 1000; ++round) {
    const int samples = 1 + below(40), world = 1 + below(9), batch = 1 + below(40);
    const int microbatches = 1 + below(batch);
    std::vector<int> nodes;
    for (int rank = 0; rank < world; ++rank) nodes.push_back(rank == 0 ? 0 : std::min(nodes.back() + below(2), rank));
    // Plain gradient descent: parameters are equal where gradients are.
    const std::string toml =
        text("[data]\ntrain = \"memory\"\nsplit = 0\n[train]\nepochs = 1\nsteps = 2\nglobal_batch = ", batch,
             "\nmicrobatches = ", microbatches, "\nlearning_rate = 1.0\noptimizer = \"sgd\"\n",
             "loss = \"softmax_cross_entropy\"\n[[layer]]\ntype = \"flatten\"\n[[layer]]\ntype = \"dense\"\nunits = 10\n");
    EXPECT_EQ(train(toml, world, samples, nodes), train(toml, 1, samples))
        << samples << " samples in batches of " << batch << " and " << microbatches << " microbatches, " << world << " workers";
  }
}

}  // namespace
}  // namespace lockstep::testing
