#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "ops/optimizers/gradient_ops.h"
#include "ops/optimizers/optimizer.h"
#include "ops/optimizers/update_ops.h"
#include "ops/register.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"
#include "tests/ops/optimizers_reference.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// ---- Updates in double, from the definitions in optimizer.h ------------------------------------

struct Element {
  double p, g;
  std::vector<double> slots;
};

void update(const OptimizerOptions& o, double decay, double rate, double t, Element& e) {
  if (o.kind == "adamw") {
    e.p *= 1 - rate * decay;
  } else {
    e.g += decay * e.p;
  }
  if (o.kind == "sgd") {
    if (o.momentum == 0) {
      e.p -= rate * e.g;
      return;
    }
    e.slots[0] = o.momentum * e.slots[0] + e.g;
    e.p -= rate * (o.nesterov ? e.g + o.momentum * e.slots[0] : e.slots[0]);
  } else if (o.kind == "rmsprop") {
    e.slots[0] = o.rho * e.slots[0] + (1 - o.rho) * e.g * e.g;
    double average = 0;
    if (o.centered) average = e.slots[1] = o.rho * e.slots[1] + (1 - o.rho) * e.g;
    double change = e.g / (std::sqrt(e.slots[0] - average * average) + o.epsilon);
    if (o.momentum != 0) change = e.slots.back() = o.momentum * e.slots.back() + change;
    e.p -= rate * change;
  } else {
    e.slots[0] = o.beta_1 * e.slots[0] + (1 - o.beta_1) * e.g;
    e.slots[1] = o.beta_2 * e.slots[1] + (1 - o.beta_2) * e.g * e.g;
    const double root = std::sqrt(e.slots[1] / (1 - std::pow(o.beta_2, t))) + o.epsilon;
    e.p -= rate / (1 - std::pow(o.beta_1, t)) * e.slots[0] / root;
  }
}

std::shared_ptr<const Op> update_op(const OptimizerOptions& options, std::vector<Segment> decay) {
  if (options.kind == "sgd") return std::make_shared<SgdUpdateOp>(options, decay);
  if (options.kind == "rmsprop") return std::make_shared<RmspropUpdateOp>(options, decay);
  return std::make_shared<AdamUpdateOp>(options, decay);
}

OpCase update_case(const OptimizerOptions& options, std::int64_t n, std::vector<Segment> decay,
                   double step, double scale) {
  const std::size_t slots = slots_of(options).size();
  OpCase c{.name = text(options.kind, "(", n, ") step ", step),
           .op = update_op(options, decay),
           .low = 0.25,  // second moments are positive, and far above the squares of the first
           .high = 0.5,
           // s - a^2 of the centered rmsprop loses digits where the two are close.
           .reduction_length = options.centered ? 64.0 : 1.0,
           .bf16 = false,
           .gradient = false};
  c.inputs.assign(2 + slots, {DType::kF32, {n}});
  c.inputs.insert(c.inputs.end(), {{DType::kF32, {}}, {DType::kI64, {}}, {DType::kF32, {}}});
  c.values.resize(c.inputs.size());
  c.values[2 + slots] = {0.05};
  c.values[3 + slots] = {step};
  c.values[4 + slots] = {scale};
  c.reference = [=](const Tensors& in) {
    Tensors out(1 + slots);
    for (std::int64_t i = 0; i < n; ++i) {
      Element e{in[0][i], in[1][i] * in.back()[0], {}};
      if (options.clip_value > 0) {
        e.g = std::clamp(e.g, -options.clip_value, options.clip_value);
      }
      for (std::size_t slot = 0; slot < slots; ++slot) e.slots.push_back(in[2 + slot][i]);
      double own_decay = 0;
      for (const Segment& segment : decay) {
        if (i >= segment.begin && i < segment.end) own_decay = options.weight_decay;
      }
      update(options, own_decay, in[2 + slots][0], in[3 + slots][0] + 1, e);
      out[0].push_back(e.p);
      for (std::size_t slot = 0; slot < slots; ++slot) out[1 + slot].push_back(e.slots[slot]);
    }
    return out;
  };
  return c;
}

