// Tokens of a text, and the text of tokens.
#include "datasets/import/tokenizer.h"

#include <random>

#include "tests/datasets/import/imported.h"

namespace lockstep {
namespace {

using Tokens = std::vector<std::int32_t>;
using Merges = std::vector<Tokenizer::Merge>;

// The tokens of a text that comes in pieces of `piece` bytes.
Tokens encoded(const Tokenizer& tokenizer, const std::string& text, std::size_t piece) {
  Tokens out;
  TextEncoder encoder(tokenizer, "text");
  for (std::size_t at = 0; at < text.size(); at += piece) {
    encoder.encode(std::string_view(text).substr(at, piece), at + piece >= text.size(), out);
  }
  return out;
}

Merges learnt(const std::string& text, std::int64_t count, std::size_t piece = 1000) {
  PairTrainer trainer;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    trainer.add(std::string_view(text).substr(at, piece), at + piece >= text.size());
  }
  return trainer.merges(count);
}

TEST(Tokenizer, CharactersOfAnyLength) {
  const std::string text = "aß€😀a";
  const Tokenizer tokenizer = Tokenizer::of_characters({U'a', U'ß', U'€', U'😀'});
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    EXPECT_EQ(encoded(tokenizer, text, piece), (Tokens{0, 1, 2, 3, 0}));
  }
  EXPECT_EQ(tokenizer.decode(Tokens{3, 2, 1, 0}), "😀€ßa");
  EXPECT_EQ(tokenizer.vocabulary(), 4);
  EXPECT_EQ(message_of([&] { encoded(tokenizer, "aßb", 2); }),
            "text: byte 3: the character \"b\" is not in the vocabulary of the tokenizer");
  EXPECT_EQ(message_of([&] { tokenizer.decode(Tokens{4}); }),
            "token 4 is outside the vocabulary of 4");
}

TEST(Tokenizer, WhatIsNoUtf8) {
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x82", "\xC3(", "\xFF"}) {
    EXPECT_EQ(first_character(bad).bytes, 0u);
  }
  EXPECT_EQ(first_character("\xF4\x8F\xBF\xBF").value, char32_t{0x10FFFF});
  const Tokenizer tokenizer = Tokenizer::of_characters({U'a'});
  EXPECT_EQ(message_of([&] {
              encoded(tokenizer,
                      "aa\xFF"
                      "a",
                      1);
            }),
            "text: byte 2: is not UTF-8; say --tokens bytes for text of another kind");
}

TEST(Tokenizer, Bytes) {
  const Tokenizer tokenizer = Tokenizer::of_bytes();
  EXPECT_EQ(encoded(tokenizer, "a\xFF", 1), (Tokens{97, 255}));
  EXPECT_EQ(tokenizer.decode(Tokens{97, 255}), "a\xFF");
}

// "abab" twice and "abc" once: ab comes 5 times, then (ab, ab) twice.
TEST(Tokenizer, PairsAreLearntByFrequency) {
  const Merges merges = learnt("abab\nabab\nabc", 10);
  EXPECT_EQ(merges, (Merges{{'a', 'b'}, {256, 256}}));
  const Tokenizer tokenizer = Tokenizer::of_pairs(merges);
  EXPECT_EQ(encoded(tokenizer, "abab abc", 100), (Tokens{257, ' ', 256, 'c'}));
  EXPECT_EQ(tokenizer.decode(Tokens{257, 'c'}), "ababc");
  EXPECT_EQ(tokenizer.dtype(), DType::kI16);
  EXPECT_EQ(learnt("xyxy", 10), (Merges{{'x', 'y'}}));  // (256, 256) comes once
  EXPECT_EQ(learnt("aaaa", 1), (Merges{{'a', 'a'}}));
  EXPECT_TRUE(learnt("", 10).empty());
}

// The same, recounted from the start for each merge.
Merges learnt_slowly(const std::vector<std::string>& words, std::int64_t count) {
  std::vector<Tokens> texts;
  for (const std::string& word : words) {
    Tokens& tokens = texts.emplace_back();
    for (const char c : word) tokens.push_back(static_cast<unsigned char>(c));
  }
  Merges out;
  while (static_cast<std::int64_t>(out.size()) < count) {
    std::map<Tokenizer::Merge, std::int64_t> counts;
    for (const Tokens& text : texts) {
      for (std::size_t i = 0; i + 1 < text.size(); ++i) ++counts[{text[i], text[i + 1]}];
    }
    std::int64_t most = 1;
    Tokenizer::Merge best;
    for (const auto& [pair, often] : counts) {
      if (often > most) std::tie(most, best) = std::pair(often, pair);
    }
    if (most == 1) break;
    const auto token = static_cast<std::int32_t>(256 + out.size());
    out.push_back(best);
    for (Tokens& text : texts) {
      Tokens merged;
      for (std::size_t i = 0; i < text.size(); ++i) {
        const bool here = i + 1 < text.size() && Tokenizer::Merge(text[i], text[i + 1]) == best;
        merged.push_back(here ? token : text[i]);
        i += here ? 1 : 0;
      }
      text = merged;
    }
  }
  return out;
}

