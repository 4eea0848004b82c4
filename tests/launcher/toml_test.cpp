// TOML as settings: values, places, overrides, and what is said of files that are wrong.
#include "launcher/toml.h"

#include <gtest/gtest.h>

#include "core/base/file.h"
#include "tests/core/temporary_directory.h"
#include "tests/launcher/message.h"

namespace lockstep {
namespace {

constexpr const char* kConfig = R"(# a comment
[train]
epochs = 3
learning_rate = 0.5
optimizer = "adam"
nested = { b = 1, a = true }

[data]
shape = [8, 8, 1]

[[layer]]
type = "dense"
units = 4

[[layer]]
type = "dense"
name = "last"
units = 2
)";

using Words = std::vector<std::string>;

std::string message(const std::string& content, const Words& overrides = {}) {
  return refused([&] { parse_toml(content, "c.toml", overrides); });
}

TEST(Toml, ReadsEveryKindOfValue) {
  const auto root = parse_toml(kConfig, "c.toml");
  Settings& train = root->table("train");
  EXPECT_EQ(train.integer("epochs"), 3);
  EXPECT_EQ(train.real("learning_rate"), 0.5);
  EXPECT_EQ(train.word("optimizer"), "adam");
  EXPECT_EQ(train.table("nested").integer("b"), 1);
  EXPECT_TRUE(train.table("nested").boolean("a", false));
  EXPECT_EQ(root->table("data").integer_list("shape", {}), (std::vector<std::int64_t>{8, 8, 1}));
  const auto layers = root->tables("layer");
  ASSERT_EQ(layers.size(), 2u);
  EXPECT_EQ(layers[0]->word("type"), "dense");
  EXPECT_EQ(layers[0]->integer("units"), 4);
  EXPECT_EQ(layers[1]->integer("units"), 2);
}

TEST(Toml, KeepsTheOrderOfTheFile) {
  const auto root = parse_toml(kConfig, "c.toml");
  EXPECT_EQ(root->keys(), (Words{"train", "data", "layer"}));
  EXPECT_EQ(root->table("train").keys(), (Words{"epochs", "learning_rate", "optimizer", "nested"}));
  EXPECT_EQ(root->table("train").table("nested").keys(), (Words{"b", "a"}));
}

TEST(Toml, SaysWhereAValueStands) {
  const auto root = parse_toml(kConfig, "dir/c.toml");
  EXPECT_EQ(root->tables("layer")[1]->path(), "layer[1]");
  EXPECT_EQ(refused([&] { root->tables("layer")[1]->integer("name"); }),
            "dir/c.toml:17: layer[1].name: expected an integer, found \"last\"");
  EXPECT_EQ(refused([&] { root->table("train").integer("learning_rate"); }),
            "dir/c.toml:4: train.learning_rate: expected an integer, found 0.5");
  EXPECT_EQ(refused([&] { root->table("data").word("target"); }),
            "dir/c.toml:8: data.target: missing; expected a text");
}

TEST(Toml, UnknownKeysAreSeenByTheReader) {
  const auto root = parse_toml("[train]\nepochs = 1\nepocs = 2\n", "c.toml");
  root->table("train").integer("epochs");
  EXPECT_EQ(refused([&] { root->finish(); }),
            "c.toml:3: train.epocs: unknown key; did you mean \"epochs\"?");
}

TEST(Toml, OverridesChangeAddAndCreate) {
  const auto root = parse_toml(
      kConfig, "c.toml",
      {"train.epochs=7", "train.loss=mse", "train.learning_rate=1e-3", "new.deep.key=true",
       "layer.0.units=5", "layer.last.units=6", "layer.1.activation=relu", "data.shape=[2,3]",
       "train.nested.a=false", "top=a = b"});
  Settings& train = root->table("train");
  EXPECT_EQ(train.integer("epochs"), 7);
  EXPECT_EQ(train.word("loss"), "mse");
  EXPECT_EQ(train.real("learning_rate"), 1e-3);
  EXPECT_FALSE(train.table("nested").boolean("a", true));
  EXPECT_TRUE(root->table("new").table("deep").boolean("key", false));
  EXPECT_EQ(root->tables("layer")[0]->integer("units"), 5);
  EXPECT_EQ(root->tables("layer")[1]->integer("units"), 6);
  EXPECT_EQ(root->tables("layer")[1]->word("activation"), "relu");
  EXPECT_EQ(root->table("data").integer_list("shape", {}), (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(root->word("top"), "a = b");
}

TEST(Toml, TheLastOverrideWins) {
  const auto root = parse_toml(kConfig, "c.toml", {"train.epochs=7", "train.epochs=8"});
  EXPECT_EQ(root->table("train").integer("epochs"), 8);
}

TEST(Toml, ValuesThatAreNoTomlAreTexts) {
  const auto root =
      parse_toml("", "c.toml", {"a=adam", "b=\"quoted\"", "c=", "d=1\nx = 2", "e=[1, 2"});
  EXPECT_EQ(root->word("a"), "adam");
  EXPECT_EQ(root->word("b"), "quoted");
  EXPECT_EQ(root->word("c"), "");
  EXPECT_EQ(root->word("d"), "1\nx = 2");
  EXPECT_EQ(root->word("e"), "[1, 2");
}

TEST(Toml, OverriddenValuesAreAtSet) {
  const auto root = parse_toml(kConfig, "c.toml", {"train.epochs=many", "tain.epochs=1"});
  EXPECT_EQ(refused([&] { root->table("train").integer("epochs"); }),
            "--set: train.epochs: expected an integer, found \"many\"");
  root->table("data");
  root->tables("layer");
  for (const char* key : {"learning_rate", "optimizer", "nested"}) root->table("train").find(key);
  for (const char* key : {"a", "b"}) root->table("train").table("nested").find(key);
  root->table("data").find("shape");
  for (Settings* layer : root->tables("layer")) {
    for (const char* key : {"type", "name", "units"}) layer->find(key);
  }
  EXPECT_EQ(refused([&] { root->finish(); }), "--set: tain: unknown key; did you mean \"train\"?");
}

TEST(Toml, WrongOverridesAreRefused) {
  EXPECT_EQ(message(kConfig, {"train.epochs"}),
            "--set train.epochs: expected key=value, for example train.epochs=5");
  EXPECT_EQ(message(kConfig, {"train..epochs=1"}),
            "--set train..epochs=1: expected names separated by single dots before the =");
  EXPECT_EQ(message(kConfig, {"=1"}),
            "--set =1: expected names separated by single dots before the =");
  EXPECT_EQ(message(kConfig, {"train.epochs.x=1"}),
            "--set train.epochs.x: train.epochs is not a table, it has no keys");
  EXPECT_EQ(
      message(kConfig, {"layer.lsat.units=1"}),
      "--set layer.lsat.units: layer has 2 tables, numbered from 0, and none is 'lsat'; did you "
      "mean 'last'?");
  EXPECT_EQ(message(kConfig, {"layer.2.units=1"}),
            "--set layer.2.units: layer has 2 tables, numbered from 0, and none is '2'");
  EXPECT_EQ(message(kConfig, {"layer.0=1"}),
            "--set layer.0: layer is a list of tables; say which key of which one");
}

TEST(Toml, ErrorsOfSyntaxHaveFileLineAndColumn) {
  EXPECT_TRUE(message("[train\n").starts_with("c.toml:1:7: ")) << message("[train\n");
  EXPECT_TRUE(message("\na = \n").starts_with("c.toml:2:")) << message("\na = \n");
  EXPECT_TRUE(message("a = 1\nb = 2\na = 3\n").starts_with("c.toml:3:"))
      << message("a = 1\nb = 2\na = 3\n");
  EXPECT_TRUE(message("a = [1, 2\n").starts_with("c.toml:")) << message("a = [1, 2\n");
  EXPECT_TRUE(message("a = \"\xff\"\n").starts_with("c.toml:1:")) << message("a = \"\xff\"\n");
  EXPECT_EQ(message("[a]\nwhen = 2024-05-06\n"),
            "c.toml:2: a.when: a date or time is no setting; put a text in quotes");
}

TEST(Toml, FilesThatCannotBeReadAreNamed) {
  const TemporaryDirectory directory;
  const std::string path = directory.path("c.toml");
  EXPECT_EQ(refused([&] { read_toml(path); }), path + ": cannot open: No such file or directory");
  local_files().write_atomic(path, " \n\t\n");
  EXPECT_EQ(refused([&] { read_toml(path); }),
            path + ": the file is empty; expected a configuration with [data], [train], [[layer]]");
  local_files().write_atomic(path, "[a]\nb = 1\n");
  EXPECT_EQ(read_toml(path, {"a.b=2"})->table("a").integer("b"), 2);
}

}  // namespace
}  // namespace lockstep
