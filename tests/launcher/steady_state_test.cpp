// A training step in steady state allocates nothing: data, forward, backward, exchange and update of whole epochs.
#include <gtest/gtest.h>

#include <barrier>

#include "tests/core/count_allocations.h"
#include "tests/dist/world_of_threads.h"
#include "tests/launcher/small_training.h"

namespace lockstep {
namespace {

using testing::run_world;
using testing::SmallTraining;

class SteadyStateTest : public ::testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(SteadyStateTest, AllocatesNothing) {
  const auto [model, world] = GetParam();
  const std::string toml = text("[data]\ntrain = \"memory\"\nsplit = 0\n[train]\nepochs = 9\nglobal_batch = 19\n",
                                "loss = \"softmax_cross_entropy\"\nclip_norm = 1.0\n", testing::layers_of(model));
  std::barrier all_ranks(world);
  run_world(world, [&](std::unique_ptr<Communicator> communicator) {
    const bool first = communicator->rank() == 0;
    SmallTraining training(toml, testing::hashed_images(83), std::move(communicator));
    const std::int64_t epoch = training->steps_per_epoch();
    // Two epochs: Plans of the full batch and of the remainder, the thread of the exchange, memory of neighbours.
    for (std::int64_t step = 0; step < 2 * epoch; ++step) training->run_step();
    all_ranks.arrive_and_wait();
    const std::int64_t before = own_allocations_so_far();
    EXPECT_GT(before, 1000);  // it counts: all that was made so far
    all_ranks.arrive_and_wait();
    for (std::int64_t step = 0; step < 2 * epoch; ++step) training->run_step();
    all_ranks.arrive_and_wait();
    const std::int64_t after = own_allocations_so_far();
    if (first) {
      EXPECT_EQ(after - before, 0) << "in " << 2 * epoch << " steps";
    }
    all_ranks.arrive_and_wait();
  });
}

INSTANTIATE_TEST_SUITE_P(Models, SteadyStateTest,
                         ::testing::Combine(::testing::Values("mlp", "cnn", "residual", "everything"),
                                            ::testing::Values(1, 3)));

}  // namespace
}  // namespace lockstep
