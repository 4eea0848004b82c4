#include "datasets/import/csv.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/settings.h"
#include "datasets/import/csv_reader.h"
#include "datasets/import/input_file.h"

namespace lockstep {
namespace {

using Record = std::vector<CsvField>;

// What was read of a file: one row of numbers for each record.
struct Table {
  std::vector<std::string> feature_names;
  std::int64_t features = 0;
  std::vector<double> values;           // (records, features); NaN where missing
  std::vector<CsvField> labels;         // of each record, where there is a label
  std::vector<CsvField> first_missing;  // of each feature; line 0 where none is missing

  std::int64_t records = 0;
};

// Labels as they are stored.
struct Labels {
  DType dtype = DType::kF32;
  std::vector<std::int32_t> classes;
  std::vector<float> numbers;
  std::vector<std::string> names;
};

std::string place(const std::string& file, const CsvField& field) {
  return text(file, ":", field.line, ":", field.column);
}

bool is_missing(const std::string& field) {
  static const std::set<std::string> kWords = {"", "?", "na", "n/a", "nan", "null"};
  std::string lower = field;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return kWords.contains(lower);
}

std::optional<double> number_of(const std::string& field) {
  const char* begin = field.data();
  const char* end = begin + field.size();
  if (field.starts_with('+') && !field.starts_with("+-")) ++begin;
  double value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<std::int64_t> whole_number_of(const std::string& field) {
  const std::optional<double> value = number_of(field);
  const bool whole = value && *value == std::floor(*value) && std::abs(*value) < 0x1p31;
  return whole ? std::optional(static_cast<std::int64_t>(*value)) : std::nullopt;
}

bool is_header(const CsvOptions& options, const Record& first) {
  if (options.header != CsvOptions::Header::kAuto)
    return options.header == CsvOptions::Header::kYes;
  return std::ranges::none_of(first,
                              [](const CsvField& f) { return number_of(f.text).has_value(); });
}

std::vector<std::string> column_names(const CsvOptions& options, const Record& header) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const CsvField& field : header) {
    check_input(seen.insert(field.text).second, place(options.file, field), ": the header has \"",
                field.text, "\" twice");
    names.push_back(field.text);
  }
  return names;
}

// Index of the label's column, nullopt where there is none.
std::optional<std::size_t> label_column(const CsvOptions& options,
                                        const std::vector<std::string>& names,
                                        std::size_t columns) {
  if (options.label.empty()) return std::nullopt;
  const auto named = std::ranges::find(names, options.label);
  if (named != names.end()) return static_cast<std::size_t>(named - names.begin());
  const std::optional<std::int64_t> index = whole_number_of(options.label);
  if (!index) {
    const std::string nearest = nearest_name(options.label, names);
    bad_input(options.file, ": no column \"", options.label, '"',
              names.empty() ? "; the file has no header: give the column's number" : "",
              nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?");
  }
  const auto count = static_cast<std::int64_t>(columns);
  check_input(*index >= -count && *index < count, options.file, ": the label is column ", *index,
              ", but the file has ", count, " columns (0 .. ", count - 1, ", or -1 for the last)");
  return static_cast<std::size_t>(*index < 0 ? *index + count : *index);
}

// What a column is called in messages.
std::string shown_column(const std::vector<std::string>& names, std::size_t column) {
  return names.empty() ? std::to_string(column) : '"' + names[column] + '"';
}

Table read_table(const CsvOptions& options, const std::string& content) {
  const char delimiter = options.delimiter != 0
                             ? options.delimiter
                             : guess_delimiter(options.file, content, options.skip_lines);
  CsvReader reader(options.file, content, delimiter, options.skip_lines);
  Record record;
  check_input(reader.next(record), options.file, ": has no records");
  const std::size_t columns = record.size();
  const std::int64_t first_line = record[0].line;
  std::vector<std::string> names;
  bool more = true;
  if (is_header(options, record)) {
    names = column_names(options, record);
    more = reader.next(record);
    check_input(more, options.file, ": has a header but no records");
  }
  const std::optional<std::size_t> label = label_column(options, names, columns);

  Table table;
  table.features = static_cast<std::int64_t>(columns - (label ? 1 : 0));
  check_input(table.features > 0, options.file, ": has no column besides the label");
  for (std::size_t c = 0; c < names.size(); ++c) {
    if (c != label) table.feature_names.push_back(names[c]);
  }
  table.first_missing.resize(static_cast<std::size_t>(table.features));
  for (; more; more = reader.next(record)) {
    check_input(record.size() == columns, options.file, ":", record[0].line, ": ", record.size(),
                " fields, expected ", columns, " as in line ", first_line);
    std::size_t feature = 0;
    for (std::size_t c = 0; c < columns; ++c) {
      const CsvField& field = record[c];
      const bool missing = is_missing(field.text);
      if (c == label) {
        check_input(!missing, place(options.file, field), ": the label in column ",
                    shown_column(names, c), " is missing");
        table.labels.push_back(field);
        continue;
      }
      check_input(!missing || options.missing == CsvOptions::Missing::kMean,
                  place(options.file, field), ": the value in column ", shown_column(names, c),
                  " is missing; mend the file or let it be filled with the column's mean");
      const std::optional<double> value = number_of(field.text);
      check_input(missing || value, place(options.file, field), ": \"", field.text, "\" in column ",
                  shown_column(names, c), " is not a finite number");
      if (missing && table.first_missing[feature].line == 0) table.first_missing[feature] = field;
      table.values.push_back(missing ? std::numeric_limits<double>::quiet_NaN() : *value);
      ++feature;
    }
    ++table.records;
  }
  return table;
}

// Puts the mean of a column where its values are missing; returns how many there were.
std::int64_t fill_missing(const CsvOptions& options, Table& table) {
  std::int64_t filled = 0;
  for (std::int64_t f = 0; f < table.features; ++f) {
    const CsvField& first = table.first_missing[static_cast<std::size_t>(f)];
    if (first.line == 0) continue;
    const auto value = [&](std::int64_t row) -> double& {
      return table.values[static_cast<std::size_t>(row * table.features + f)];
    };
    double sum = 0;
    std::int64_t present = 0;
    for (std::int64_t row = 0; row < table.records; ++row) {
      if (std::isnan(value(row))) continue;
      sum += value(row);
      ++present;
    }
    check_input(present > 0, place(options.file, first), ": every value of this column is missing");
    for (std::int64_t row = 0; row < table.records; ++row) {
      if (std::isnan(value(row))) value(row) = sum / static_cast<double>(present);
    }
    filled += table.records - present;
  }
  return filled;
}

// Numbers the distinct keys of the labels in ascending order.
template <typename KeyOf>
void number_classes(const std::vector<CsvField>& fields, const KeyOf& key_of, Labels& out) {
  std::map<decltype(key_of(fields[0])), std::int32_t> numbers;
  for (const CsvField& field : fields) numbers[key_of(field)] = 0;
  std::int32_t next = 0;
  for (auto& [key, number] : numbers) {
    number = next++;
    out.names.push_back(text(key));
  }
  for (const CsvField& field : fields) out.classes.push_back(numbers.at(key_of(field)));
}

// The classes as the options name them.
void number_named_classes(const CsvOptions& options, const std::vector<CsvField>& fields,
                          Labels& out) {
  out.names = options.class_names;
  const auto count = static_cast<std::int64_t>(out.names.size());
  for (const CsvField& field : fields) {
    const auto found = std::ranges::find(out.names, field.text);
    const bool is_name = found != out.names.end();
    const std::optional<std::int64_t> number =
        is_name ? std::optional<std::int64_t>(found - out.names.begin())
                : whole_number_of(field.text);
    if (!number || *number < 0 || *number >= count) {
      bad_input(place(options.file, field), ": the label \"", field.text,
                "\" is none of the named classes, nor a number in [0, ", count, ")");
    }
    out.classes.push_back(static_cast<std::int32_t>(*number));
  }
}

// What the labels look like.
struct LabelTraits {
  bool numbers = true;  // all are numbers
  bool whole = true;    // all are whole numbers
  bool counted = true;  // all are whole numbers and they are 0 .. K - 1
};

LabelTraits traits_of(const std::vector<CsvField>& labels) {
  LabelTraits traits;
  std::set<std::int64_t> values;
  for (const CsvField& field : labels) {
    const std::optional<std::int64_t> value = whole_number_of(field.text);
    if (value) values.insert(*value);
    traits.whole = traits.whole && value;
    traits.numbers = traits.numbers && number_of(field.text);
  }
  traits.counted = traits.whole && *values.begin() == 0 &&
                   *values.rbegin() + 1 == static_cast<std::int64_t>(values.size());
  return traits;
}

Labels label_values(const CsvOptions& options, const Table& table) {
  const LabelTraits traits = traits_of(table.labels);
  const bool classes =
      options.label_kind == CsvOptions::Label::kClass || !options.class_names.empty() ||
      (options.label_kind == CsvOptions::Label::kAuto && (!traits.numbers || traits.counted));
  Labels out;
  if (classes) {
    out.dtype = DType::kI32;
    if (!options.class_names.empty()) {
      number_named_classes(options, table.labels, out);
    } else if (traits.whole) {
      number_classes(
          table.labels, [](const CsvField& f) { return *whole_number_of(f.text); }, out);
    } else {
      number_classes(
          table.labels, [](const CsvField& f) { return f.text; }, out);
    }
    return out;
  }
  for (const CsvField& field : table.labels) {
    const std::optional<double> value = number_of(field.text);
    check_input(value && std::isfinite(static_cast<float>(*value)), place(options.file, field),
                ": the label \"", field.text, "\" is not a finite number");
    out.numbers.push_back(static_cast<float>(*value));
  }
  return out;
}

template <typename Value>
std::vector<std::byte> convert_as(const CsvOptions& options, const Table& table) {
  std::vector<std::byte> bytes(table.values.size() * sizeof(Value));
  for (std::size_t i = 0; i < table.values.size(); ++i) {
    const double value = table.values[i];
    bool fits = std::isfinite(static_cast<float>(value)) || sizeof(Value) == 8;
    if constexpr (std::is_integral_v<Value>) {
      fits = value == std::floor(value) &&
             value >= static_cast<double>(std::numeric_limits<Value>::min()) &&
             value < std::ldexp(1.0, std::numeric_limits<Value>::digits);
    }
    const auto features = static_cast<std::size_t>(table.features);
    check_input(fits, options.file, ": record ", i / features, ", feature ", i % features, ": ",
                value, " does not fit into ", name_of(options.dtype));
    const auto stored = static_cast<Value>(value);
    std::memcpy(bytes.data() + i * sizeof(Value), &stored, sizeof(Value));
  }
  return bytes;
}

std::vector<std::byte> feature_bytes(const CsvOptions& options, const Table& table) {
  switch (options.dtype) {
    case DType::kF32:
      return convert_as<float>(options, table);
    case DType::kF64:
      return convert_as<double>(options, table);
    case DType::kU8:
      return convert_as<std::uint8_t>(options, table);
    case DType::kI8:
      return convert_as<std::int8_t>(options, table);
    case DType::kI16:
      return convert_as<std::int16_t>(options, table);
    case DType::kI32:
      return convert_as<std::int32_t>(options, table);
    case DType::kI64:
      return convert_as<std::int64_t>(options, table);
    default:
      bad_input("features cannot be stored as ", name_of(options.dtype));
  }
}

void check_options(const CsvOptions& options) {
  check_input(
      options.delimiter == 0 || std::string(",\t; ").find(options.delimiter) != std::string::npos,
      "the delimiter is '", options.delimiter, "', expected a comma, tab, semicolon or space");
  check_input(options.skip_lines >= 0, "lines to skip: ", options.skip_lines,
              ", expected 0 or more");
  check_input(
      options.missing == CsvOptions::Missing::kRefuse || options.dtype == DType::kF32 ||
          options.dtype == DType::kF64,
      "missing values are filled with the mean only where features are stored as f32 or f64, "
      "not as ",
      name_of(options.dtype));
  check_input(options.label_kind != CsvOptions::Label::kNumber || options.class_names.empty(),
              "names of classes are given, but the label is to be read as a number");
  check_input(options.class_names.empty() || !options.label.empty(),
              "names of classes are given, but no label column");
}

// The records as they are stored.
class CsvSource : public SampleSource {
 public:
  CsvSource(const CsvOptions& options, Table table) {
    size_ = table.records;
    const Shape sample = options.sample_shape.value_or(Shape{table.features});
    check_input(sample.elements() == table.features, options.file, ": ", table.features,
                " features do not make samples of ", sample, " (", sample.elements(), " elements)");
    const std::int64_t filled = fill_missing(options, table);
    if (filled > 0) notes_.push_back(text(filled, " missing values filled"));
    x_ = feature_bytes(options, table);
    arrays_.push_back({"x", options.dtype, sample});
    const bool named = !table.feature_names.empty() && sample.rank() > 0 &&
                       sample[-1] == static_cast<std::int64_t>(table.feature_names.size());
    if (named) arrays_[0].attributes.emplace_back("feature_names", table.feature_names);
    if (table.labels.empty()) return;
    Labels labels = label_values(options, table);
    arrays_.push_back({"y", labels.dtype, {}});
    if (!labels.names.empty()) arrays_[1].attributes.emplace_back("class_names", labels.names);
    const auto y = labels.dtype == DType::kI32 ? std::as_bytes(std::span(labels.classes))
                                               : std::as_bytes(std::span(labels.numbers));
    y_.assign(y.begin(), y.end());
  }

  void read(std::size_t array, Range rows, std::byte* to) override {
    const std::size_t row_bytes = arrays_[array].row_bytes();
    std::memcpy(to,
                (array == 0 ? x_ : y_).data() + static_cast<std::size_t>(rows.begin) * row_bytes,
                static_cast<std::size_t>(rows.size()) * row_bytes);
  }

 private:
  std::vector<std::byte> x_, y_;
};

char delimiter_of(const FormatOptions& options) {
  const std::string word = options.word("delimiter", "auto");
  if (word == "auto") return '\0';
  if (word == "tab" || word == "\\t") return '\t';
  if (word == "space") return ' ';
  check_input(word.size() == 1, "--delimiter expects one character, tab, space or auto; found '",
              word, "'");
  return word[0];
}

std::unique_ptr<SampleSource> open_request(const ImportRequest& request) {
  check_input(request.paths.size() == 1, request.paths.back(),
              ": CSV files are imported one by one; found ", request.paths.size());
  const FormatOptions& given = request.options;
  CsvOptions options;
  options.file = request.paths[0];
  options.delimiter = delimiter_of(given);
  constexpr CsvOptions::Header kHeaders[] = {CsvOptions::Header::kAuto, CsvOptions::Header::kYes,
                                             CsvOptions::Header::kNo};
  options.header = kHeaders[given.choice("header", {"auto", "yes", "no"}, "auto")];
  options.skip_lines = given.number("skip-lines", 0, std::int64_t{1} << 40, 0);
  check_input(given.has("label"),
              "--label is missing; name the column to predict, by name or by "
              "number from 0 (-1 is the last), or say --label none");
  if (given.word("label") != "none") options.label = given.word("label");
  options.class_names = given.list("classes");
  check_input(!given.has("regression") || options.class_names.empty(),
              "--classes and --regression exclude each other");
  options.label_kind =
      given.has("regression") ? CsvOptions::Label::kNumber : CsvOptions::Label::kClass;
  options.missing = given.choice("missing", {"error", "mean"}, "error") == 1
                        ? CsvOptions::Missing::kMean
                        : CsvOptions::Missing::kRefuse;
  constexpr DType kTypes[] = {DType::kF32, DType::kF64, DType::kU8, DType::kI8,
                              DType::kI16, DType::kI32, DType::kI64};
  options.dtype =
      kTypes[given.choice("dtype", {"f32", "f64", "u8", "i8", "i16", "i32", "i64"}, "f32")];
  options.sample_shape = given.shape("sample-shape");
  return open_csv(options, request.scratch);
}

// Whether the first lines have the same number of commas, tabs or semicolons, at least one.
bool has_columns(const std::string& head) {
  if (head.find('\0') != std::string::npos) return false;
  for (const char delimiter : {',', '\t', ';'}) {
    std::set<std::int64_t> counts;
    for (std::size_t at = 0, end = 0; counts.size() < 2; at = end + 1) {
      end = head.find('\n', at);
      if (end == std::string::npos) break;
      counts.insert(std::count(head.begin() + static_cast<std::ptrdiff_t>(at),
                               head.begin() + static_cast<std::ptrdiff_t>(end), delimiter));
    }
    if (counts.size() == 1 && *counts.begin() > 0) return true;
  }
  return false;
}

bool recognises(const ImportInput& input) {
  if (input.is_directory) return false;
  std::string name = input.path;
  if (name.ends_with(".gz")) name.resize(name.size() - 3);
  if (name.ends_with(".csv") || name.ends_with(".tsv")) return true;
  return !name.ends_with(".txt") && has_columns(input.head);
}

}  // namespace

std::unique_ptr<SampleSource> open_csv(const CsvOptions& options, const std::string& scratch) {
  check_options(options);
  check_input(!is_directory(options.file), options.file, ": is a directory, expected a text file");
  const std::string content =
      InputFile(options.file, scratch).content(std::numeric_limits<std::uint64_t>::max());
  const std::size_t zero = content.find('\0');
  check_input(zero == std::string::npos, options.file, ": is not a text file (byte ", zero,
              " is 0)");
  return std::make_unique<CsvSource>(options, read_table(options, content));
}

ImportFormat csv_format() {
  return {
      "csv",
      "delimited text (CSV, TSV): one record a sample, every column but the label a feature",
      {{"label", "COLUMN", "the column to predict, by name or by number from 0; -1 is the last"},
       {"classes", "A,B,...", "names of the labels in the order of their numbers"},
       {"regression", "", "the label is a number, not a class"},
       {"skip-lines", "N", "lines to pass over at the beginning (default 0)"},
       {"header", "auto|yes|no", "whether the first line names the columns"},
       {"delimiter", "CHAR", "between columns: a character, tab, space or auto"},
       {"missing", "error|mean",
        "empty fields: refuse the file (default), or take the column's mean"},
       {"dtype", "f32|f64|u8|i8|i16|i32|i64", "stored type of the features (default f32)"},
       {"sample-shape", "H,W,C", "shape of a sample's features; without it a vector"}},
      recognises,
      open_request};
}

}  // namespace lockstep
