// The configuration: defaults, what is refused, and how it is written out.
#include "launcher/config.h"

#include <gtest/gtest.h>

#include <limits>

#include "core/base/error.h"
#include "launcher/toml.h"

namespace lockstep {
namespace {

using List = Setting::List;
using Value = decltype(Setting::value);

// A layer that is never built: the configuration only makes it.
class NamedLayer final : public Layer {
 public:
  explicit NamedLayer(std::string kind) : kind_(std::move(kind)) {}
  std::string kind() const override { return kind_; }
  ValueId build(LayerContext&, std::span<const ValueId> inputs) const override { return inputs[0]; }

 private:
  std::string kind_;
};

LayerRegistry registry() {
  LayerRegistry layers;
  layers.add("dense", [](Settings& settings) {
    settings.integer("units");
    settings.word("activation", "linear");
    return std::make_shared<NamedLayer>("dense");
  });
  layers.add("softmax", [](Settings&) { return std::make_shared<NamedLayer>("softmax"); });
  return layers;
}

Setting word(const std::string& text) {
  return {text, "c.toml:7"};
}
Setting integer(std::int64_t value) {
  return {value, "c.toml:7"};
}
Setting real(double value) {
  return {value, "c.toml:7"};
}
Setting words(const std::vector<std::string>& texts) {
  List list;
  for (const std::string& text : texts) list.push_back(word(text));
  return {list, "c.toml:7"};
}

// A configuration with the keys that must be there, and one layer.
class Tree {
 public:
  explicit Tree(const std::string& loss = "softmax_cross_entropy") : root_("", "c.toml") {
    set("data.train", word("digits"));
    set("train.loss", word(loss));
    auto layer = std::make_shared<Settings>("layer[0]", "c.toml:5");
    layer->set("type", word("dense"));
    layer->set("units", integer(10));
    layers_.push_back(layer);
  }

  // `key` is "section.key".
  Tree& set(const std::string& key, Setting setting) {
    const std::size_t dot = key.find('.');
    const std::string section = key.substr(0, dot);
    if (!sections_.contains(section)) {
      sections_[section] = std::make_shared<Settings>(section, "c.toml:1");
      root_.set(section, {sections_[section], "c.toml:1"});
    }
    sections_[section]->set(key.substr(dot + 1), std::move(setting));
    return *this;
  }
  Tree& set_layer(const std::string& key, Setting setting) {
    layers_[0]->set(key, std::move(setting));
    return *this;
  }
  Settings& root() {
    List list;
    for (const auto& layer : layers_) list.push_back({layer, layer->place()});
    root_.set("layer", {list, "c.toml:5"});
    return root_;
  }
  Config read() { return read_config(root(), registry()); }
  std::string refusal() {
    try {
      read();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kBadInput) << error.what();
      return error.what();
    }
    return "nothing was thrown";
  }

