#include "datasets/import/npy_array.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "core/base/error.h"

namespace lockstep {
namespace {

constexpr std::uint32_t kMaxHeaderBytes = 1 << 16;

// Reads the Python dict of a header.
class HeaderParser {
 public:
  HeaderParser(const std::string& path, std::string_view text) : path_(path), text_(text) {}

  void parse() {
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        if (peek() == '[')
          bad_input(path_, ": holds records of several fields; save each field by itself");
        descr = quoted();
      } else if (key == "fortran_order") {
        fortran_order = truth();
      } else if (key == "shape") {
        shape = tuple();
      } else {
        broken("unknown key '" + key + "'");
      }
      if (!accept(',') && peek() != '}') broken("expected a comma");
    }
    if (!descr || !fortran_order || !shape) broken("descr, fortran_order or shape is missing");
  }

  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<std::int64_t>> shape;

 private:
  [[noreturn]] void broken(const std::string& what) const {
    bad_input(path_, ": the header of the array is damaged at byte ", at_, ": ", what);
  }
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) broken(std::string("expected '") + c + "'");
  }
  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') broken("expected a quoted word");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) broken("a quote is not closed");
    std::string out(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return out;
  }
  bool truth() {
    peek();
    for (const auto& [word, value] : {std::pair{"True", true}, {"False", false}}) {
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += std::strlen(word);
      return value;
    }
    broken("expected True or False");
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> out;
    expect('(');
    while (!accept(')')) {
      peek();
      std::int64_t value = 0;
      const char* begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
      if (error != std::errc() || value < 0) broken("expected a whole number");
      at_ += static_cast<std::size_t>(end - begin);
      accept('L');  // as Python 2 wrote it
      out.push_back(value);
      if (!accept(',') && peek() != ')') broken("expected a comma");
    }
    return out;
  }

  const std::string& path_;
  std::string_view text_;
  std::size_t at_ = 0;
};

StoredElement element_of(const std::string& path, const std::string& descr) {
  const auto refuse = [&]() {
    bad_input(path, ": elements of type '", descr,
              "' cannot be imported; expected bool, integers, "
              "or floats of 16, 32 or 64 bits",
              descr.find('O') != std::string::npos ? " (these are Python objects)" : "");
  };
  StoredElement out;
  if (descr.size() != 3) refuse();
  switch (descr[1]) {
    case 'b':
      out.kind = StoredElement::Kind::kBool;
      break;
    case 'i':
      out.kind = StoredElement::Kind::kSigned;
      break;
    case 'u':
      out.kind = StoredElement::Kind::kUnsigned;
      break;
    case 'f':
      out.kind = StoredElement::Kind::kFloat;
      break;
    default:
      refuse();
  }
  out.bytes = static_cast<std::size_t>(descr[2] - '0');
  out.big_endian = descr[0] == '>';
  const bool ordered = std::string_view("<>|=").find(descr[0]) != std::string_view::npos;
  if (descr[2] < '1' || descr[2] > '8' || !ordered || !out.is_known()) refuse();
  return out;
}

}  // namespace

