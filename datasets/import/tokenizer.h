// Text as numbers, and back. A token is a number from 0 up to the size of the vocabulary.
//
//   characters   token i is the i-th of a list of Unicode characters, in ascending order
//   bytes        token i is the byte i
//   pairs        byte-pair encoding (P. Gage, 1994; R. Sennrich, B. Haddow, A. Birch, "Neural
//   Machine
//                Translation of Rare Words with Subword Units", ACL 2016), of bytes: token i is
//                byte i below 256, token 256 + k is the two tokens of the k-th merge, one after the
//                other. Pairs do not cross words: a run of letters, of digits, of blanks or of
//                other signs, with the blank before it, of at most 256 bytes.
//
// A tokenizer is kept beside the tokens as a text:
//
//   tokenizer  = "lockstep tokenizer 1" LF kind LF { entry LF }
//   kind       = "characters" | "bytes" | "pairs"
//   entry      = code point in hexadecimal digits                of characters
//              | left " " right                                  of pairs: two earlier tokens
//
// Immutable; any number of threads may use it, each with its own Encoder.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/dtype.h"

namespace lockstep {

class Tokenizer {
 public:
  enum class Kind : std::uint8_t { kCharacters, kBytes, kPairs };
  using Merge = std::pair<std::int32_t, std::int32_t>;

  static Tokenizer of_bytes();
  // REQUIRES: ascending, not empty, no surrogates.
  static Tokenizer of_characters(std::vector<char32_t> characters);
  // REQUIRES: merge k is of tokens below 256 + k; no pair comes twice.
  static Tokenizer of_pairs(std::vector<Merge> merges);
  // Reads the text form; `where` names it in messages of bad_input.
  static Tokenizer parse(const std::string& where, const std::string& text);

  std::string to_text() const;
  Kind kind() const { return kind_; }
  std::int64_t vocabulary() const;
  // The smallest type of u8, i16, i32 that holds all tokens.
  DType dtype() const;
  // The bytes of a token. REQUIRES: 0 <= token < vocabulary().
  const std::string& token(std::int32_t token) const {
    return tokens_[static_cast<std::size_t>(token)];
  }
  // The text of tokens. Throws bad_input where one is outside the vocabulary.
  std::string decode(std::span<const std::int32_t> tokens) const;

 private:
  friend class TextEncoder;
  Tokenizer() = default;

  Kind kind_ = Kind::kBytes;
  std::vector<char32_t> characters_;
  std::vector<Merge> merges_;
  std::vector<std::string> tokens_;                                // bytes of each
  std::unordered_map<char32_t, std::int32_t> token_of_;            // of characters
  std::unordered_map<std::uint64_t, std::int32_t> token_of_pair_;  // left << 32 | right
};

// Cuts a text that comes in pieces into tokens. One thread at a time.
class TextEncoder {
 public:
  // REQUIRES: `tokenizer` outlives it. `file` is the name for messages.
  TextEncoder(const Tokenizer& tokenizer, std::string file)
      : tokenizer_(tokenizer), file_(std::move(file)) {}

  // Appends the tokens of the text so far to `out`; what may go on in the next piece waits. With
  // `last` nothing waits. Throws bad_input naming file and byte where the text is no UTF-8 or a
  // character is not in the vocabulary.
  void encode(std::string_view piece, bool last, std::vector<std::int32_t>& out);

 private:
  std::size_t encode_characters(bool last, std::vector<std::int32_t>& out);
  std::size_t encode_words(bool last, std::vector<std::int32_t>& out);
  const std::vector<std::int32_t>& encode_word(std::string_view word);

  const Tokenizer& tokenizer_;
  std::string file_;
  std::string waiting_;
  std::uint64_t offset_ = 0;  // in the text, of waiting_
  std::unordered_map<std::string, std::vector<std::int32_t>> words_;
};

// Learns merges from the words of a text. One thread at a time.
class PairTrainer {
 public:
  void add(std::string_view piece, bool last);
  // At most `count` merges: each time the pair that comes most often, of equals the one with the
  // smaller numbers; none that comes once. Cost: about the number of places where a pair is merged.
  std::vector<Tokenizer::Merge> merges(std::int64_t count) const;

 private:
  std::string waiting_;
  std::unordered_map<std::string, std::int64_t> words_;  // how often each comes
};

// One character of UTF-8 at the start of `text`; `bytes` is 0 where it is none, or cut off.
struct Utf8Character {
  char32_t value = 0;
  std::size_t bytes = 0;
};
Utf8Character first_character(std::string_view text);

}  // namespace lockstep
