#include "datasets/import/text.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/hdf5/hdf5.h"
#include "core/base/hdf5/trial.h"
#include "datasets/import/input_file.h"
#include "datasets/import/tokenizer.h"

namespace lockstep {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;

using Files = std::vector<std::unique_ptr<InputFile>>;

// Calls visit(file, piece, last) for the text of all files, piece by piece; `last` ends a file.
template <typename Visit>
void for_each_piece(const Files& files, const Visit& visit) {
  std::string piece;
  for (const auto& file : files) {
    for (std::uint64_t at = 0; at < file->size(); at += piece.size()) {
      piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, file->size() - at)));
      file->read(at, piece.size(), piece.data());
      visit(*file, piece, at + piece.size() == file->size());
    }
  }
}

std::vector<char32_t> characters_of(const Files& files) {
  std::vector<bool> seen(0x110000);
  std::vector<char32_t> out;
  std::string waiting;
  std::uint64_t offset = 0;
  for_each_piece(files, [&](const InputFile& file, const std::string& piece, bool last) {
    waiting += piece;
    std::size_t at = 0;
    while (at < waiting.size() && (last || waiting.size() - at >= 4)) {
      const Utf8Character c = first_character(std::string_view(waiting).substr(at));
      check_input(c.bytes > 0, file.path(), ": byte ", offset + at,
                  ": is not UTF-8; say --tokens bytes for text of another kind");
      if (!seen[c.value]) out.push_back(c.value);
      seen[c.value] = true;
      at += c.bytes;
    }
    waiting.erase(0, at);
    offset = last ? 0 : offset + at;
  });
  std::ranges::sort(out);
  return out;
}

// That of a file, or of a shard whose x was tokenized.
Tokenizer tokenizer_in(const std::string& path) {
  check_input(is_file(path), path, ": no such file; expected a tokenizer, or a shard with one");
  if (head_of(path, 8) == "\x89HDF\r\n\x1a\n") {
    try_hdf5({path});
    const Hdf5File shard(path);
    check_input(shard.find("x") != nullptr, path, ": has no array \"x\" with a tokenizer");
    const auto kept = shard.text("x", "tokenizer");
    if (!kept) bad_input(path, ": array \"x\" has no tokenizer");
    return Tokenizer::parse(path, *kept);
  }
  check_input(file_size(path) < (std::uint64_t{1} << 28), path, ": is too large for a tokenizer");
  return Tokenizer::parse(path, local_files().read(path));
}

Tokenizer tokenizer_of(const FormatOptions& options, const Files& files) {
  const bool learnt = options.has("vocabulary"), given = options.has("tokenizer");
  const std::size_t kind =
      options.choice("tokens", {"characters", "bytes", "pairs"}, learnt ? "pairs" : "characters");
  check_input(!given || !(learnt || options.has("tokens")),
              "--tokenizer says what the tokens are; leave --tokens and --vocabulary out");
  check_input(!learnt || kind == 2, "--vocabulary is for --tokens pairs");
  check_input(given || learnt || kind != 2,
              "--tokens pairs needs --vocabulary N, or --tokenizer FILE");
  if (given) return tokenizer_in(options.word("tokenizer"));
  if (kind == 1) return Tokenizer::of_bytes();
  if (kind == 0) return Tokenizer::of_characters(characters_of(files));
  const std::int64_t vocabulary = options.number("vocabulary", 257, 1 << 20, 0);
  PairTrainer trainer;
  for_each_piece(files, [&](const InputFile&, const std::string& piece, bool last) {
    trainer.add(piece, last);
  });
  return Tokenizer::of_pairs(trainer.merges(vocabulary - 256));
}

void append(Spool& spool, DType dtype, const std::vector<std::int32_t>& tokens,
            std::vector<std::byte>& room) {
  const std::size_t width = size_of(dtype);
  room.resize(tokens.size() * width);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    // The low bytes of a little-endian number.
    std::memcpy(room.data() + i * width, &tokens[i], width);
  }
  spool.append(room);
}

