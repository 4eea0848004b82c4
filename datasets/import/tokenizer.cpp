#include "datasets/import/tokenizer.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <queue>
#include <sstream>
#include <tuple>

#include "core/base/error.h"

namespace lockstep {
namespace {

constexpr std::size_t kMaxWord = 256;
constexpr std::size_t kMaxCachedWords = 65536;
constexpr const char* kFirstLine = "lockstep tokenizer 1";

std::uint64_t key_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
}

std::string utf8_of(char32_t c) {
  const auto byte = [](char32_t value) { return static_cast<char>(value); };
  if (c < 0x80) return {byte(c)};
  if (c < 0x800) return {byte(0xC0 | c >> 6), byte(0x80 | (c & 0x3F))};
  if (c < 0x10000) {
    return {byte(0xE0 | c >> 12), byte(0x80 | (c >> 6 & 0x3F)), byte(0x80 | (c & 0x3F))};
  }
  return {byte(0xF0 | c >> 18), byte(0x80 | (c >> 12 & 0x3F)), byte(0x80 | (c >> 6 & 0x3F)),
          byte(0x80 | (c & 0x3F))};
}

enum class Sign { kLetter, kDigit, kBlank, kOther };

// Bytes of characters beyond ASCII count as letters.
Sign sign_of(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0x80 || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z'))
    return Sign::kLetter;
  if (byte >= '0' && byte <= '9') return Sign::kDigit;
  return byte == ' ' || (byte >= '\t' && byte <= '\r') ? Sign::kBlank : Sign::kOther;
}

// Length of the first word; looks at kMaxWord + 1 bytes at most. REQUIRES: text is not empty.
std::size_t word_length(std::string_view text) {
  const bool leads = text[0] == ' ' && text.size() > 1 && sign_of(text[1]) != Sign::kBlank;
  const std::size_t begin = leads ? 1 : 0;
  const Sign sign = sign_of(text[begin]);
  std::size_t end = begin + 1;
  while (end < text.size() && end < kMaxWord && sign_of(text[end]) == sign) ++end;
  // The last blank belongs to the word behind it.
  const bool lends = sign == Sign::kBlank && end > 1 && end < text.size() && text[end - 1] == ' ' &&
                     sign_of(text[end]) != Sign::kBlank;
  return lends ? end - 1 : end;
}

// Calls visit(word) for the words of `text` whose end is certain; returns the bytes they take.
template <typename Visit>
std::size_t for_each_word(std::string_view text, bool last, const Visit& visit) {
  std::size_t at = 0;
  while (at < text.size() && (last || text.size() - at > kMaxWord)) {
    const std::size_t length = word_length(text.substr(at));
    visit(text.substr(at, length));
    at += length;
  }
  return at;
}

}  // namespace

Utf8Character first_character(std::string_view text) {
  if (text.empty()) return {};
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < bytes) return {};
  char32_t value = first & (0x7F >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3F);
  }
  const char32_t least = bytes == 2 ? 0x80 : bytes == 3 ? 0x800 : 0x10000;
  const bool surrogate = value >= 0xD800 && value < 0xE000;
  if (value < least || value > 0x10FFFF || surrogate) return {};
  return {value, bytes};
}

// ---- Tokenizer ---------------------------------------------------------------------------------

Tokenizer Tokenizer::of_bytes() {
  Tokenizer out;
  for (int byte = 0; byte < 256; ++byte) out.tokens_.emplace_back(1, static_cast<char>(byte));
  return out;
}

Tokenizer Tokenizer::of_characters(std::vector<char32_t> characters) {
  Tokenizer out;
  out.kind_ = Kind::kCharacters;
  for (const char32_t c : characters) {
    out.token_of_[c] = static_cast<std::int32_t>(out.tokens_.size());
    out.tokens_.push_back(utf8_of(c));
  }
  out.characters_ = std::move(characters);
  return out;
}

Tokenizer Tokenizer::of_pairs(std::vector<Merge> merges) {
  Tokenizer out = of_bytes();
  out.kind_ = Kind::kPairs;
  for (const auto& [left, right] : merges) {
    out.token_of_pair_[key_of(left, right)] = static_cast<std::int32_t>(out.tokens_.size());
    out.tokens_.push_back(out.token(left) + out.token(right));
  }
  out.merges_ = std::move(merges);
  return out;
}

