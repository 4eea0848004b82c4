// Plans give the values that the reference interpreter gives, from any memory, without allocating.
#include "core/plan/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/base/error.h"
#include "core/device/cpu_device.h"
#include "core/plan/lower.h"
#include "tests/core/random_graph.h"
#include "tests/core/run_graph.h"
#include "tests/core/toy_ops.h"

namespace {

// Every allocation of this program is counted.
std::atomic<long> allocations = 0;

void* counted(std::size_t bytes) {
  ++allocations;
  if (void* data = std::malloc(bytes > 0 ? bytes : 1)) return data;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t bytes) {
  return counted(bytes);
}
void* operator new[](std::size_t bytes) {
  return counted(bytes);
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(bytes > 0 ? bytes : 1);
}
void operator delete(void* data) noexcept {
  std::free(data);
}
void operator delete[](void* data) noexcept {
  std::free(data);
}
void operator delete(void* data, std::size_t) noexcept {
  std::free(data);
}
void operator delete[](void* data, std::size_t) noexcept {
  std::free(data);
}

namespace lockstep {
namespace {

using namespace lockstep::testing;
using Feeds = std::map<std::string, std::vector<double>>;

class ExecutorTest : public ::testing::Test {
 protected:
  Executor executor_for(const Graph& graph) {
    graph.verify();
    return Executor(lower(graph, kernels_), states_, arena_);
  }

  void feed(Executor& executor, const Feeds& feeds, bool with_states) {
    for (const PlanValue& input : executor.plan().inputs) {
      write(executor.input(input.name), feeds.at(input.name), input.type);
    }
    for (const PlanValue& state : executor.plan().states) {
      if (with_states) write(states_.data(state.name), feeds.at(state.name), state.type);
    }
  }

  static void write(void* to, const std::vector<double>& values, const TensorType& type) {
    const Bytes bytes = encode(values, type.dtype);
    if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  }

  // NaN in every float type.
  void poison() {
    if (arena_.bytes() > 0) std::memset(arena_.data(), 0xff, arena_.bytes());
  }

  // In the form of run_graph's.
  Feeds results(Executor& executor) {
    Feeds out;
    for (const PlanValue& output : executor.plan().outputs) {
      out[output.name] = decode(executor.output(output.name), output.type);
    }
    for (const PlanValue& state : executor.plan().states) {
      out["state:" + state.name] = decode(states_.data(state.name), state.type);
    }
    return out;
  }