TEST(Tokenizer, LearningEqualsRecounting) {
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::string> words;
    std::string text;
    for (int i = 0; i < 60; ++i) {
      std::string word;
      for (std::size_t length = 1 + random() % 9; word.size() < length;)
        word += static_cast<char>('a' + random() % 3);
      text += word + "\n";  // a line's end is a word of its own
      words.push_back(word);
    }
    EXPECT_EQ(learnt(text, 40, 7), learnt_slowly(words, 40));
  }
}

TEST(Tokenizer, PairsDoNotDependOnPiecesAndGiveTheTextBack) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "The  " + std::to_string(i * i) + " cats, äöü!\n\n sat ";
  text += std::string(1000, 'a') + std::string(700, ' ') + "end";
  const Merges merges = learnt(text, 200);
  EXPECT_EQ(learnt(text, 200, 13), merges);
  const Tokenizer tokenizer = Tokenizer::of_pairs(merges);
  const Tokens tokens = encoded(tokenizer, text, 1 << 20);
  EXPECT_EQ(tokenizer.decode(tokens), text);
  EXPECT_LT(tokens.size(), text.size() / 2);
  for (const std::size_t piece : {1, 3, 255, 256, 257, 300}) {
    EXPECT_EQ(encoded(tokenizer, text, piece), tokens) << piece;
  }
}

TEST(Tokenizer, TextFormIsReadBack) {
  const Tokenizer all[] = {Tokenizer::of_bytes(), Tokenizer::of_characters({U'\n', U'a', U'😀'}),
                           Tokenizer::of_pairs({{'a', 'b'}, {256, 'c'}})};
  for (const Tokenizer& tokenizer : all) {
    const Tokenizer again = Tokenizer::parse("file", tokenizer.to_text());
    EXPECT_EQ(again.to_text(), tokenizer.to_text());
    EXPECT_EQ(again.vocabulary(), tokenizer.vocabulary());
    EXPECT_EQ(again.kind(), tokenizer.kind());
  }
  EXPECT_EQ(all[1].to_text(), "lockstep tokenizer 1\ncharacters\na\n61\n1f600\n");
  EXPECT_EQ(all[2].to_text(), "lockstep tokenizer 1\npairs\n97 98\n256 99\n");
}

TEST(Tokenizer, DamagedTextFormsAreRefused) {
  const auto refused = [](const std::string& text) {
    return message_of([&] { Tokenizer::parse("file", text); });
  };
  const std::string first = "lockstep tokenizer 1\n";
  EXPECT_STARTS(refused(""), "file:1: is no tokenizer");
  EXPECT_STARTS(refused("lockstep tokenizer 2\nbytes\n"), "file:1: is no tokenizer");
  EXPECT_EQ(refused(first + "words\n"),
            "file:2: found \"words\", expected characters, bytes or pairs");
  EXPECT_EQ(refused(first + "characters\n"), "file: lists no characters");
  for (const char* entry : {"61\n61", "62\n61", "61\nx", "61\n110000", "61\nd800", "61\n62 ",
                            "61\n"
                            "\n",
                            "61\n-1", "61\n99999999999"}) {
    EXPECT_STARTS(refused(first + "characters\n" + entry + "\n"), "file:4: found ") << entry;
  }
  for (const char* entry : {"97", "97 ", "97 257", "257 97", "-1 97", "97 98 99", "97  98",
                            " 97 98", "97 98", "a b", "97 99999999999"}) {
    EXPECT_STARTS(refused(first + "pairs\n97 98\n" + entry + "\n"), "file:4: found ") << entry;
  }
  EXPECT_STARTS(refused(first + "bytes\n97\n"), "file:3: found ");
  std::string doubling = first + "pairs\n97 97\n";
  for (int token = 256; token < 300; ++token) doubling += text(token, ' ', token, '\n');
  EXPECT_STARTS(refused(doubling), "file:11: found ");  // 2^8 bytes are the most
}

}  // namespace
}  // namespace lockstep