class TextSource : public SampleSource {
 public:
  TextSource(const Files& files, const FormatOptions& options, const std::string& scratch)
      : spool_(scratch) {
    const Tokenizer tokenizer = tokenizer_of(options, files);
    is_series_ = true;
    arrays_.push_back({"x", tokenizer.dtype(), {}});
    arrays_[0].attributes = {{"tokenizer", tokenizer.to_text()},
                             {"vocabulary", tokenizer.vocabulary()}};
    std::vector<std::int32_t> tokens;
    std::vector<std::byte> room;
    std::unique_ptr<TextEncoder> encoder;
    for_each_piece(files, [&](const InputFile& file, const std::string& piece, bool last) {
      if (!encoder) encoder = std::make_unique<TextEncoder>(tokenizer, file.path());
      tokens.clear();
      encoder->encode(piece, last, tokens);
      append(spool_, tokenizer.dtype(), tokens, room);
      if (last) encoder.reset();
    });
    size_ = static_cast<std::int64_t>(spool_.size() / size_of(tokenizer.dtype()));
    std::uint64_t bytes = 0;
    for (const auto& file : files) bytes += file->size();
    notes_.push_back(text(bytes, " bytes of text are ", size_, " tokens of a vocabulary of ",
                          tokenizer.vocabulary()));
    if (options.has("vocabulary") &&
        tokenizer.vocabulary() < options.number("vocabulary", 257, 1 << 20, 0)) {
      notes_.push_back("the vocabulary is smaller than asked for: no further pair comes twice");
    }
  }

  void read(std::size_t, Range rows, std::byte* to) override {
    const std::size_t width = arrays_[0].row_bytes();
    spool_.read(static_cast<std::uint64_t>(rows.begin) * width,
                static_cast<std::size_t>(rows.size()) * width, to);
  }

 private:
  Spool spool_;
};

std::unique_ptr<SampleSource> open(const ImportRequest& request) {
  Files files;
  std::uint64_t bytes = 0;
  const auto add = [&](const std::string& path) {
    files.push_back(std::make_unique<InputFile>(path, request.scratch));
    bytes += files.back()->size();
  };
  for (const std::string& path : request.paths) {
    if (!is_directory(path)) {
      add(path);
      continue;
    }
    for (const std::string& name : list_files(path)) {
      if (name.ends_with(".txt")) add((std::filesystem::path(path) / name).string());
    }
    check_input(!files.empty(), path, ": has no *.txt files");
  }
  check_input(bytes > 0, request.paths[0], ": has no text");
  return std::make_unique<TextSource>(files, request.options, request.scratch);
}

// UTF-8 without control characters, as far as one sees.
bool is_text(std::string_view head) {
  if (head.empty()) return false;
  while (!head.empty()) {
    const Utf8Character c = first_character(head);
    if (c.bytes == 0) return head.size() < 4;  // cut off by the end of the head
    if (c.value < 0x20 && c.value != '\t' && c.value != '\n' && c.value != '\r' && c.value != '\f')
      return false;
    head.remove_prefix(c.bytes);
  }
  return true;
}

bool recognises(const ImportInput& input) {
  if (!input.is_directory) return input.path.ends_with(".txt") || is_text(input.head);
  return std::ranges::any_of(list_files(input.path),
                             [](const std::string& name) { return name.ends_with(".txt"); });
}

}  // namespace

ImportFormat text_format() {
  return {"text",
          "plain text, as a series of tokens",
          {{"tokens", "characters|bytes|pairs", "what a token is (default characters)"},
           {"vocabulary", "N", "learn byte pairs from the text until there are N tokens"},
           {"tokenizer", "FILE", "the tokens of this file, or of this shard of another dataset"}},
          recognises,
          open};
}

}  // namespace lockstep