NpyHeader read_npy_header(const InputFile& file) {
  const std::string& path = file.path();
  std::uint8_t start[12] = {};
  file.read(0, 10, start);
  check_input(std::memcmp(start, "\x93NUMPY", 6) == 0, path,
              ": is not a NumPy array: it does not begin with \\x93NUMPY");
  check_input(start[6] >= 1 && start[6] <= 3, path, ": is of version ", int{start[6]},
              " of NumPy's format, expected 1, 2 or 3");
  std::uint32_t length = start[8] | std::uint32_t{start[9]} << 8;
  std::uint64_t begin = 10;
  if (start[6] > 1) {
    file.read(10, 2, start + 10);
    length |= std::uint32_t{start[10]} << 16 | std::uint32_t{start[11]} << 24;
    begin = 12;
  }
  check_input(length <= kMaxHeaderBytes, path, ": the header of the array claims ", length,
              " bytes, expected at most ", kMaxHeaderBytes);
  std::string words(length, '\0');
  file.read(begin, length, words.data());
  HeaderParser parser(path, words);
  parser.parse();

  NpyHeader out;
  out.element = element_of(path, *parser.descr);
  out.fortran_order = *parser.fortran_order;
  out.begin = begin + length;
  const std::vector<std::int64_t>& dims = *parser.shape;
  check_input(!dims.empty(), path,
              ": holds a single number; expected an array whose first "
              "dimension counts the samples");
  check_input(dims.size() <= Shape::kMaxRank, path, ": has ", dims.size(),
              " dimensions, expected at most ", Shape::kMaxRank);
  std::uint64_t bytes = out.element.bytes;
  bool fits = true;
  for (const std::int64_t extent : dims) {
    fits = fits && !__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes);
  }
  check_input(fits && bytes == file.size() - out.begin, path, ": has ", file.size() - out.begin,
              " bytes of elements, but its header claims ", fits ? text(bytes) : "more than 2^64",
              "; is it truncated?");
  out.shape = Shape(std::span<const std::int64_t>(dims));
  check_input(out.shape.elements() > 0, path, ": has shape ", out.shape, ": there are no elements");
  return out;
}

NpyArray::NpyArray(std::unique_ptr<InputFile> file, const std::string& scratch)
    : file_(std::move(file)), header_(read_npy_header(*file_)) {
  const bool alike = shape().rank() == 1 || shape().elements() == shape()[0];
  if (header_.fortran_order && !alike) turn_around(scratch);
}

// Fortran order: the first index runs fastest. Reads runs of one column, `block` rows at a time.
void NpyArray::turn_around(const std::string& scratch) {
  constexpr std::size_t kBlockBytes = std::size_t{8} << 20;
  const std::size_t element = header_.element.bytes;
  const std::int64_t rows = shape()[0], columns = shape().elements() / rows;
  const std::size_t row_bytes = static_cast<std::size_t>(columns) * element;
  const std::int64_t block =
      std::clamp<std::int64_t>(static_cast<std::int64_t>(kBlockBytes / row_bytes), 1, rows);
  rows_ = std::make_unique<Spool>(scratch);
  std::vector<std::byte> out(static_cast<std::size_t>(block) * row_bytes);
  std::vector<std::byte> run(static_cast<std::size_t>(block) * element);
  for (std::int64_t begin = 0; begin < rows; begin += block) {
    const std::int64_t count = std::min(block, rows - begin);
    for (std::int64_t column = 0; column < columns; ++column) {
      // The indices of this column, the first of them fastest, and their row-major place.
      std::int64_t rest = column, place = 0;
      std::int64_t stride = columns;
      for (int axis = 1; axis < shape().rank(); ++axis) {
        stride /= shape()[axis];
        place += rest % shape()[axis] * stride;
        rest /= shape()[axis];
      }
      file_->read(header_.begin + static_cast<std::uint64_t>(column * rows + begin) * element,
                  static_cast<std::size_t>(count) * element, run.data());
      for (std::int64_t row = 0; row < count; ++row) {
        std::memcpy(out.data() + static_cast<std::size_t>(row) * row_bytes +
                        static_cast<std::size_t>(place) * element,
                    run.data() + static_cast<std::size_t>(row) * element, element);
      }
    }
    rows_->append(std::span(out).first(static_cast<std::size_t>(count) * row_bytes));
  }
}

void NpyArray::read(Range rows, std::byte* to) {
  const std::int64_t columns = shape().elements() / shape()[0];
  const std::size_t row_bytes = static_cast<std::size_t>(columns) * header_.element.bytes;
  const std::uint64_t offset = static_cast<std::uint64_t>(rows.begin) * row_bytes;
  room_.resize(static_cast<std::size_t>(rows.size()) * row_bytes);
  if (rows_) {
    rows_->read(offset, room_.size(), room_.data());
  } else {
    file_->read(header_.begin + offset, room_.size(), room_.data());
  }
  const std::int64_t count = rows.size() * columns;
  const std::int64_t bad = header_.element.convert(room_.data(), count, to);
  check_input(bad == count, path(), ": row ", rows.begin + bad / columns, ", element ",
              bad % columns, ": does not fit into i64");
}

}  // namespace lockstep
