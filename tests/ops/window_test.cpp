#include "ops/window/window.h"

#include <gtest/gtest.h>

#include "core/base/error.h"

namespace lockstep {
namespace {

Window2d window(std::int64_t size, std::int64_t stride, Padding2d padding,
                std::int64_t dilation = 1) {
  return {{size, size}, {stride, stride}, {dilation, dilation}, padding};
}

const Padding2d kSame{PaddingKind::kSame, {0, 0}};

// Keras: ceil(input / stride) outputs, the odd rest of the padding behind.
TEST(Window, SamePaddingIsThatOfKeras) {
  struct Case {
    std::int64_t input, size, stride, dilation, output, before, behind;
  };
  for (const Case& c :
       {Case{5, 3, 1, 1, 5, 1, 1}, Case{6, 3, 2, 1, 3, 0, 1}, Case{7, 3, 2, 1, 4, 1, 1},
        Case{5, 2, 1, 1, 5, 0, 1}, Case{8, 3, 1, 2, 8, 2, 2}, Case{5, 1, 2, 1, 3, 0, 0},
        Case{7, 2, 3, 1, 3, 0, 1}, Case{1, 3, 2, 1, 1, 1, 1}}) {
    const Window2d w = window(c.size, c.stride, kSame, c.dilation);
    EXPECT_EQ(w.output(0, c.input), c.output) << c.input << " by " << c.size;
    EXPECT_EQ(w.padding_before(0, c.input), c.before) << c.input << " by " << c.size;
    EXPECT_EQ(w.padding_behind(0, c.input), c.behind) << c.input << " by " << c.size;
  }
}

TEST(Window, ValidAndExplicitPadding) {
  EXPECT_EQ(window(3, 2, {}).output(1, 8), 3);
  EXPECT_EQ(window(3, 1, {}, 2).output(1, 8), 4);
  const Window2d padded = window(3, 2, {PaddingKind::kExplicit, {1, 2}});
  EXPECT_EQ(padded.output(0, 8), 4);
  EXPECT_EQ(padded.output(1, 8), 5);
  EXPECT_EQ(padded.padding_behind(1, 8), 2);
  EXPECT_EQ(padded.to_string(true), "size=(3, 3) strides=(2, 2) padding=(1, 2) dilation=(1, 1)");
}

TEST(Window, WhatCannotBeIsRefused) {
  EXPECT_THROW(window(0, 1, {}).check(), Error);
  EXPECT_THROW(window(3, 0, {}).check(), Error);
  EXPECT_THROW(window(3, 1, {PaddingKind::kExplicit, {3, 0}}).check(), Error);
  try {
    window(3, 1, {}, 2).output(0, 4);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    EXPECT_STREQ(error.what(),
                 "window of height 5 does not fit into the input's height 4; padding \"same\" "
                 "would do");
  }
}

Settings with_padding(decltype(Setting::value) value) {
  Settings settings("layer[0]", "train.toml:3");
  settings.set("padding", {std::move(value), "train.toml:4"});
  return settings;
}

TEST(Window, PaddingIsReadAsAWordOrAsAmounts) {
  Settings none, word = with_padding(std::string("same")), amount = with_padding(std::int64_t{2});
  EXPECT_EQ(read_padding(none, {}).kind, PaddingKind::kValid);
  EXPECT_EQ(read_padding(word, {}).kind, PaddingKind::kSame);
  const Padding2d two = read_padding(amount, {});
  EXPECT_EQ(two.kind, PaddingKind::kExplicit);
  EXPECT_EQ(two.amount, (std::array<std::int64_t, 2>{2, 2}));
  Settings negative = with_padding(std::int64_t{-1}), unknown = with_padding(std::string("some"));
  EXPECT_THROW(read_padding(negative, {}), Error);
  EXPECT_THROW(read_padding(unknown, {}), Error);
}

}  // namespace
}  // namespace lockstep
