// Plans on a device that queues work: the values of the reference, whatever the order in which streams get their turn, with
// runs launched one ahead of the results.
#include "core/plan/queued_plan.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/base/error.h"
#include "core/device/cpu_device.h"
#include "core/plan/executor.h"
#include "core/plan/lower.h"
#include "tests/core/random_graph.h"
#include "tests/core/run_graph.h"
#include "tests/core/toy_ops.h"
#include "tests/emulator/emulated_device.h"

namespace lockstep {
namespace {

using namespace lockstep::testing;
using Feeds = std::map<std::string, std::vector<double>>;

// The CPU kernel of an op, queued where it is launched; or, on_host, run at once when the device is done.
KernelEntry queued(const KernelRegistry& toys, const std::string& op, bool on_host, int* launches) {
  return {[&toys, op, on_host, launches](const KernelRequest& request) -> Kernel {
            static CpuDevice cpu;
            auto kernel = std::make_shared<Kernel>(toys.find(op, DeviceKind::kCpu)->make(
                {request.op, request.inputs, request.outputs, cpu}));
            const std::size_t inputs = request.inputs.size(), outputs = request.outputs.size();
            const auto run = [=](const Launch& on) {
              ++*launches;
              const std::vector<void*> in(on.inputs, on.inputs + inputs), out(on.outputs, on.outputs + outputs);
              void* const workspace = on.workspace;
              const auto work = [=] { kernel->run({in.data(), out.data(), workspace, nullptr}); };
              auto* stream = static_cast<CUstream_st*>(on.stream);
              auto& device = static_cast<EmulatedDevice&>(*stream->device);
              if (!on_host) return device.queue(stream->kind, work);
              device.synchronize();
              device.with_open_memory(work);
            };
            return {kernel->name, run, kernel->workspace_bytes, on_host};
          },
          nullptr};
}

class QueuedPlanTest : public ::testing::TestWithParam<int> {
 protected:
  // Which stream hurries: none, or one of the three.
  static std::optional<StreamKind> hurries() {
    return GetParam() == 0 ? std::nullopt : std::optional(static_cast<StreamKind>(GetParam() - 1));
  }

  void queue_toys(const std::string& on_host = "") {
    for (const std::string& op : toys_.names(DeviceKind::kCpu)) {
      registry_.add(op, DeviceKind::kCuda, queued(toys_, op, op == on_host, &launches_));
    }
  }
  Plan lowered(const Graph& graph, bool streams = true) {
    graph.verify();
    return lower(graph, kernels_, {.streams = streams, .worth_another_thread = 0, .worth_hiding = 0});
  }
  // Staging memory with values for an input.
  Memory staged(const std::vector<double>& values, DType dtype) {
    const Bytes bytes = encode(values, dtype);
    Memory memory = device_.allocate(std::max<std::size_t>(1, bytes.size()), MemoryKind::kStaging);
    std::memcpy(memory.data(), bytes.data(), bytes.size());
    return memory;
  }
  static Feeds random_feeds(const Graph& graph, std::uint32_t seed) {
    Feeds feeds;
    for (const Value& value : graph.values()) {
      if (value.kind == ValueKind::kResult) continue;
      std::vector<double>& values = feeds[value.name];
      for (std::int64_t i = 0; i < value.type.elements(); ++i) {
        values.push_back(static_cast<double>((i * 37 + seed * 11) % 17) - 8);
      }
    }
    return feeds;
  }