const std::vector<OptimizerOptions>& all_options() {
  static const std::vector<OptimizerOptions> options{
      {.kind = "sgd", .weight_decay = 0},
      {.kind = "sgd", .weight_decay = 0.1, .momentum = 0.9},
      {.kind = "sgd", .weight_decay = 0.1, .momentum = 0.5, .nesterov = true},
      {.kind = "adam", .weight_decay = 0},
      {.kind = "adam", .weight_decay = 0.1, .beta_1 = 0.8, .beta_2 = 0.9, .epsilon = 1e-3},
      {.kind = "adamw", .weight_decay = 0.1},
      {.kind = "rmsprop", .weight_decay = 0.1},
      {.kind = "rmsprop", .weight_decay = 0, .momentum = 0.9},
      {.kind = "rmsprop", .weight_decay = 0, .rho = 0.9, .centered = true},
      {.kind = "rmsprop", .weight_decay = 0.1, .momentum = 0.9, .centered = true},
  };
  return options;
}

TEST(Updates, AgreeWithTheNaiveLoop) {
  for (const OptimizerOptions& options : all_options()) {
    for (const std::int64_t n : {1, 7, 8, 33, 1000}) {
      const std::vector<Segment> decay =
          n < 8 ? std::vector<Segment>{{0, n}} : std::vector<Segment>{{0, 3}, {5, 6}, {7, n - 1}};
      check_op(update_case(options, n, decay, 0, 1.0));
      check_op(update_case(options, n, decay, 41, 0.125));
    }
    check_op(update_case(options, 0, {}, 0, 1.0));
    OptimizerOptions clipped = options;
    clipped.clip_value = 0.3;
    OpCase c = update_case(clipped, 19, {{2, 9}}, 3, 1.0);
    c.values[1].resize(19);
    for (int i = 0; i < 19; ++i) c.values[1][i] = 0.05 * (i - 9);
    check_op(c);
  }
}

// ---- Runs of several updates -------------------------------------------------------------------

// Parameters and slots after updates with the gradients `gradients(t)`.
struct Trainer {
  explicit Trainer(const OptimizerOptions& options, std::vector<double> start)
      : optimizer(Optimizer::make(options)) {
    const TensorType type{DType::kF32, {static_cast<std::int64_t>(start.size())}};
    const ValueId p = graph.state("p", type), g = graph.input("g", type);
    std::vector<ValueId> slots;
    feeds["p"] = start;
    for (const std::string& slot : optimizer->slots()) {
      slots.push_back(graph.state(slot, type));
      feeds[slot] = std::vector<double>(start.size(), 0.0);
    }
    const ValueId rate = graph.input("rate", {DType::kF32, {}});
    const ValueId step = graph.input("step", {DType::kI64, {}});
    const ValueId scale = graph.input("scale", {DType::kF32, {}});
    const auto outputs =
        optimizer->build(graph, p, g, slots, rate, step, scale, {{0, 3}, {3, type.elements()}});
    EXPECT_EQ(outputs.size(), 1 + slots.size());
    graph.verify();
  }

  void update(const std::vector<double>& gradients, double rate, int step, double scale = 1.0) {
    update_on(test_device(), test_registry(), gradients, rate, step, scale);
  }

  void update_on(Device& device, const KernelRegistry& registry, const std::vector<double>& gradients,
                 double rate, int step, double scale = 1.0) {
    feeds["g"] = gradients;
    feeds["rate"] = {rate};
    feeds["step"] = {static_cast<double>(step)};
    feeds["scale"] = {scale};
    const auto found = run_graph(graph, registry, device, feeds);
    for (auto& [name, values] : feeds) {
      if (found.contains("state:" + name)) values = found.at("state:" + name);
    }
  }

  std::unique_ptr<Optimizer> optimizer;
  Graph graph;
  std::map<std::string, std::vector<double>> feeds;
};

