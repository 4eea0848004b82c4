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
#include "core/base/hdf5/hdf5.h"
#include "core/base/settings.h"
#include "datasets/import/csv_reader.h"
#include "datasets/shard_name.h"

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

bool is_header(const CsvImportOptions& options, const Record& first) {
  if (options.header != CsvImportOptions::Header::kAuto)
    return options.header == CsvImportOptions::Header::kYes;
  return std::ranges::none_of(first,
                              [](const CsvField& f) { return number_of(f.text).has_value(); });
}

std::vector<std::string> column_names(const CsvImportOptions& options, const Record& header) {
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
std::optional<std::size_t> label_column(const CsvImportOptions& options,
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

Table read_table(const CsvImportOptions& options, const std::string& content) {
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
      check_input(!missing || options.missing == CsvImportOptions::Missing::kMean,
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
std::int64_t fill_missing(const CsvImportOptions& options, Table& table) {
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
void number_named_classes(const CsvImportOptions& options, const std::vector<CsvField>& fields,
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

Labels label_values(const CsvImportOptions& options, const Table& table) {
  const LabelTraits traits = traits_of(table.labels);
  const bool classes =
      options.label_kind == CsvImportOptions::Label::kClass || !options.class_names.empty() ||
      (options.label_kind == CsvImportOptions::Label::kAuto && (!traits.numbers || traits.counted));
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
std::vector<std::byte> convert_as(const CsvImportOptions& options, const Table& table) {
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

std::vector<std::byte> feature_bytes(const CsvImportOptions& options, const Table& table) {
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

// Shards of a set of this name that are in the directory.
std::vector<std::string> shards_of(const std::string& directory, const std::string& name) {
  std::vector<std::string> out;
  for (const std::string& file : list_files(directory)) {
    const auto shard = parse_shard_name(file);
    if (shard && shard->set == name)
      out.push_back((std::filesystem::path(directory) / file).string());
  }
  return out;
}

Hdf5Layout layout_for(std::int64_t rows, std::size_t row_bytes, std::size_t element, int gzip) {
  if (gzip == 0) return {};
  constexpr std::size_t kChunkBytes = 256 << 10;
  const auto fitting = static_cast<std::int64_t>(kChunkBytes / std::max<std::size_t>(1, row_bytes));
  return {std::clamp<std::int64_t>(fitting, 1, std::max<std::int64_t>(1, rows)), gzip, element > 1,
          false};
}

// One array of all shards.
struct Stored {
  DType dtype;
  Shape sample;
  const std::byte* data;
};

void write_rows(Hdf5Writer& writer, const std::string& name, const Stored& array,
                std::int64_t begin, std::int64_t end, int gzip) {
  const std::size_t row_bytes =
      static_cast<std::size_t>(array.sample.elements()) * size_of(array.dtype);
  std::vector<std::int64_t> dims = {end - begin};
  dims.insert(dims.end(), array.sample.dims().begin(), array.sample.dims().end());
  writer.write(name, array.dtype, Shape(dims),
               array.data + static_cast<std::size_t>(begin) * row_bytes,
               layout_for(end - begin, row_bytes, size_of(array.dtype), gzip));
}

void check_options(const CsvImportOptions& options) {
  check_input(
      options.delimiter == 0 || std::string(",\t; ").find(options.delimiter) != std::string::npos,
      "the delimiter is '", options.delimiter, "', expected a comma, tab, semicolon or space");
  check_input(options.shards >= 1 && options.shards <= 99999, "the number of shards is ",
              options.shards, ", expected 1 .. 99999");
  check_input(options.skip_lines >= 0, "lines to skip: ", options.skip_lines,
              ", expected 0 or more");
  check_input(options.gzip >= 0 && options.gzip <= 9, "the gzip level is ", options.gzip,
              ", expected 0 .. 9");
  check_input(
      options.missing == CsvImportOptions::Missing::kRefuse || options.dtype == DType::kF32 ||
          options.dtype == DType::kF64,
      "missing values are filled with the mean only where features are stored as f32 or f64, "
      "not as ",
      name_of(options.dtype));
  check_input(options.label_kind != CsvImportOptions::Label::kNumber || options.class_names.empty(),
              "names of classes are given, but the label is to be read as a number");
  check_input(options.class_names.empty() || !options.label.empty(),
              "names of classes are given, but no label column");
  check_input(options.name.find('/') == std::string::npos, "the name \"", options.name,
              "\" has a slash; give the directory as the output");
}

}  // namespace

CsvImportResult import_csv(const CsvImportOptions& options) {
  check_options(options);
  check_input(!is_directory(options.file), options.file, ": is a directory, expected a text file");
  const std::string content = local_files().read(options.file);
  const std::size_t zero = content.find('\0');
  check_input(zero == std::string::npos, options.file, ": is not a text file (byte ", zero,
              " is 0)");

  Table table = read_table(options, content);
  CsvImportResult result;
  result.samples = table.records;
  result.features = table.features;
  result.feature_names = table.feature_names;
  check_input(options.shards <= table.records, options.file, ": ", table.records,
              " records do not fill ", options.shards, " shards");
  const Shape sample = options.sample_shape.value_or(Shape{table.features});
  check_input(sample.elements() == table.features, options.file, ": ", table.features,
              " features do not make samples of ", sample, " (", sample.elements(), " elements)");
  result.filled = fill_missing(options, table);
  const std::vector<std::byte> x = feature_bytes(options, table);
  Labels labels;
  if (!table.labels.empty()) {
    labels = label_values(options, table);
    result.class_names = labels.names;
  }

  const std::string name =
      options.name.empty() ? std::filesystem::path(options.file).stem().string() : options.name;
  local_files().make_directories(options.output);
  const std::vector<std::string> existing = shards_of(options.output, name);
  check_input(existing.empty() || options.overwrite, existing.empty() ? "" : existing[0],
              ": exists already; give another name or output, or allow overwriting");
  const std::string source = options.source.empty()
                                 ? std::filesystem::path(options.file).filename().string()
                                 : options.source;
  for (std::int64_t shard = 0; shard < options.shards; ++shard) {
    const std::int64_t begin = table.records * shard / options.shards;
    const std::int64_t end = table.records * (shard + 1) / options.shards;
    const std::string set = (std::filesystem::path(options.output) / name).string();
    result.files.push_back(ShardName{set, shard, options.shards}.path());
    Hdf5Writer writer(result.files.back());
    write_rows(writer, "x", {options.dtype, sample, x.data()}, begin, end, options.gzip);
    const bool named = !table.feature_names.empty() && sample.rank() > 0 &&
                       sample[-1] == static_cast<std::int64_t>(table.feature_names.size());
    if (named) writer.set_texts("x", "feature_names", table.feature_names);
    if (!table.labels.empty()) {
      const auto data = labels.dtype == DType::kI32 ? std::as_bytes(std::span(labels.classes))
                                                    : std::as_bytes(std::span(labels.numbers));
      write_rows(writer, "y", {labels.dtype, {}, data.data()}, begin, end, options.gzip);
      if (!result.class_names.empty()) writer.set_texts("y", "class_names", result.class_names);
    }
    writer.set_text("", "name", name);
    writer.set_text("", "source", source);
    writer.commit();
  }
  // Shards of an older set of another number would make the set look incomplete.
  for (const std::string& old : existing) {
    if (std::ranges::find(result.files, old) == result.files.end()) local_files().remove(old);
  }
  return result;
}

}  // namespace lockstep