Tokenizer Tokenizer::parse(const std::string& where, const std::string& text) {
  std::istringstream lines(text);
  std::string line, kind;
  check_input(std::getline(lines, line) && line == kFirstLine, where,
              ":1: is no tokenizer: expected the line \"", kFirstLine, '"');
  std::getline(lines, kind);
  const bool characters = kind == "characters", pairs = kind == "pairs";
  check_input(characters || pairs || kind == "bytes", where, ":2: found \"", kind,
              "\", expected characters, bytes or pairs");
  const auto parsed = [](const std::from_chars_result& result) {
    return std::pair(result.ptr, result.ec);
  };
  std::vector<char32_t> list;
  std::vector<Merge> merges;
  std::unordered_map<std::uint64_t, int> seen;
  std::vector<std::size_t> lengths(256, 1);  // bytes of each token
  for (std::int64_t number = 3; std::getline(lines, line); ++number) {
    const char* end = line.data() + line.size();
    std::uint32_t left = 0, right = 0;
    const char* at = nullptr;
    std::errc error{};
    std::tie(at, error) = parsed(std::from_chars(line.data(), end, left, characters ? 16 : 10));
    bool fits = error == std::errc() && (characters || pairs);
    if (fits && characters) {
      const bool surrogate = left >= 0xD800 && left < 0xE000;
      fits = at == end && left <= 0x10FFFF && !surrogate && (list.empty() || list.back() < left);
      list.push_back(left);
    } else if (fits) {
      fits = at != end && *at == ' ';
      if (fits) std::tie(at, error) = parsed(std::from_chars(at + 1, end, right));
      fits = fits && error == std::errc() && at == end && left < lengths.size() &&
             right < lengths.size() && ++seen[static_cast<std::uint64_t>(left) << 32 | right] == 1;
      if (fits) lengths.push_back(lengths[left] + lengths[right]);
      // Words end; tokens that double each time would take any memory.
      fits = fits && lengths.back() <= kMaxWord;
      merges.emplace_back(left, right);
    }
    check_input(fits, where, ":", number, ": found \"", line, "\", expected ",
                characters ? "a code point in hexadecimal digits, above that before it"
                : pairs    ? "two earlier tokens, a pair that is new, of at most 256 bytes"
                           : "the end of the file");
  }
  check_input(!characters || !list.empty(), where, ": lists no characters");
  if (characters) return of_characters(std::move(list));
  return pairs ? of_pairs(std::move(merges)) : of_bytes();
}

std::string Tokenizer::to_text() const {
  std::ostringstream out;
  out << kFirstLine << '\n';
  switch (kind_) {
    case Kind::kBytes:
      out << "bytes\n";
      break;
    case Kind::kCharacters:
      out << "characters\n" << std::hex;
      for (const char32_t c : characters_) out << static_cast<std::uint32_t>(c) << '\n';
      break;
    case Kind::kPairs:
      out << "pairs\n";
      for (const auto& [left, right] : merges_) out << left << ' ' << right << '\n';
      break;
  }
  return out.str();
}

std::int64_t Tokenizer::vocabulary() const {
  return static_cast<std::int64_t>(tokens_.size());
}

DType Tokenizer::dtype() const {
  return vocabulary() <= 256 ? DType::kU8 : vocabulary() <= 32768 ? DType::kI16 : DType::kI32;
}

std::string Tokenizer::decode(std::span<const std::int32_t> tokens) const {
  std::string out;
  for (const std::int32_t token : tokens) {
    check_input(token >= 0 && token < vocabulary(), "token ", token,
                " is outside the vocabulary of ", vocabulary());
    out += tokens_[static_cast<std::size_t>(token)];
  }
  return out;
}

// ---- TextEncoder -------------------------------------------------------------------------------

void TextEncoder::encode(std::string_view piece, bool last, std::vector<std::int32_t>& out) {
  if (tokenizer_.kind() == Tokenizer::Kind::kBytes) {
    for (const char c : piece) out.push_back(static_cast<unsigned char>(c));
    return;
  }
  waiting_ += piece;
  const std::size_t done = tokenizer_.kind() == Tokenizer::Kind::kCharacters
                               ? encode_characters(last, out)
                               : encode_words(last, out);
  waiting_.erase(0, done);
  offset_ += done;
}

std::size_t TextEncoder::encode_characters(bool last, std::vector<std::int32_t>& out) {
  std::size_t at = 0;
  while (at < waiting_.size() && (last || waiting_.size() - at >= 4)) {
    const Utf8Character c = first_character(std::string_view(waiting_).substr(at));
    check_input(c.bytes > 0, file_, ": byte ", offset_ + at,
                ": is not UTF-8; say --tokens bytes for text of another kind");
    const auto token = tokenizer_.token_of_.find(c.value);
    if (token == tokenizer_.token_of_.end()) {
      bad_input(file_, ": byte ", offset_ + at, ": the character \"", waiting_.substr(at, c.bytes),
                "\" is not in the vocabulary of the tokenizer");
    }
    out.push_back(token->second);
    at += c.bytes;
  }
  return at;
}

std::size_t TextEncoder::encode_words(bool last, std::vector<std::int32_t>& out) {
  return for_each_word(waiting_, last, [&](std::string_view word) {
    const std::vector<std::int32_t>& tokens = encode_word(word);
    out.insert(out.end(), tokens.begin(), tokens.end());
  });
}