TEST(Optimizers, AgreeWithPyTorch) {
  const struct {
    OptimizerOptions options;
    std::span<const double> expected;
  } cases[] = {
      {{.kind = "sgd"}, reference::kSgd},
      {{.kind = "sgd", .weight_decay = 0.05, .momentum = 0.9}, reference::kMomentum},
      {{.kind = "sgd", .momentum = 0.9, .nesterov = true}, reference::kNesterov},
      {{.kind = "adam"}, reference::kAdam},
      {{.kind = "adam", .weight_decay = 0.05, .beta_1 = 0.8, .beta_2 = 0.95, .epsilon = 1e-4},
       reference::kAdamDecay},
      {{.kind = "adamw"}, reference::kAdamw},
      {{.kind = "rmsprop"}, reference::kRmsprop},
      {{.kind = "rmsprop", .weight_decay = 0.05, .momentum = 0.5, .rho = 0.9, .centered = true},
       reference::kRmspropAll},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(text(c.options.kind, " ", c.options.momentum, " ", c.options.weight_decay));
    Trainer trainer(c.options, {std::begin(reference::kStart), std::end(reference::kStart)});
    for (int t = 0; t < 5; ++t) {
      std::vector<double> gradients;
      for (const double g : reference::kGradients) gradients.push_back(g * (1 + t / 2.0));
      trainer.update(gradients, 0.1, t);
    }
    for (std::size_t i = 0; i < c.expected.size(); ++i) {
      EXPECT_NEAR(trainer.feeds["p"][i], c.expected[i], 3e-6 * (1 + std::abs(c.expected[i]))) << i;
    }
  }
}

TEST(Optimizers, KeepTheStateWhereTheScaleIsNotFinite) {
  for (const OptimizerOptions& options : all_options()) {
    Trainer trainer(options, {1, 2, 3, 4, 5});
    trainer.update({1, 1, 1, 1, 1}, 0.1, 0);
    auto states = [&] {
      std::map<std::string, std::vector<double>> out{{"p", trainer.feeds["p"]}};
      for (const std::string& slot : trainer.optimizer->slots()) out[slot] = trainer.feeds[slot];
      return out;
    };
    const auto before = states();
    for (const double scale : {kNan, kInfinity, -kInfinity}) {
      trainer.update({1, kNan, kInfinity, 1, 1}, 0.1, 1, scale);
      EXPECT_EQ(states(), before) << options.kind << " " << scale;
    }
    trainer.update({1, 1, 1, 1, 1}, 0.1, 1);
    EXPECT_NE(states(), before);
  }
}

