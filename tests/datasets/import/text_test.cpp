// Text as a series of tokens, and back.
#include "datasets/import/text.h"

#include <filesystem>

#include "datasets/describe.h"
#include "datasets/import/shard_writer.h"
#include "datasets/import/tokenizer.h"
#include "tests/datasets/import/imported.h"

namespace lockstep {
namespace {

class TextTest : public ImportTest {
 protected:
  // The text that the tokens of a source are.
  static std::string decoded(SampleSource& source) {
    std::vector<std::int32_t> tokens;
    for (const double value : values(source, 0)) tokens.push_back(static_cast<std::int32_t>(value));
    return Tokenizer::parse("x", attribute<std::string>(source, 0, "tokenizer")).decode(tokens);
  }
};

TEST_F(TextTest, Characters) {
  const auto source = open(file("a.txt", "bäb a\n"));
  ASSERT_EQ(source->arrays().size(), 1u);
  EXPECT_TRUE(source->is_series());
  EXPECT_EQ(source->arrays()[0].dtype, DType::kU8);
  EXPECT_EQ(source->arrays()[0].sample, Shape{});
  EXPECT_EQ(values(*source, 0), (Doubles{3, 4, 3, 1, 2, 0}));
  EXPECT_EQ(values(*source, 0, {1, 3}), (Doubles{4, 3}));
  EXPECT_EQ(attribute<std::int64_t>(*source, 0, "vocabulary"), 5);
  EXPECT_EQ(decoded(*source), "bäb a\n");
  EXPECT_EQ(source->notes(), Words{"7 bytes of text are 6 tokens of a vocabulary of 5"});
}

TEST_F(TextTest, BytesAndTypes) {
  const auto source = open(file("a.txt", "a\xFFz"), {{"tokens", "bytes"}});
  EXPECT_EQ(values(*source, 0), (Doubles{97, 255, 122}));
  EXPECT_EQ(attribute<std::int64_t>(*source, 0, "vocabulary"), 256);
  std::string many;
  for (char32_t c = 0x4E00; c < 0x4E00 + 300; ++c) {
    many += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)),
             static_cast<char>(0x80 | (c & 0x3F))};
  }
  const auto wide = open(file("b.txt", many));
  EXPECT_EQ(wide->arrays()[0].dtype, DType::kI16);
  EXPECT_EQ(values(*wide, 0).back(), 299);
  EXPECT_EQ(decoded(*wide), many);
}

TEST_F(TextTest, PairsAreLearntAndUsedAgain) {
  std::string text;
  for (int i = 0; i < 50; ++i) text += "the cat sat on the mat. ";
  const auto source = open(file("a.txt", text), {{"vocabulary", "265"}});
  EXPECT_EQ(attribute<std::int64_t>(*source, 0, "vocabulary"), 265);
  EXPECT_EQ(decoded(*source), text);
  EXPECT_LT(source->size(), static_cast<std::int64_t>(text.size()) / 2);
  // In a shard, and from it for another text.
  const auto sets = write_shards(*source, {.output = path("out"), .name = "a", .source = "a.txt"});
  EXPECT_EQ(Hdf5File(sets[0].files[0]).text("x", "tokenizer"),
            attribute<std::string>(*source, 0, "tokenizer"));
  EXPECT_NE(describe_dataset({sets[0].files[0]}).find("  the cat sat on the mat. the cat"), std::string::npos);
  const auto other = open(file("b.txt", "that mat"), {{"tokenizer", sets[0].files[0]}});
  EXPECT_EQ(decoded(*other), "that mat");
  EXPECT_EQ(attribute<std::int64_t>(*other, 0, "vocabulary"), 265);
  file("kept", attribute<std::string>(*source, 0, "tokenizer"));
  EXPECT_EQ(values(*open(path("b.txt"), {{"tokenizer", path("kept")}}), 0), values(*other, 0));
  const auto few = open(path("b.txt"), {{"vocabulary", "1000"}});
  EXPECT_EQ(few->notes().size(), 2u);
  EXPECT_STARTS(few->notes()[1], "the vocabulary is smaller than asked for");
}