// Merges the pair that was learnt first, again and again. Cost: the square of the word's length.
const std::vector<std::int32_t>& TextEncoder::encode_word(std::string_view word) {
  if (words_.size() >= kMaxCachedWords) words_.clear();
  const auto [entry, is_new] = words_.try_emplace(std::string(word));
  std::vector<std::int32_t>& tokens = entry->second;
  if (!is_new) return tokens;
  for (const char c : word) tokens.push_back(static_cast<unsigned char>(c));
  while (true) {
    std::size_t best = 0;
    std::int32_t merged = std::numeric_limits<std::int32_t>::max();
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
      const auto found = tokenizer_.token_of_pair_.find(key_of(tokens[i], tokens[i + 1]));
      if (found == tokenizer_.token_of_pair_.end() || found->second >= merged) continue;
      merged = found->second;
      best = i;
    }
    if (merged == std::numeric_limits<std::int32_t>::max()) return tokens;
    tokens[best] = merged;
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

// ---- PairTrainer -------------------------------------------------------------------------------

void PairTrainer::add(std::string_view piece, bool last) {
  waiting_ += piece;
  waiting_.erase(0, for_each_word(waiting_, last,
                                  [&](std::string_view word) { ++words_[std::string(word)]; }));
}

namespace {

// The state of the learning: the words as tokens, and where each pair comes.
class PairCounts {
 public:
  explicit PairCounts(const std::unordered_map<std::string, std::int64_t>& words) {
    for (const auto& [word, count] : words) {
      Word& made = words_.emplace_back();
      made.count = count;
      for (const char c : word) made.tokens.push_back(static_cast<unsigned char>(c));
      count_pairs(words_.size() - 1, 1);
    }
    for (const auto& [key, pair] : pairs_) queue_.push({pair.count, key});
  }

  // The pair that comes most often; false where none comes twice.
  bool next(std::uint64_t& key) {
    while (!queue_.empty()) {
      const Entry top = queue_.top();
      queue_.pop();
      const std::int64_t now = pairs_[top.key].count;
      if (now == top.count && now > 1) {
        key = top.key;
        return true;
      }
      // Counts that grew were queued again; those that fell are queued here.
      if (now < top.count && now > 1) queue_.push({now, top.key});
    }
    return false;
  }

  void merge(std::uint64_t key, std::int32_t token) {
    std::vector<std::size_t> places = std::move(pairs_[key].words);
    pairs_[key].words.clear();
    std::ranges::sort(places);
    places.erase(std::unique(places.begin(), places.end()), places.end());
    for (const std::size_t place : places) {
      count_pairs(place, -1);
      std::vector<std::int32_t>& tokens = words_[place].tokens;
      std::size_t kept = 0;
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        const bool here = i + 1 < tokens.size() && key_of(tokens[i], tokens[i + 1]) == key;
        tokens[kept++] = here ? token : tokens[i];
        i += here ? 1 : 0;
      }
      tokens.resize(kept);
      count_pairs(place, 1);
    }
    std::ranges::sort(changed_);
    changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
    for (const std::uint64_t pair : changed_) {
      if (pairs_[pair].count > 1) queue_.push({pairs_[pair].count, pair});
    }
    changed_.clear();
  }

 private:
  struct Word {
    std::vector<std::int32_t> tokens;
    std::int64_t count = 0;
  };
  struct Pair {
    std::int64_t count = 0;
    std::vector<std::size_t> words;  // where it came at some time; may name a word several times
  };
  struct Entry {
    std::int64_t count;
    std::uint64_t key;
    // The queue gives the greatest: the most frequent, of equals that of the smaller tokens.
    bool operator<(const Entry& other) const {
      return count != other.count ? count < other.count : key > other.key;
    }
  };

  void count_pairs(std::size_t place, std::int64_t sign) {
    const Word& word = words_[place];
    for (std::size_t i = 0; i + 1 < word.tokens.size(); ++i) {
      const std::uint64_t key = key_of(word.tokens[i], word.tokens[i + 1]);
      Pair& pair = pairs_[key];
      pair.count += sign * word.count;
      if (sign < 0) continue;
      if (pair.words.empty() || pair.words.back() != place) pair.words.push_back(place);
      changed_.push_back(key);
    }
  }

  std::vector<Word> words_;
  std::unordered_map<std::uint64_t, Pair> pairs_;
  std::priority_queue<Entry> queue_;
  std::vector<std::uint64_t> changed_;
};

}  // namespace

std::vector<Tokenizer::Merge> PairTrainer::merges(std::int64_t count) const {
  PairCounts counts(words_);
  std::vector<Tokenizer::Merge> out;
  std::uint64_t key = 0;
  while (static_cast<std::int64_t>(out.size()) < count && counts.next(key)) {
    const auto token = static_cast<std::int32_t>(256 + out.size());
    out.emplace_back(static_cast<std::int32_t>(key >> 32), static_cast<std::int32_t>(key));
    counts.merge(key, token);
  }
  return out;
}

}  // namespace lockstep