 private:
  Settings root_;
  std::map<std::string, std::shared_ptr<Settings>> sections_;
  std::vector<std::shared_ptr<Settings>> layers_;
};

TEST(Config, FillsInEveryDefault) {
  const Config config = Tree().read();
  EXPECT_EQ(config.run.seed, 42u);
  EXPECT_EQ(config.run.threads, 1);
  EXPECT_EQ(config.run.deadline, 300.0);
  EXPECT_EQ(config.data.train, std::vector<std::string>{"digits"});
  EXPECT_TRUE(config.data.test.empty());
  EXPECT_EQ(config.data.split, 0.2);
  EXPECT_FALSE(config.data.stratified);
  EXPECT_EQ(config.data.inputs, std::vector<std::string>{"x"});
  EXPECT_EQ(config.data.target, "y");
  EXPECT_EQ(config.data.normalize.kind, "none");
  EXPECT_TRUE(config.data.shuffle);
  EXPECT_EQ(config.data.cache, CacheKind::kAuto);
  EXPECT_EQ(config.train.epochs, 10);
  EXPECT_EQ(config.train.global_batch, 32);
  EXPECT_EQ(config.train.microbatches, kMicrobatchesAuto);
  EXPECT_EQ(config.train.optimizer->kind(), "adam");
  EXPECT_EQ(config.train.loss->kind(), "softmax_cross_entropy");
  EXPECT_EQ(config.train.learning_rate.options().initial, 0.001);
  EXPECT_EQ(config.train.precision, TrainPrecision::kF32);
  EXPECT_EQ(config.train.reduction, ReductionKind::kExact);
  EXPECT_EQ(config.evaluate.every, 1);
  EXPECT_EQ(config.evaluate.metrics, std::vector<std::string>{"accuracy"});
  EXPECT_EQ(config.checkpoint.keep, 3);
  EXPECT_EQ(config.model.layers().size(), 1u);
}

TEST(Config, DefaultMetricsGoByTheLoss) {
  EXPECT_EQ(Tree("mean_squared_error").read().evaluate.metrics,
            (std::vector<std::string>{"mae", "r2"}));
}

TEST(Config, ReadsEverySection) {
  Tree tree;
  tree.set("run.seed", integer(7)).set("run.time_limit", integer(60));
  tree.set("data.test", words({"a.h5", "b.h5"})).set("data.inputs", words({"pixels"}));
  tree.set("data.sample_shape", {List{integer(8), integer(8), integer(1)}, "c.toml:7"});
  tree.set("data.normalize", integer(16)).set("data.shuffle", {false, "c.toml:7"});
  tree.set("train.microbatches", word("world")).set("train.optimizer", word("sgd"));
  tree.set("train.learning_rate", real(0.5)).set("train.precision", word("bf16"));
  tree.set("train.clip_norm", real(1.5)).set("train.reduction", word("fast"));
  tree.set("evaluate.metrics", words({"top_3", "f1"})).set("checkpoint.every_steps", integer(100));
  const Config config = tree.read();
  EXPECT_EQ(config.run.seed, 7u);
  EXPECT_EQ(config.run.time_limit, 60.0);
  EXPECT_EQ(config.data.test, (std::vector<std::string>{"a.h5", "b.h5"}));
  EXPECT_EQ(config.data.split, 0.0);
  EXPECT_EQ(config.data.sample_shape, (std::vector<std::int64_t>{8, 8, 1}));
  EXPECT_EQ(config.data.normalize.kind, "scale");
  EXPECT_EQ(config.data.normalize.factor, 1.0 / 16);
  EXPECT_FALSE(config.data.shuffle);
  EXPECT_EQ(config.model.inputs()[0].name, "pixels");
  EXPECT_EQ(config.train.microbatches, kMicrobatchesWorld);
  EXPECT_EQ(config.train.optimizer->kind(), "sgd");
  EXPECT_EQ(config.train.learning_rate.options().initial, 0.5);
  EXPECT_EQ(config.train.precision, TrainPrecision::kBF16);
  EXPECT_EQ(config.train.reduction, ReductionKind::kFast);
  EXPECT_EQ(config.train.clip_norm, 1.5);
  EXPECT_EQ(config.evaluate.metrics, (std::vector<std::string>{"top_3", "f1"}));
  EXPECT_EQ(config.checkpoint.every_steps, 100);
}

TEST(Config, NormalizeTakesAxis) {
  Tree tree;
  tree.set("data.normalize", word("standard")).set("data.normalize_axis", word("array"));
  const Config config = tree.read();
  EXPECT_EQ(config.data.normalize.kind, "standard");
  EXPECT_EQ(config.data.normalize.axis, "array");
}

TEST(Config, MicrobatchesOfAWorld) {
  const auto microbatches = [](Setting setting, std::int64_t batch, std::int64_t world_size) {
    return Tree()
        .set("train.microbatches", std::move(setting))
        .set("train.global_batch", integer(batch))
        .read()
        .microbatches(world_size);
  };
  EXPECT_EQ(microbatches(word("auto"), 32, 1), 8);
  EXPECT_EQ(microbatches(word("auto"), 32, 12), 12);
  EXPECT_EQ(microbatches(word("auto"), 32, 64), 32);
  EXPECT_EQ(microbatches(word("auto"), 3, 1), 3);
  EXPECT_EQ(microbatches(word("world"), 32, 1), 1);
  EXPECT_EQ(microbatches(word("world"), 32, 4), 4);
  EXPECT_EQ(microbatches(integer(2), 32, 4), 2);
}

struct Refusal {
  std::string key;
  Setting setting;
  std::string message;
};

TEST(Config, RefusesImpossibleValuesWithPlaceFoundAndExpected) {
  const std::vector<Refusal> cases = {
      {"run.seed", integer(-1), "run.seed: found -1, expected an integer of at least 0"},
      {"run.threads", integer(0), "run.threads: found 0, expected an integer of at least 1"},
      {"run.deadline", real(0), "run.deadline: found 0, expected a number above 0"},
      {"run.time_limit", real(-1), "run.time_limit: found -1, expected a number of at least 0"},
      {"run.time_limit", real(std::numeric_limits<double>::infinity()),
       "run.time_limit: found inf, expected a number of at least 0"},
      {"data.train", word(""), "data.train: found an empty text, expected a name"},
      {"data.train", words({"a", "a"}), "data.train: \"a\" is named twice"},
      {"data.split", real(1.5),
       "data.split: found 1.5, expected the part that is held out, at least 0 and below 1"},
      {"data.split", real(-0.5),
       "data.split: found -0.5, expected the part that is held out, at least 0 and below 1"},
      {"data.inputs", words({}), "data.inputs: found none, expected at least one array"},
      {"data.target", word(""), "data.target: found an empty text, expected an array"},
      {"data.sample_shape",
       {List{integer(8), integer(0)}, "c.toml:7"},
       "data.sample_shape: found the extent 0, expected at least 1"},
      {"data.sample_shape",
       {List(8, integer(1)), "c.toml:7"},
       "data.sample_shape: found 8 extents, expected at most 7"},
      {"data.normalize", word("standart"),
       "data.normalize: \"standart\" is not known; did you mean \"standard\"?; valid: \"none\", "
       "\"standard\", \"minmax\""},
      {"data.normalize", integer(0), "data.normalize: found 0, expected a number above 0"},
      {"data.normalize_axis", word("array"),
       "data.normalize_axis: is used only where normalize is \"standard\" or \"minmax\""},
      {"data.classes", integer(-2), "data.classes: found -2, expected an integer of at least 0"},
      {"data.memory", word("4 gigs"),
       "data.memory: found \"4 gigs\", expected a number of bytes, or one with a unit: \"512 MiB\", \"4 GB\""},
      {"data.shufle", {true, "c.toml:7"}, "data.shufle: unknown key; did you mean \"shuffle\"?"},
      {"train.epochs", integer(-3), "train.epochs: found -3, expected an integer of at least 1"},
      {"train.epochs", real(2.5), "train.epochs: expected an integer, found 2.5"},
      {"train.steps", integer(-1), "train.steps: found -1, expected an integer of at least 0"},
      {"train.global_batch", integer(0),
       "train.global_batch: found 0, expected an integer of at least 1"},
      {"train.microbatches", integer(33),
       "train.microbatches: found 33, expected at most the global batch of 32 samples"},
      {"train.microbatches", integer(0),
       "train.microbatches: found 0, expected an integer of at least 1"},
      {"train.microbatches", word("wrld"),
       "train.microbatches: \"wrld\" is not known; did you mean \"world\"?; valid: \"auto\", "
       "\"world\""},
      {"train.microbatches", real(2.5), "train.microbatches: expected an integer, found 2.5"},
      {"train.precision", word("bf61"),
       "train.precision: \"bf61\" is not known; did you mean \"bf16\"?; valid: \"f32\", \"tf32\", \"bf16\""},
      {"train.reduction", word("rough"),
       "train.reduction: \"rough\" is not known; valid: \"exact\", \"fast\""},
      {"train.clip_norm", real(-1), "train.clip_norm: found -1, expected a number of at least 0"},
      {"evaluate.every", integer(-1),
       "evaluate.every: found -1, expected an integer of at least 0"},
      {"evaluate.batch", integer(0), "evaluate.batch: found 0, expected an integer of at least 1"},
      {"checkpoint.keep", integer(0),
       "checkpoint.keep: found 0, expected an integer of at least 1"},
      {"checkpoint.every_steps", integer(-1),
       "checkpoint.every_steps: found -1, expected an integer of at least 0"},
  };
  for (const Refusal& refused : cases) {
    EXPECT_EQ(Tree().set(refused.key, refused.setting).refusal(), "c.toml:7: " + refused.message);
  }
}

TEST(Config, RefusesWrongMetrics) {
  EXPECT_NE(Tree()
                .set("evaluate.metrics", words({"acuracy"}))
                .refusal()
                .find("c.toml:7: evaluate.metrics: metric \"acuracy\" is not known; did you mean "
                      "\"accuracy\"?"),
            std::string::npos);
  EXPECT_NE(Tree().set("evaluate.metrics", words({"rmse"})).refusal().find("does not suit"),
            std::string::npos);
}

TEST(Config, InitialWeightsAreAPathOrATable) {
  EXPECT_FALSE(Tree().read().train.initial_weights.has_value());
  const Config path = Tree().set("train.initial_weights", word("runs/digits")).read();
  ASSERT_TRUE(path.train.initial_weights.has_value());
  EXPECT_EQ(path.train.initial_weights->from, "runs/digits");
  EXPECT_EQ(path.train.initial_weights->checkpoint, "newest");
  EXPECT_NE(path.toml.find("initial_weights = \"runs/digits\"\n"), std::string::npos);
  EXPECT_EQ(Tree().set("train.initial_weights", word("")).refusal(),
            "c.toml:7: train.initial_weights: found an empty text, expected a path");

  const auto table = [](const std::string& key, Setting value) {
    auto made = std::make_shared<Settings>("train.initial_weights", "c.toml:7");
    made->set(key, std::move(value));
    return Setting{made, "c.toml:7"};
  };
  Setting whole = table("from", word("w.h5"));
  std::get<std::shared_ptr<Settings>>(whole.value)->set("except", word("head"));
  const Config more = Tree().set("train.initial_weights", whole).read();
  EXPECT_EQ(more.train.initial_weights->except, std::vector<std::string>{"head"});
  EXPECT_NE(more.toml.find("[train.initial_weights]\nfrom = \"w.h5\"\ncheckpoint = \"newest\"\nexcept = "),
            std::string::npos);
  EXPECT_NE(Tree().set("train.initial_weights", table("except", word("head"))).refusal().find("train.initial_weights.from"),
            std::string::npos);
}

TEST(Config, FreezesLayersByPattern) {
  const Config config = Tree().set("train.freeze", words({"den*"})).read();
  EXPECT_FALSE(config.model.layers()[0].trainable);
  EXPECT_EQ(Tree().set("train.freeze", words({"dence"})).refusal(),
            "c.toml:7: train.freeze: no layer is named \"dence\"; did you mean \"dense\"?");
  const Config own = Tree().set_layer("trainable", {false, "c.toml:7"}).read();
  EXPECT_FALSE(own.model.layers()[0].trainable);
  EXPECT_NE(own.toml.find("trainable = false\n"), std::string::npos);
  EXPECT_TRUE(Tree().read().model.layers()[0].trainable);
}

TEST(Config, EarlyStoppingHasDefaults) {
  EXPECT_FALSE(Tree().read().train.early_stopping.has_value());
  EXPECT_EQ(Tree().read().toml.find("early_stopping"), std::string::npos);
  Tree tree;
  tree.set("train.early_stopping", {std::make_shared<Settings>("train.early_stopping"), "c.toml:7"});
  const Config config = tree.read();
  ASSERT_TRUE(config.train.early_stopping.has_value());
  EXPECT_EQ(config.train.early_stopping->metric, "loss");
  EXPECT_EQ(config.train.early_stopping->patience, 3);
  EXPECT_EQ(config.train.early_stopping->min_delta, 0.0);
  EXPECT_NE(config.toml.find("[train.early_stopping]\nmetric = \"loss\"\npatience = 3\nmin_delta = 0.0\n"),
            std::string::npos);
}

TEST(Config, EarlyStoppingNeedsItsMetricAndEvaluations) {
  const auto tree = [](const std::string& key, Setting value) {
    auto table = std::make_shared<Settings>("train.early_stopping", "c.toml:7");
    table->set(key, std::move(value));
    Tree made;
    made.set("train.early_stopping", {table, "c.toml:7"});
    return made;
  };
  EXPECT_EQ(tree("metric", word("accuracy")).read().train.early_stopping->metric, "accuracy");
  EXPECT_EQ(tree("metric", word("f1")).refusal(),
            "c.toml:7: train.early_stopping.metric: \"f1\" is not evaluated; expected \"loss\" or one of "
            "evaluate.metrics");
  EXPECT_EQ(tree("metric", word("confusion_matrix")).set("evaluate.metrics", word("confusion_matrix")).refusal(),
            "c.toml:7: train.early_stopping.metric: metric \"confusion_matrix\" is no single number, so none of its "
            "values is the best; expected another metric");
  EXPECT_EQ(tree("patience", integer(0)).refusal(),
            "c.toml:7: train.early_stopping.patience: found 0, expected an integer of at least 1");
  EXPECT_EQ(tree("min_delta", real(-1)).refusal(),
            "c.toml:7: train.early_stopping.min_delta: found -1, expected a number of at least 0");
  EXPECT_EQ(tree("patience", integer(2)).set("data.split", real(0)).refusal(),
            "c.toml:7: train.early_stopping: needs samples to evaluate; expected data.test, or data.split above 0");
  EXPECT_EQ(tree("patience", integer(2)).set("evaluate.every", integer(0)).refusal(),
            "c.toml:7: train.early_stopping: needs evaluations while it trains; expected evaluate.every of at least 1");
  EXPECT_EQ(tree("patiens", integer(2)).refusal(),
            "c.toml:7: train.early_stopping.patiens: unknown key; did you mean \"patience\"?");
}

TEST(Config, SplitIsRefusedBesideTest) {
  EXPECT_EQ(Tree().set("data.test", word("t.h5")).set("data.split", real(0.1)).refusal(),
            "c.toml:7: data.split: is used only where data.test is not given");
}

TEST(Config, NamesTheMisspellingRatherThanWhatIsMissing) {
  Tree tree;
  Settings root("", "c.toml");
  root.set("trian", word("x"));
  EXPECT_THROW(
      {
        try {
          read_config(root, registry());
        } catch (const Error& error) {
          EXPECT_STREQ(error.what(), "c.toml:7: trian: unknown section; did you mean \"train\"?");
          throw;
        }
      },
      Error);
  auto train = std::make_shared<Settings>("train", "c.toml:2");
  train->set("lossy", word("mean_squared_error"));
  Tree misspelt;
  misspelt.root().set("train", {train, "c.toml:2"});
  EXPECT_EQ(misspelt.refusal(), "c.toml:7: train.lossy: unknown key; did you mean \"loss\"?");
}

TEST(Config, NamesWhatIsMissing) {
  auto empty = std::make_shared<Settings>("data", "c.toml:2");
  Tree tree;
  tree.root().set("data", {empty, "c.toml:2"});
  EXPECT_EQ(tree.refusal(),
            "c.toml:2: data.train: missing; expected the name of a data set or the path of an HDF5 "
            "file");
}

TEST(Config, RefusesProbabilitiesBeforeALossOfLogits) {
  const std::string refusal = Tree().set_layer("activation", word("softmax")).refusal();
  EXPECT_EQ(
      refusal,
      "c.toml:7: layer[0].activation: found \"softmax\" at the end of the model, but the loss "
      "softmax_cross_entropy takes logits and applies it itself; expected no activation here");
  EXPECT_EQ(Tree("mean_squared_error").set_layer("activation", word("softmax")).refusal(),
            "nothing was thrown");
}

TEST(Config, WritesEveryDefault) {
  const Config config = Tree().read();
  for (const char* line :
       {"[run]\nseed = 42\nthreads = 1\ndeadline = 300.0\ncheck_every = 1000\ntime_limit = 0.0\n", "split = 0.2\n",
        "train = \"digits\"\n", "microbatches = \"auto\"\n", "metrics = [\"accuracy\"]\n",
        "[checkpoint]\nevery_steps = 0\nkeep = 3\n",
        "[[layer]]\ntype = \"dense\"\nname = \"dense\"\ninputs = [\"x\"]\nunits = 10\n"
        "activation = \"linear\"\n"}) {
    EXPECT_NE(config.toml.find(line), std::string::npos) << line << "\nin\n" << config.toml;
  }
}

TEST(Config, ReadsBackWhatItWrites) {
  const auto written = [](const std::string& toml) {
    const std::shared_ptr<Settings> root = parse_toml(toml, "c.toml");
    return read_config(*root, registry());
  };
  const Config first = written(R"(
[data]
train = ["a.h5", "b \"quoted\".h5"]
inputs = ["pixels", "more"]
normalize = "minmax"
weights = "w"
[train]
loss = "softmax_cross_entropy"
label_smoothing = 0.1
global_batch = 48
microbatches = 4
clip_value = 0.5
[train.optimizer]
type = "rmsprop"
momentum = 0.9
[train.learning_rate]
schedule = "step"
boundaries = [100, 200]
[[layer]]
type = "dense"
name = "hidden"
units = 4
[[layer]]
type = "dense"
inputs = ["hidden", "more"]
units = 3
)");
  const Config second = written(first.toml);
  EXPECT_EQ(second.toml, first.toml);
  EXPECT_EQ(second.data.train, first.data.train);
  EXPECT_EQ(second.data.inputs, first.data.inputs);
  EXPECT_EQ(second.train.microbatches, 4);
  EXPECT_EQ(second.train.optimizer->kind(), "rmsprop");
  EXPECT_EQ(second.train.optimizer->options().clip_value, 0.5);
  EXPECT_EQ(second.train.learning_rate.options().boundaries, (std::vector<double>{100, 200}));
  EXPECT_EQ(second.train.loss->options().label_smoothing, 0.1);
  EXPECT_EQ(second.model.layers()[1].name, "dense");
  EXPECT_EQ(second.model.layers()[1].inputs, (std::vector<std::string>{"hidden", "more"}));
  EXPECT_EQ(config_hash(second), config_hash(first));
}

TEST(Config, HashDependsOnMeaningOnly) {
  Tree plain, reordered, other;
  reordered.set("train.epochs", integer(10)).set("run.seed", integer(42));
  other.set("train.epochs", integer(11));
  const std::string hash = config_hash(plain.read());
  EXPECT_EQ(hash.size(), 64u);
  EXPECT_EQ(hash, config_hash(reordered.read()));
  EXPECT_NE(hash, config_hash(other.read()));
}

TEST(ToToml, WritesValuesThenTables) {
  Settings tree;
  auto child = std::make_shared<Settings>();
  child->set("deep key", integer(1));
  child->set("list", {List{real(0.1), integer(2), word("a\"b\\c\n")}, ""});
  tree.set("table", {child, ""});
  tree.set("flag", {true, ""});
  tree.set("small", real(1e-9));
  tree.set("whole", real(3.0));
  tree.set("endless", real(std::numeric_limits<double>::infinity()));
  tree.set("none", {List{}, ""});
  tree.set("many", {List{{child, ""}, {std::make_shared<Settings>(), ""}}, ""});
  EXPECT_EQ(to_toml(tree),
            "flag = true\nsmall = 1e-09\nwhole = 3.0\nendless = inf\nnone = []\n"
            "\n[table]\n\"deep key\" = 1\nlist = [0.1, 2, \"a\\\"b\\\\c\\u000a\"]\n"
            "\n[[many]]\n\"deep key\" = 1\nlist = [0.1, 2, \"a\\\"b\\\\c\\u000a\"]\n"
            "\n[[many]]\n");
}

}  // namespace
}  // namespace lockstep