TEST(Optimizers, AreTheSameOnAnyNumberOfThreads) {
  std::vector<double> start(100'001), gradients(start.size());
  for (std::size_t i = 0; i < start.size(); ++i) {
    start[i] = std::sin(static_cast<double>(i));
    gradients[i] = std::cos(static_cast<double>(i) * 0.7);
  }
  KernelRegistry of_cpu;
  register_cpu_kernels(of_cpu);
  CpuDevice single, triple(3);
  for (const OptimizerOptions& options : all_options()) {
    Trainer one(options, start), three(options, start);
    for (int t = 0; t < 2; ++t) {
      one.update_on(single, of_cpu, gradients, 0.1, t);
      three.update_on(triple, of_cpu, gradients, 0.1, t);
    }
    EXPECT_EQ(one.feeds["p"], three.feeds["p"]) << options.kind;
  }
}

// Parameters that begin anywhere in their bucket, as shards do, with weight decay in many places.
TEST(Optimizers, HaveTheSameBitsInPartsOfAnyAlignment) {
  constexpr std::int64_t kCount = 4099;
  std::vector<Segment> decay;
  for (std::int64_t at = 2; at + 40 < kCount; at += 61) decay.push_back({at, at + 37});
  for (const OptimizerOptions& options : all_options()) {
    const auto optimizer = Optimizer::make(options);
    // p after an update in parts of the flat state that begin and end there.
    auto updated = [&](const std::vector<std::int64_t>& ends) {
      Graph graph;
      const ValueId p = graph.state("p", {DType::kF32, {kCount}}), g = graph.input("g", {DType::kF32, {kCount}});
      const ValueId rate = graph.input("rate", {DType::kF32, {}}), step = graph.input("step", {DType::kI64, {}});
      const ValueId scale = graph.input("scale", {DType::kF32, {}});
      std::map<std::string, std::vector<double>> feeds{{"rate", {0.1}}, {"step", {6}}, {"scale", {0.5}}};
      for (std::int64_t i = 0; i < kCount; ++i) {
        feeds["p"].push_back(std::sin(static_cast<double>(i)));
        feeds["g"].push_back(std::cos(static_cast<double>(i) * 0.7));
      }
      std::int64_t begin = 0;
      for (const std::int64_t end : ends) {
        std::vector<ValueId> slots;
        std::vector<Segment> own;
        for (const std::string& slot : optimizer->slots()) {
          const std::string name = text(slot, "/", begin);
          slots.push_back(graph.state(name, {DType::kF32, {end - begin}}));
          feeds[name] = std::vector<double>(static_cast<std::size_t>(end - begin), 0.25);
        }
        for (const Segment& segment : decay) {
          const Segment inside{std::max(segment.begin, begin) - begin, std::min(segment.end, end) - begin};
          if (inside.begin < inside.end) own.push_back(inside);
        }
        optimizer->build(graph, view(graph, p, {end - begin}, begin), view(graph, g, {end - begin}, begin), slots, rate,
                         step, scale, own);
        begin = end;
      }
      return run_graph(graph, test_registry(), test_device(), feeds).at("state:p");
    };
    const std::vector<double> whole = updated({kCount});
    EXPECT_EQ(updated({1, 6, 1030, kCount}), whole) << options.kind;
    EXPECT_EQ(updated({2047, 2048, kCount}), whole) << options.kind;
  }
}

TEST(Optimizers, ClippingLetsNanPass) {
  Trainer trainer({.kind = "sgd", .clip_value = 0.5}, {0, 0, 0, 0});
  trainer.update({kNan, 10, -10, 0.25}, 1.0, 0);
  EXPECT_TRUE(std::isnan(trainer.feeds["p"][0]));
  EXPECT_EQ(std::vector(trainer.feeds["p"].begin() + 1, trainer.feeds["p"].end()),
            (std::vector{-0.5, 0.5, -0.25}));
}

TEST(Optimizers, PrintTheirAttributes) {
  Trainer trainer({.kind = "adamw"}, {1, 2, 3, 4});
  EXPECT_NE(
      trainer.graph.to_string().find(
          "adam_update[beta_1=0.9 beta_2=0.999 epsilon=1e-08 decoupled=true weight_decay=0.01 "
          "in [0, 4)]"),
      std::string::npos)
      << trainer.graph.to_string();
}

// ---- Settings ----------------------------------------------------------------------------------

Setting table_of(const std::map<std::string, Setting>& settings) {
  auto table = std::make_shared<Settings>("train.optimizer", "a.toml:5");
  for (const auto& [key, setting] : settings) table->set(key, setting);
  return {table, "a.toml:5"};
}

OptimizerOptions made(Setting setting) {
  Settings train("train", "a.toml:3");
  train.set("optimizer", std::move(setting));
  const auto optimizer = Optimizer::make(train);
  train.finish();
  return optimizer->options();
}

std::string error_of(Setting setting) {
  try {
    made(std::move(setting));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    return error.what();
  }
  return "no error";
}

TEST(Optimizers, AreReadFromSettings) {
  Settings empty("train");
  EXPECT_EQ(Optimizer::make(empty)->kind(), "adam");
  const OptimizerOptions adamw = made({std::string("adamw"), ""});
  EXPECT_EQ(adamw.kind, "adamw");
  EXPECT_EQ(adamw.weight_decay, 0.01);
  const OptimizerOptions sgd = made(table_of({{"type", {std::string("sgd"), ""}},
                                              {"momentum", {0.9, ""}},
                                              {"nesterov", {true, ""}},
                                              {"weight_decay", {5e-4, ""}}}));
  EXPECT_EQ(sgd.kind, "sgd");
  EXPECT_EQ(sgd.momentum, 0.9);
  EXPECT_TRUE(sgd.nesterov);
  EXPECT_EQ(sgd.weight_decay, 5e-4);
  Settings train("train");
  train.set("clip_value", {0.5, ""});
  EXPECT_EQ(Optimizer::make(train)->options().clip_value, 0.5);
}

TEST(Optimizers, HaveTheSlotsOfTheirKind) {
  using Names = std::vector<std::string>;
  auto slots = [](const OptimizerOptions& options) { return Optimizer::make(options)->slots(); };
  EXPECT_EQ(slots({.kind = "sgd"}), Names{});
  EXPECT_EQ(slots({.kind = "sgd", .momentum = 0.9}), Names{"momentum"});
  EXPECT_EQ(slots({.kind = "adam"}), (Names{"m", "v"}));
  EXPECT_EQ(slots({.kind = "adamw"}), (Names{"m", "v"}));
  EXPECT_EQ(slots({.kind = "rmsprop"}), Names{"square"});
  EXPECT_EQ(slots({.kind = "rmsprop", .momentum = 0.9, .centered = true}),
            (Names{"square", "average", "momentum"}));
}

TEST(Optimizers, SettingsThatAreRefused) {
  EXPECT_EQ(error_of({std::string("adm"), "a.toml:4"}),
            "a.toml:4: train.optimizer: \"adm\" is not known; did you mean \"adam\"?; valid: "
            "\"sgd\", \"adam\", \"adamw\", \"rmsprop\"");
  EXPECT_EQ(error_of(table_of({})), "a.toml:5: train.optimizer.type: missing; expected a text");
  auto with = [](const char* kind, const char* key, Setting setting) {
    return error_of(table_of({{"type", {std::string(kind), ""}}, {key, std::move(setting)}}));
  };
  EXPECT_EQ(with("sgd", "momentum", {1.5, "a.toml:7"}),
            "a.toml:7: train.optimizer.momentum: expected a number in [0, 1), found 1.5");
  EXPECT_EQ(with("sgd", "nesterov", {true, "a.toml:7"}),
            "a.toml:7: train.optimizer.nesterov: needs a momentum above 0, found 0");
  EXPECT_EQ(with("adam", "beta_2", {1.0, "a.toml:7"}),
            "a.toml:7: train.optimizer.beta_2: expected a number in [0, 1), found 1");
  EXPECT_EQ(with("adam", "weight_decay", {-0.5, "a.toml:7"}),
            "a.toml:7: train.optimizer.weight_decay: expected a number of 0 or more, found -0.5");
  EXPECT_EQ(with("adam", "beta1", {0.5, "a.toml:7"}),
            "a.toml:7: train.optimizer.beta1: unknown key; did you mean \"beta_1\"?");
  EXPECT_THROW(Optimizer::make({.kind = "lion"}), Error);
  EXPECT_THROW(Optimizer::make({.kind = "sgd", .momentum = -1}), Error);
}

TEST(Optimizers, DecaySegmentsThatAreRefused) {
  for (const std::vector<Segment>& segments :
       {std::vector<Segment>{{2, 5}}, {{-1, 2}}, {{2, 3}, {1, 2}}, {{3, 1}}}) {
    Graph graph;
    const TensorType flat{DType::kF32, {4}}, scalar{DType::kF32, {}};
    const auto optimizer = Optimizer::make({.kind = "sgd", .weight_decay = 0.1});
    EXPECT_THROW(optimizer->build(graph, graph.state("p", flat), graph.input("g", flat), {},
                                  graph.input("r", scalar), graph.input("s", {DType::kI64, {}}),
                                  graph.input("f", scalar), segments),
                 Error);
  }
}

// ---- Gradient ops ------------------------------------------------------------------------------

TEST(SquareSums, AgreeWithTheNaiveLoop) {
  for (const std::int64_t n : {0, 1, 31, 33, 1023, 1024, 1025, 5000}) {
    std::vector<std::int64_t> begins;
    for (std::int64_t at = 0; at < n; at += kNormBlock) begins.push_back(at);
    begins.push_back(n);
    check_op({.name = text("square_sums(", n, ")"),
              .op = std::make_shared<SquareSumsOp>(begins),
              .inputs = {{DType::kF32, {n}}},
              .reference =
                  [n](const Tensors& in) {
                    std::vector<double> sums((n + kNormBlock - 1) / kNormBlock, 0.0);
                    for (std::int64_t i = 0; i < n; ++i) {
                      sums[i / kNormBlock] += in[0][i] * in[0][i];
                    }
                    return Tensors{sums};
                  },
              .reduction_length = kNormBlock,
              .bf16 = false,
              .gradient = false});
  }
}

// Blocks of parameters of any size, which begin anywhere: 0.1 is not exact, so another order would show.
TEST(SquareSums, DependOnTheContentOfABlockOnly) {
  std::vector<std::int64_t> begins{0};
  for (const std::int64_t size : {1024, 1, 1024, 5, 1024, 130, 2, 1024, 1023, 3, 1024, 1024, 6, 1000}) {
    begins.push_back(begins.back() + size);
  }
  auto value = [](std::int64_t place) { return 0.1 + 0.01 * static_cast<double>(place % 37); };
  auto sums_of = [&](const std::vector<std::int64_t>& cut) {
    Tensors x(1);
    for (std::size_t block = 0; block + 1 < cut.size(); ++block) {
      for (std::int64_t i = 0; i < cut[block + 1] - cut[block]; ++i) x[0].push_back(value(i));
    }
    const OpRun run{{{DType::kF32, {cut.back()}}}, {{DType::kF32, {static_cast<std::int64_t>(cut.size()) - 1}}}};
    return run_op(SquareSumsOp(cut), run, test_registry(), test_device(), x)[0];
  };
  const std::vector<double> sums = sums_of(begins);
  for (std::size_t block = 0; block < sums.size(); ++block) {
    EXPECT_EQ(sums[block], sums_of({0, begins[block + 1] - begins[block]})[0]) << block;
  }
}

std::pair<double, double> scale_of(std::vector<double> sums, double clip_norm) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {static_cast<std::int64_t>(sums.size())}});
  const GradientScale scale = gradient_scale(graph, x, clip_norm);
  graph.output("factor", scale.factor);
  graph.output("norm", scale.norm);
  auto found = run_graph(graph, test_registry(), test_device(), {{"x", std::move(sums)}});
  return {found["factor"][0], found["norm"][0]};
}