// Attributes of more than 64 KiB are stored in another way.
TEST_F(TextTest, ALargeVocabularyIsKept) {
  std::string text;
  for (int i = 0; i < 20000; ++i)
    text += std::to_string(i * 7919) + " " + std::to_string(i * 7919) + "\n";
  const auto source = open(file("a.txt", text), {{"vocabulary", "20000"}});
  const std::string tokenizer = attribute<std::string>(*source, 0, "tokenizer");
  ASSERT_GT(tokenizer.size(), 100000u);
  const auto sets = write_shards(*source, {.output = path("out"), .name = "a", .source = "a.txt"});
  EXPECT_EQ(Hdf5File(sets[0].files[0]).text("x", "tokenizer"), tokenizer);
  EXPECT_EQ(decoded(*source), text);
}

TEST_F(TextTest, SeveralFilesFollowOneAnother) {
  file("b.txt", "two");
  file("a.txt", "one");
  file("c.md", "three");
  EXPECT_EQ(decoded(*open(path(""))), "onetwo");
  EXPECT_EQ(decoded(*open_all({path("c.md"), path("a.txt")})), "threeone");
  file("empty.txt", "");
  EXPECT_EQ(decoded(*open_all({path("empty.txt"), path("a.txt")})), "one");
}

TEST_F(TextTest, LongTextComesInPieces) {
  std::string text((1 << 20) - 1, 'x');
  text += "ä";  // across the end of the first piece
  text += std::string(1000, 'y');
  const auto source = open(file("a.txt", text));
  EXPECT_EQ(source->size(), (1 << 20) + 1000);
  EXPECT_EQ(values(*source, 0, {(1 << 20) - 2, (1 << 20) + 1}), (Doubles{0, 2, 1}));
}

TEST_F(TextTest, WrongInputIsRefused) {
  EXPECT_EQ(refused(file("a.txt", "")), path("a.txt") + ": has no text");
  EXPECT_EQ(refused(file("a.txt", "ab\xFFz")),
            path("a.txt") + ": byte 2: is not UTF-8; say --tokens bytes for text of another kind");
  EXPECT_EQ(refused(file("a.txt", "ab\xE2\x82")),
            path("a.txt") + ": byte 2: is not UTF-8; say --tokens bytes for text of another kind");
  const std::string text = file("a.txt", "abc");
  EXPECT_STARTS(refused(text, {{"tokens", "words"}}), "--tokens expects one of");
  EXPECT_STARTS(refused(text, {{"tokens", "pairs"}}), "--tokens pairs needs --vocabulary N");
  EXPECT_STARTS(refused(text, {{"tokens", "bytes"}, {"vocabulary", "300"}}), "--vocabulary is for");
  EXPECT_STARTS(refused(text, {{"vocabulary", "256"}}), "--vocabulary expects an integer from 257");
  EXPECT_STARTS(refused(text, {{"vocabulary", "300"}, {"tokenizer", text}}),
                "--tokenizer says what the tokens are");
  EXPECT_EQ(refused(text, {{"tokenizer", text}}),
            text + ":1: is no tokenizer: expected the line \"lockstep tokenizer 1\"");
  EXPECT_EQ(refused(text, {{"tokenizer", path("absent")}}),
            path("absent") + ": no such file; expected a tokenizer, or a shard with one");
  write_shard(path("plain.h5"), {array_of<float>("x", {1}, {1})});
  EXPECT_EQ(refused(text, {{"tokenizer", path("plain.h5")}}),
            path("plain.h5") + ": array \"x\" has no tokenizer");
  EXPECT_STARTS(refused(file("b", std::string("\x01\x02\x03", 3))),
                path("b") + ": the format of this file was not recognised");
  std::filesystem::create_directory(path("folder"));
  EXPECT_EQ(refused(path("folder"), {}, "text"), path("folder") + ": has no *.txt files");
}

}  // namespace
}  // namespace lockstep
