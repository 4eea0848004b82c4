// Typed reads of a tree of settings, and the messages for what is wrong in it.
#include "core/base/settings.h"

#include <gtest/gtest.h>

#include <limits>

#include "core/base/error.h"

namespace lockstep {
namespace {

using List = Setting::List;

template <typename Value>
Setting at(int line, Value value) {
  return {std::move(value), "train.toml:" + std::to_string(line)};
}

Setting integer_at(int line, std::int64_t value) {
  return at(line, value);
}
Setting word_at(int line, const char* value) {
  return at(line, std::string(value));
}

// The message of the bad_input that `action` throws.
template <typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Settings, ReadsEveryType) {
  Settings train("train", "train.toml:1");
  train.set("shuffle", at(2, true));
  train.set("epochs", integer_at(3, 12));
  train.set("rate", at(4, 0.5));
  train.set("loss", word_at(5, "mean_squared_error"));
  train.set("sizes", at(6, List{integer_at(6, 3), integer_at(6, 5)}));
  train.set("rates", at(7, List{integer_at(7, 1), at(7, 0.25)}));
  train.set("names", at(8, List{word_at(8, "a"), word_at(8, "b")}));
  EXPECT_TRUE(train.boolean("shuffle", false));
  EXPECT_EQ(train.integer("epochs"), 12);
  EXPECT_EQ(train.real("epochs"), 12.0);
  EXPECT_EQ(train.real("rate"), 0.5);
  EXPECT_EQ(train.word("loss"), "mean_squared_error");
  EXPECT_EQ(train.choice("loss", {"mean_squared_error"}, ""), "mean_squared_error");
  EXPECT_EQ(train.integers("sizes", 2, {}), (std::vector<std::int64_t>{3, 5}));
  EXPECT_EQ(train.integers("epochs", 2, {}), (std::vector<std::int64_t>{12, 12}));
  EXPECT_EQ(train.integer_list("sizes", {}), (std::vector<std::int64_t>{3, 5}));
  EXPECT_EQ(train.integer_list("epochs", {}), (std::vector<std::int64_t>{12}));
  EXPECT_EQ(train.real_list("rates", {}), (std::vector<double>{1.0, 0.25}));
  EXPECT_EQ(train.real_list("rate", {}), (std::vector<double>{0.5}));
  EXPECT_EQ(train.words("names", {}), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(train.words("loss", {}), (std::vector<std::string>{"mean_squared_error"}));
  EXPECT_NO_THROW(train.finish());
  EXPECT_EQ(train.keys().front(), "shuffle");
}

TEST(Settings, GivesFallbacksForMissingKeys) {
  Settings empty;
  EXPECT_TRUE(empty.boolean("a", true));
  EXPECT_EQ(empty.integer("a", 7), 7);
  EXPECT_EQ(empty.real("a", 0.5), 0.5);
  EXPECT_EQ(empty.word("a", "w"), "w");
  EXPECT_EQ(empty.choice("a", {"x"}, "x"), "x");
  EXPECT_EQ(empty.integers("a", 2, {1, 2}), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(empty.words("a", {"v"}), (std::vector<std::string>{"v"}));
  EXPECT_TRUE(empty.tables("layer").empty());
  EXPECT_EQ(&empty.table("data"), &empty.table("data"));
  EXPECT_FALSE(empty.has("data"));
  EXPECT_EQ(empty.find("a"), nullptr);
  EXPECT_EQ(message_of([&] { empty.table("data").word("train"); }),
            "data.train: missing; expected a text");
}

TEST(Settings, NamesPlaceKeyAndTypeOfAWrongValue) {
  Settings layer("layer[1]", "train.toml:10");
  layer.set("units", word_at(11, "many"));
  layer.set("rate", at(12, std::numeric_limits<double>::quiet_NaN()));
  layer.set("size", at(13, List{integer_at(13, 3)}));
  layer.set("epochs", at(14, 3.0));
  layer.set("names", at(15, List{word_at(15, "a"), integer_at(15, 1)}));
  EXPECT_EQ(message_of([&] { layer.integer("units"); }),
            "train.toml:11: layer[1].units: expected an integer, found \"many\"");
  EXPECT_EQ(message_of([&] { layer.boolean("units", true); }),
            "train.toml:11: layer[1].units: expected true or false, found \"many\"");
  EXPECT_EQ(message_of([&] { layer.real("rate"); }),
            "train.toml:12: layer[1].rate: expected a number, found nan");
  EXPECT_EQ(message_of([&] { layer.integers("size", 2, {}); }),
            "train.toml:13: layer[1].size: expected an integer or a list of 2 integers, found a "
            "list of 1");
  EXPECT_EQ(message_of([&] { layer.integer("epochs"); }),
            "train.toml:14: layer[1].epochs: expected an integer, found 3 (a real number)");
  EXPECT_EQ(
      message_of([&] { layer.words("names", {}); }),
      "train.toml:15: layer[1].names: expected a text or a list of texts, found a list with 1");
  EXPECT_EQ(message_of([&] { layer.table("size"); }),
            "train.toml:13: layer[1].size: expected a table, found a list of 1");
  EXPECT_EQ(message_of([&] { layer.tables("units"); }),
            "train.toml:11: layer[1].units: expected a list of tables ([[layer[1].units]]), found "
            "\"many\"");
  EXPECT_EQ(message_of([&] { layer.word("kind"); }),
            "train.toml:10: layer[1].kind: missing; expected a text");
  EXPECT_EQ(message_of([&] { layer.refuse("units", "is odd"); }),
            "train.toml:11: layer[1].units: is odd");
}

TEST(Settings, ChoiceNamesTheNearestWord) {
  Settings train("train", "train.toml:1");
  train.set("precision", word_at(2, "bp16"));
  EXPECT_EQ(message_of([&] {
              train.choice("precision", {"fp32", "bf16"}, "fp32");
            }),
            "train.toml:2: train.precision: \"bp16\" is not known; did you mean \"bf16\"?; valid: "
            "\"fp32\", \"bf16\"");
}

TEST(Settings, FinishRefusesWhatNobodyAskedFor) {
  auto layer = std::make_shared<Settings>("layer[0]", "train.toml:4");
  layer->set("filters", integer_at(5, 32));
  layer->set("fliters", integer_at(6, 32));
  Settings root;
  root.set("layer", at(4, List{at(4, layer)}));
  ASSERT_EQ(root.tables("layer").size(), 1u);
  EXPECT_EQ(root.tables("layer")[0]->integer("filters"), 32);
  EXPECT_EQ(message_of([&] { root.finish(); }),
            "train.toml:6: layer[0].fliters: unknown key; did you mean \"filters\"?");
  root.set("quite_another_thing", integer_at(9, 1));
  layer->integer("fliters");
  EXPECT_EQ(message_of([&] { root.finish(); }),
            "train.toml:9: quite_another_thing: unknown key; valid here: \"layer\"");
  root.integer("quite_another_thing");
  EXPECT_NO_THROW(root.finish());
}

TEST(Settings, ResolvedShowsFallbacksAndSubTablesInTheOrderOfAsking) {
  Settings root;
  root.set("epochs", integer_at(1, 3));
  root.set("not_asked", integer_at(2, 3));
  auto layer = std::make_shared<Settings>("layer[0]", "train.toml:4");
  root.set("layer", at(4, List{at(4, layer)}));
  root.word("name", "run");
  root.table("data").integers("size", 2, {5, 7});
  root.integer("epochs", 10);
  root.find("absent");
  root.tables("layer")[0]->real("rate", 0.5);
  const std::shared_ptr<Settings> resolved = root.resolved();
  EXPECT_EQ(resolved->keys(), (std::vector<std::string>{"name", "data", "epochs", "layer"}));
  EXPECT_EQ(resolved->word("name"), "run");
  EXPECT_EQ(resolved->integer("epochs"), 3);
  EXPECT_EQ(resolved->table("data").integers("size", 2, {}), (std::vector<std::int64_t>{5, 7}));
  EXPECT_EQ(resolved->tables("layer")[0]->real("rate"), 0.5);
}

TEST(Settings, AMissingKeyNamesItsLikelyMisspelling) {
  Settings layer("layer[1]", "train.toml:10");
  layer.set("unit", integer_at(11, 3));
  layer.set("activation", word_at(12, "relu"));
  EXPECT_EQ(
      message_of([&] { layer.integer("units"); }),
      "train.toml:10: layer[1].units: missing; expected an integer; is \"unit\" a misspelling "
      "of it?");
  EXPECT_EQ(message_of([&] { layer.integer("filters"); }),
            "train.toml:10: layer[1].filters: missing; expected an integer");
}

TEST(Settings, NearestNameCountsAnExchangeAsOne) {
  EXPECT_EQ(nearest_name("adma", {"sgd", "adam", "adamw"}), "adam");
  EXPECT_EQ(nearest_name("rmsprob", {"sgd", "rmsprop"}), "rmsprop");
  EXPECT_EQ(nearest_name("adagrad", {"sgd", "lion"}), "");
  EXPECT_EQ(nearest_name("", {}), "");
}

}  // namespace
}  // namespace lockstep