// The tree of gradient_ops.h, in double.
double tree_of(const std::vector<double>& x, std::size_t begin, std::size_t size) {
  if (begin >= x.size()) return 0;
  if (size == 1) return x[begin];
  return tree_of(x, begin, size / 2) + tree_of(x, begin + size / 2, size / 2);
}

TEST(GradientScale, SumsInATree) {
  for (const std::size_t blocks : {1, 3, 1000, 1024, 1025, 5000, 8192, 8193, 20000}) {
    std::vector<double> sums;
    for (std::size_t i = 0; i < blocks; ++i) sums.push_back(static_cast<float>(std::pow(1.9, i % 41)));
    const double root = std::sqrt(tree_of(sums, 0, 32768));
    EXPECT_EQ(scale_of(sums, 0).second, static_cast<float>(root)) << blocks;
    EXPECT_EQ(scale_of(sums, 1.5).first, static_cast<float>(std::min(1.0, 1.5 / (root + 1e-6)))) << blocks;
  }
}

TEST(GradientScale, AgreesWithTheNaiveLoop) {
  for (const double clip_norm : {0.0, 0.75, 1000.0}) {
    for (const std::int64_t blocks : {0, 1, 2, 3, 5, 7, 64, 1000}) {
      check_op({.name = text("gradient_scale(", blocks, ") ", clip_norm),
                .op = std::make_shared<GradientScaleOp>(clip_norm),
                .inputs = {{DType::kF32, {blocks}}},
                .reference =
                    [clip_norm](const Tensors& in) {
                      const double norm =
                          std::sqrt(std::accumulate(in[0].begin(), in[0].end(), 0.0));
                      const bool clips = clip_norm > 0 && norm > clip_norm;
                      return Tensors{{clips ? clip_norm / (norm + 1e-6) : 1.0}, {norm}};
                    },
                .low = 0.0,
                .high = 2.0,
                .bf16 = false,
                .gradient = false});
    }
  }
}