  KernelRegistry toys_ = toy_registry(), registry_;
  int launches_ = 0;
  EmulatedDevice device_{hurries()};
  KernelCache kernels_{registry_, device_};
  StateStore states_{device_};
  Arena arena_{device_};
};

// Three runs: step by step, recorded, replayed.
TEST_P(QueuedPlanTest, RandomGraphsGiveTheValuesOfTheReference) {
  queue_toys();
  CpuDevice cpu;
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    const Graph graph = random_graph(seed, {.nodes = 5 + static_cast<int>(seed % 40), .exchanges = seed % 2 == 1});
    StateStore states(device_);
    Executor executor(lowered(graph), states, arena_);
    const Feeds feeds = random_feeds(graph, seed);
    Feeds expected = run_graph(graph, toys_, cpu, feeds);
    for (int run = 0; run < 3; ++run) {
      std::vector<Memory> memory;
      for (const PlanValue& state : executor.plan().states) {
        const Bytes bytes = encode(feeds.at(state.name), state.type.dtype);
        device_.copy_in(states.data(state.name), bytes.data(), bytes.size());
      }
      for (std::size_t i = 0; i < executor.plan().inputs.size(); ++i) {
        const PlanValue& input = executor.plan().inputs[i];
        memory.push_back(staged(feeds.at(input.name), input.type.dtype));
        executor.set_input(static_cast<int>(i), memory.back().data());
      }
      executor.run();
      for (const PlanValue& output : executor.plan().outputs) {
        EXPECT_EQ(decode(executor.output(output.name), output.type), expected.at(output.name)) << output.name;
      }
      for (const PlanValue& state : executor.plan().states) {
        EXPECT_EQ(decode(states.on_host(state.name), state.type), expected.at("state:" + state.name)) << state.name;
      }
    }
  }
}

// mean(x) + number is followed over many runs; the memory of the inputs is used again as soon as it may be.
TEST_P(QueuedPlanTest, RunsAheadKeepTheirInputsAndResultsApart) {
  queue_toys();
  for (const std::int64_t elements : {3, 40'000}) {  // taken from the host in place; landing beside the run before
    Graph graph;
    const ValueId x = graph.input("x", f32({elements})), number = graph.input("number", f32({}));
    graph.output("y", toy_add(graph, toy_mean(graph, toy_scale(graph, x, 2)), number));
    graph.output("number again", toy_scale(graph, number, 1));
    Executor executor(lowered(graph), states_, arena_);
    executor.follow({"y", "number again"});
    Memory host = device_.allocate(static_cast<std::size_t>(elements) * sizeof(float), MemoryKind::kStaging);
    for (int run = 0; run < 6; ++run) {
      if (run > 0) executor.wait_for_inputs();
      std::fill_n(static_cast<float*>(host.data()), elements, static_cast<float>(run));
      executor.set_input(executor.find_input("x"), host.data());
      executor.set_number(executor.find_input("number"), static_cast<float>(100 * run));
      executor.run();
      if (run == 0) continue;
      EXPECT_EQ(executor.followed(run - 1, 0), 102 * (run - 1));
      EXPECT_EQ(executor.followed(run - 1, 1), 100 * (run - 1));
      EXPECT_GE(executor.seconds(run - 1).forward, 0);
    }
    EXPECT_EQ(executor.followed(5, 0), 510);
    EXPECT_THROW(executor.followed(2, 0), Error);
  }
}

TEST_P(QueuedPlanTest, FromTheSecondRunOnItIsOneLaunch) {
  queue_toys();
  Graph graph;
  const ValueId w = graph.state("w", f32({4}));
  toy_update(graph, w, toy_shift(graph, toy_scale(graph, w, 0.5), 1));
  const Plan plan = lowered(graph);
  const int steps = static_cast<int>(plan.steps.size());
  Executor executor(plan, states_, arena_);
  std::vector<float> values;
  for (int run = 0; run < 5; ++run) {
    executor.run();
    values.push_back(static_cast<const float*>(states_.on_host("w"))[3]);
  }
  EXPECT_EQ(launches_, 2 * steps);  // step by step, and once into the recording
  // The same without recordings.
  StateStore others(device_);
  Executor direct(plan, others, arena_);
  direct.use_recordings(false);
  for (int run = 0; run < 5; ++run) {
    direct.run();
    EXPECT_EQ(static_cast<const float*>(others.on_host("w"))[3], values[static_cast<std::size_t>(run)]);
  }
  EXPECT_EQ(launches_, 7 * steps);
}

TEST_P(QueuedPlanTest, StepsOfTheHostDivideTheRecording) {
  queue_toys("toy_send");
  Graph graph;
  const ValueId x = graph.input("x", f32({5}));
  const ValueId sent = toy_send(graph, toy_scale(graph, x, 3, "before"), "send");
  graph.output("y", toy_shift(graph, sent, 1, "after"));
  Executor executor(lowered(graph, false), states_, arena_);
  for (int run = 0; run < 4; ++run) {
    const Memory memory = staged(std::vector<double>(5, run), DType::kF32);
    executor.set_input(0, memory.data());
    executor.run();
    EXPECT_EQ(static_cast<const float*>(executor.output("y"))[4], 3 * run + 1);
    EXPECT_GT(executor.seconds().exchange, 0);
  }
  EXPECT_EQ(launches_, 2 * 2 + 4);  // before and after twice, the host's step in each run
}

TEST_P(QueuedPlanTest, AnArenaThatMovedIsRecordedAnew) {
  queue_toys();
  Graph small, large;
  small.output("y", toy_scale(small, toy_smooth(small, small.input("x", f32({3}))), 2));
  large.output("y", toy_smooth(large, toy_smooth(large, large.input("x", f32({5000})))));
  Executor first(lowered(small), states_, arena_);
  const Memory memory = staged({8, 8, 8}, DType::kF32);
  const auto result = [&] {
    first.set_input(0, memory.data());
    first.run();
    return static_cast<const float*>(first.output("y"))[0];
  };
  const float expected = result();
  EXPECT_EQ(result(), expected);
  Executor second(lowered(large), states_, arena_);
  second.run();
  for (int run = 0; run < 3; ++run) EXPECT_EQ(result(), expected);
}

TEST_P(QueuedPlanTest, WhatTheHostChangedIsWrittenBackAndNothingElse) {
  queue_toys();
  Graph graph;
  const ValueId a = graph.state("a", f32({2})), b = graph.state("b", f32({2}));
  toy_update(graph, a, graph.input("g", f32({2})));
  graph.output("b again", toy_scale(graph, b, 1));
  Executor executor(lowered(graph), states_, arena_);
  static_cast<float*>(states_.on_host("a"))[0] = 1;
  static_cast<float*>(states_.on_host("b"))[0] = 2;
  states_.write_back();
  const Memory gradient = staged({4, 4}, DType::kF32);
  executor.set_input(0, gradient.data());
  executor.run();  // a becomes 0
  static_cast<float*>(states_.on_host("b"))[1] = 5;
  states_.write_back();
  EXPECT_EQ(static_cast<const float*>(states_.on_host("a"))[0], 0);
  EXPECT_EQ(static_cast<const float*>(states_.on_host("b"))[0], 2);
  EXPECT_EQ(static_cast<const float*>(states_.on_host("b"))[1], 5);
}

INSTANTIATE_TEST_SUITE_P(Streams, QueuedPlanTest, ::testing::Range(0, 4));

}  // namespace
}  // namespace lockstep
