// A tokenizer in a file, and a text that is cut with it.
#pragma once

#include "core/base/file.h"
#include "tests/fuzz/text.h"

namespace lockstep::fuzz {

inline void fuzz_tokenizer(const std::string& path) {
  read_or_refuse(path, [&] {
    const Tokenizer tokenizer = Tokenizer::parse(path, read_file(path));
    const std::string form = tokenizer.to_text();
    expect(Tokenizer::parse("again", form).to_text() == form, "is another when it is read again");
    expect(tokenizer.vocabulary() > 0, "an empty vocabulary");
    for (std::int64_t i = 0; i < tokenizer.vocabulary(); ++i)
      expect(!tokenizer.token(static_cast<std::int32_t>(i)).empty(), "an empty token");
  });
  // A text with characters beyond those of most tokenizers: it may be refused by its own name.
  const std::string words = path + ".txt", content = "to be or not to be, 1234 \xc3\xa9t\xc3\xa9\n";
  write_file(words, content);
  try {
    const auto source = open_file(words, "text", {{"tokenizer", path}});
    read_all(*source);
    expect(decoded(*source) == content, "the tokens are not the text");
  } catch (const Error& error) {
    read_or_refuse(std::string(error.what()).starts_with(words) ? words : path, [&] { throw; });
  }
}

}  // namespace lockstep::fuzz