TEST(GradientScale, IsNanWhereTheNormIsNotFinite) {
  for (const double clip_norm : {0.0, 1.0}) {
    for (const double bad : {kNan, kInfinity}) {
      EXPECT_TRUE(std::isnan(scale_of({1, bad, 2}, clip_norm).first));
    }
    EXPECT_TRUE(std::isfinite(scale_of({3e38, 3e38}, clip_norm).first));  // the sum is in f64
  }
}

TEST(GradientScale, DoesNotDependOnEmptyBlocksAtTheEnd) {
  std::vector<double> sums;
  for (int i = 0; i < 37; ++i) sums.push_back(static_cast<float>(std::pow(1.7, i % 23)));
  const double norm = scale_of(sums, 0).second;
  for (int i = 0; i < 100; ++i) {
    sums.push_back(0);
    ASSERT_EQ(scale_of(sums, 0).second, norm) << sums.size();
  }
}

// What the steps of a device that runs ahead find, one after another.
struct StickyScale {
  double halted, factor, norm;
};

std::vector<StickyScale> sticky_scales(double clip_norm, double halted, const std::vector<double>& sums) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {1}});
  const ValueId state = graph.state("halted", {DType::kF32, {}});
  const GradientScale scale = sticky_gradient_scale(graph, x, state, clip_norm, "norm");
  graph.output("factor", scale.factor);
  graph.output("norm", scale.norm);
  graph.verify();
  std::vector<StickyScale> out;
  for (const double sum : sums) {
    auto found = run_graph(graph, test_registry(), test_device(), {{"x", {sum}}, {"halted", {halted}}});
    halted = found["state:halted"][0];
    out.push_back({halted, found["factor"][0], found["norm"][0]});
  }
  return out;
}