  CpuDevice device_;
  KernelRegistry registry_ = toy_registry();
  KernelCache kernels_{registry_, device_};
  StateStore states_{device_};
  Arena arena_{device_};
};

// NaN is unequal to itself, so a read of memory that nobody wrote is a difference.
TEST_F(ExecutorTest, RandomGraphsGiveTheValuesOfTheReference) {
  int saved = 0;
  for (std::uint32_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    const Graph graph = random_graph(seed, {.nodes = 5 + static_cast<int>(seed % 40)});
    StateStore states(device_);
    Executor executor(lower(graph, kernels_), states, arena_);
    saved += executor.plan().steps.size() < graph.nodes().size();
    Feeds carried;
    for (int run = 0; run < 2; ++run) {  // the second from the states of the first
      Feeds feeds = random_feeds(graph, 2 * seed + run);
      for (const auto& [name, values] : carried) feeds[name] = values;
      const Feeds expected = run_graph(graph, registry_, device_, feeds);
      for (const PlanValue& state : executor.plan().states) {
        write(states.data(state.name), feeds.at(state.name), state.type);
        carried[state.name] = expected.at("state:" + state.name);
      }
      feed(executor, feeds, false);
      poison();
      executor.run();
      for (const PlanValue& output : executor.plan().outputs) {
        ASSERT_EQ(decode(executor.output(output.name), output.type), expected.at(output.name))
            << output.name << "\n"
            << graph.to_string();
      }
      for (const PlanValue& state : executor.plan().states) {
        ASSERT_EQ(decode(states.data(state.name), state.type), expected.at("state:" + state.name))
            << state.name << "\n"
            << graph.to_string();
      }
    }
  }
  EXPECT_GT(saved, 300);  // graphs with views or packs that cost nothing
}

TEST_F(ExecutorTest, StatesCarryOverFromRunToRun) {
  Graph graph;
  const ValueId w = graph.state("w", f32({2})), x = graph.input("x", f32({2}));
  graph.output("w", toy_update(graph, w, x)[0]);
  Executor executor = executor_for(graph);
  feed(executor, {{"x", {4, 8}}, {"w", {1, 1}}}, true);
  executor.run();
  executor.run();
  EXPECT_EQ(results(executor), (Feeds{{"w", {-1, -3}}, {"state:w", {-1, -3}}}));
}

TEST_F(ExecutorTest, StatesStartAsZeros) {
  Graph graph;
  const ValueId w = graph.state("w", f32({3}));
  graph.output("w", copy(graph, w));
  Executor executor = executor_for(graph);
  executor.run();
  EXPECT_EQ(results(executor).at("w"), (std::vector<double>{0, 0, 0}));
}

TEST_F(ExecutorTest, SeveralPlansShareOneArenaAndTheStates) {
  const auto build = [](std::int64_t batch) {
    Graph graph;
    const ValueId x = graph.input("x", f32({batch})), w = graph.state("w", f32({1}));
    const ValueId mean = view(graph, toy_mean(graph, toy_smooth(graph, x)), {1});
    graph.output("w", copy(graph, toy_update(graph, w, mean)[0]));
    return graph;
  };
  const Graph small_graph = build(3), large_graph = build(3000);
  Executor small = executor_for(small_graph);
  const std::byte* before = arena_.data();
  Executor large = executor_for(large_graph);  // the arena grows and moves
  EXPECT_NE(arena_.data(), before);
  EXPECT_GE(arena_.bytes(), large.plan().arena_bytes);
  double expected = 0;
  for (int run = 0; run < 3; ++run) {
    for (auto [executor, graph] : {std::pair(&small, &small_graph), {&large, &large_graph}}) {
      Feeds feeds = random_feeds(*graph, 7 + run);
      feeds["w"] = {expected};
      expected = run_graph(*graph, registry_, device_, feeds).at("w")[0];
      feed(*executor, feeds, false);
      poison();
      executor->run();
      EXPECT_EQ(results(*executor).at("w")[0], expected);
    }
  }
  EXPECT_EQ(states_.names(), (std::vector<std::string>{"w"}));
}

TEST_F(ExecutorTest, ARunAllocatesNothing) {
  const Graph graph = random_graph(11, {.nodes = 60});
  Executor executor = executor_for(graph);
  feed(executor, random_feeds(graph, 3), true);
  executor.run();
  const long before = allocations;
  for (int run = 0; run < 100; ++run) executor.run();
  EXPECT_EQ(allocations - before, 0);
  EXPECT_GT(before, 0);
}

TEST_F(ExecutorTest, InputsAndOutputsAreFoundByName) {
  Graph graph;
  const ValueId x = graph.input("x", f32({2}));
  graph.output("y", toy_scale(graph, x, 2));
  graph.output("x again", x);
  Executor executor = executor_for(graph);
  EXPECT_NE(executor.input("x"), nullptr);
  EXPECT_EQ(executor.input("y"), nullptr);
  EXPECT_TRUE(executor.has_output("y"));
  EXPECT_FALSE(executor.has_output("x"));
  EXPECT_EQ(executor.output("x again"), executor.input("x"));
  try {
    executor.output("z");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the Plan has no output z");
  }
}

TEST_F(ExecutorTest, AStateOfAnotherTypeIsRefused) {
  states_.obtain("w", f32({2}));
  EXPECT_TRUE(states_.contains("w"));
  EXPECT_FALSE(states_.contains("v"));
  EXPECT_EQ(states_.type("w"), f32({2}));
  try {
    states_.obtain("w", f32({3}));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "state w is f32(2), a Plan wants f32(3)");
  }
  EXPECT_THROW(states_.data("v"), Error);
  EXPECT_THROW(states_.type("v"), Error);
}

TEST_F(ExecutorTest, TimeOfExchangesIsMeasured) {
  Graph graph;
  const ValueId x = graph.input("x", f32({100'000}));
  graph.output("y", toy_send(graph, x));
  Executor executor = executor_for(graph);
  EXPECT_EQ(executor.seconds().exchange, 0);
  executor.run();
  EXPECT_GT(executor.seconds().exchange, 0);
  EXPECT_EQ(executor.seconds().hidden, 0);  // there is nobody to hide it
}

// Adds one to a state beside the computation of `x + w`.
class StreamsTest : public ExecutorTest {
 protected:
  Plan plan() {
    Graph graph;
    const ValueId x = graph.input("x", f32({4})), w = graph.state("w", f32({4}));
    graph.output("y", toy_add(graph, x, w, "y"));
    toy_gather(graph, w, "gather");
    graph.verify();
    return lower(graph, kernels_, {.worth_another_thread = 0, .worth_hiding = 0});
  }

  Patience patience_;
  WorkStream communication_{patience_};
  StateStore states_{device_, &communication_};
};

TEST_F(StreamsTest, AStateThatIsExchangedIsWaitedForWhereItIsNeeded) {
  Executor executor(plan(), states_, arena_);
  const auto* y = static_cast<const float*>(executor.output("y"));
  executor.run();
  EXPECT_EQ(y[0], 0);
  EXPECT_FALSE(communication_.done(communication_.submitted()));  // the gather outlives the run
  for (int run = 1; run < 4; ++run) {
    executor.run();
    EXPECT_EQ(y[3], run);  // the step that reads the state waited
    EXPECT_GT(executor.seconds().exchange, 0.001);
  }
  EXPECT_EQ(static_cast<const float*>(states_.data("w"))[0], 4);  // so does whoever asks for the state
}

TEST_F(StreamsTest, WhatFailsBesideIsToldToWhoeverWaits) {
  registry_ = KernelRegistry();
  registry_.add("toy_gather", DeviceKind::kCpu, {[](const KernelRequest&) -> Kernel {
                  return {"broken", [](const Launch&) { environment_failed("the network is down"); }};
                }, nullptr});
  Graph graph;
  toy_gather(graph, graph.state("w", f32({4})), "gather");
  Executor executor(lower(graph, kernels_, {.worth_another_thread = 0, .worth_hiding = 0}), states_, arena_);
  executor.run();
  try {
    states_.data("w");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the network is down");
  }
}

// The same values with exchanges beside the computation as without.
TEST_F(StreamsTest, RandomGraphsGiveTheValuesOfTheReference) {
  int beside = 0;
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    const Graph graph = random_graph(seed, {.nodes = 5 + static_cast<int>(seed % 40), .exchanges = true});
    StateStore states(device_, &communication_);
    Executor executor(lower(graph, kernels_, {.worth_another_thread = 0, .worth_hiding = 0}), states, arena_);
    beside += executor.plan().communication_steps;
    const Feeds feeds = random_feeds(graph, seed);
    const Feeds expected = run_graph(graph, registry_, device_, feeds);
    for (const PlanValue& state : executor.plan().states) {
      write(states.data(state.name), feeds.at(state.name), state.type);
    }
    feed(executor, feeds, false);
    executor.run();
    for (const PlanValue& output : executor.plan().outputs) {
      EXPECT_EQ(decode(executor.output(output.name), output.type), expected.at(output.name)) << output.name;
    }
    communication_.wait_for_all();
  }
  EXPECT_GT(beside, 200);
}

TEST_F(ExecutorTest, AnExecutorCanBeMoved) {
  Graph graph;
  graph.output("y", toy_scale(graph, graph.input("x", f32({2})), 2));
  Executor first = executor_for(graph);
  Executor second = std::move(first);
  feed(second, {{"x", {1, 2}}}, false);
  second.run();
  EXPECT_EQ(results(second).at("y"), (std::vector<double>{2, 4}));
}

}  // namespace
}  // namespace lockstep