TEST(StickyGradientScale, IsThatOfThisStepWhileAllAreFinite) {
  for (const StickyScale& step : sticky_scales(1.0, 0, {0.25, 4.0, 0.0})) {
    EXPECT_EQ(step.halted, 0);
    EXPECT_EQ(step.factor, scale_of({step.norm * step.norm}, 1.0).first);
  }
}

TEST(StickyGradientScale, StaysNanFromTheFirstNormThatIsNotFinite) {
  for (const double clip_norm : {0.0, 1.0}) {
    for (const double bad : {kNan, kInfinity}) {
      const std::vector<StickyScale> steps = sticky_scales(clip_norm, 0, {4.0, bad, 4.0, bad, 9.0});
      EXPECT_EQ(steps[0].halted, 0);
      EXPECT_TRUE(std::isfinite(steps[0].factor));
      for (std::size_t i = 1; i < steps.size(); ++i) {
        EXPECT_EQ(steps[i].halted, 1) << i;
        EXPECT_TRUE(std::isnan(steps[i].factor)) << i;
      }
      EXPECT_FALSE(std::isfinite(steps[1].norm));
      EXPECT_EQ(steps[2].norm, 2) << "the norm is that of the step";
      EXPECT_EQ(steps[4].norm, 3);
    }
  }
  EXPECT_TRUE(std::isnan(sticky_scales(0, 1, {4.0})[0].factor)) << "halted before";
  EXPECT_EQ(sticky_scales(0, 0, {4.0})[0].factor, 1) << "the host has set the state to 0";
}

TEST(MovingAverage, AgreesWithTheNaiveLoop) {
  for (const std::int64_t n : {0, 1, 5, 64, 101}) {
    OpCase c{.name = text("moving_average(", n, ")"),
             .op = std::make_shared<MovingAverageOp>(0.9),
             .inputs = {{DType::kF32, {n}}, {DType::kF32, {n}}, {DType::kF32, {}}},
             .reference =
                 [n](const Tensors& in) {
                   Tensors out{in[0]};
                   for (std::int64_t i = 0; i < n; ++i) {
                     if (std::isfinite(in[2][0])) out[0][i] = 0.9 * in[0][i] + 0.1 * in[1][i];
                   }
                   return out;
                 },
             .bf16 = false,
             .gradient = false};
    for (const double scale : {1.0, kNan, kInfinity}) {
      c.values = {{}, {}, {scale}};
      check_op(c);
    }
  }
}

TEST(GradientOps, RefuseWrongTypes) {
  Graph graph;
  const ValueId matrix = graph.input("a", {DType::kF32, {2, 3}});
  const ValueId flat = graph.input("b", {DType::kF32, {6}});
  const ValueId state = graph.state("c", {DType::kF32, {5}});
  const ValueId scale = graph.input("d", {DType::kF32, {}});
  EXPECT_THROW(square_sums(graph, matrix, {0, 6}), Error);
  EXPECT_THROW(square_sums(graph, flat, {0, 5}), Error);
  EXPECT_THROW(gradient_scale(graph, matrix, 0), Error);
  EXPECT_THROW(gradient_scale(graph, flat, -1), Error);
  EXPECT_THROW(sticky_gradient_scale(graph, flat, state, 0), Error);
  EXPECT_THROW(moving_average(graph, state, flat, scale, 0.9), Error);
  EXPECT_THROW(moving_average(graph, state, state, flat, 0.9), Error);
}

}  // namespace
}  // namespace lockstep::testing
