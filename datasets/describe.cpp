#include "datasets/describe.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/hdf5/hdf5.h"
#include "datasets/convert.h"
#include "datasets/dataset.h"
#include "datasets/import/tokenizer.h"

namespace lockstep {
namespace {

// A class histogram of more lines than this would bury the rest.
constexpr std::int64_t kMaxClasses = 100;
constexpr std::int64_t kMaxTableColumns = 8;

std::string with_unit(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  std::ostringstream out;
  out << std::fixed << std::setprecision(unit == 0 ? 0 : 1) << value << ' ' << kUnits[unit];
  return out.str();
}

std::string number(double value) {
  std::ostringstream out;
  out << std::setprecision(5) << value;
  return out.str();
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : between) + word;
  return out;
}

// Columns that a UTF-8 text takes, a character of any length counted as one.
std::size_t columns_of(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// The first columns of a UTF-8 text, and whether there are more.
std::string cut_to(const std::string& text, std::size_t columns) {
  std::size_t end = 0;
  while (end < text.size() && columns_of(text.substr(0, end + 1)) <= columns) ++end;
  return end < text.size() ? text.substr(0, end) + " ..." : text;
}

// Lines of cells, each column as wide as its widest cell; all but the first column to the right.
std::string table(const std::vector<std::vector<std::string>>& lines) {
  std::vector<std::size_t> widths;
  for (const auto& line : lines) {
    widths.resize(std::max(widths.size(), line.size()));
    for (std::size_t c = 0; c < line.size(); ++c)
      widths[c] = std::max(widths[c], columns_of(line[c]));
  }
  std::string out;
  for (const auto& line : lines) {
    std::string row = "  ";
    for (std::size_t c = 0; c < line.size(); ++c) {
      const std::string blanks(widths[c] - columns_of(line[c]), ' ');
      row += (c > 0 ? "  " : "") + (c == 0 ? line[c] + blanks : blanks + line[c]);
    }
    out += row.substr(0, row.find_last_not_of(' ') + 1) + '\n';
  }
  return out;
}

// What one pass over an array finds.
struct Statistics {
  double least = std::numeric_limits<double>::infinity();
  double greatest = -std::numeric_limits<double>::infinity();
  double mean = 0;
  std::int64_t not_finite = 0;        // NaN and infinities, which are in none of the above
  std::vector<std::int64_t> classes;  // how often each label occurs; empty where the array holds no labels
};

std::vector<float> sample_values(const Dataset& dataset, int array, std::int64_t id) {
  const auto elements = dataset.arrays()[static_cast<std::size_t>(array)].sample.elements();
  std::vector<float> values(static_cast<std::size_t>(elements));
  dataset.gather(array, std::span(&id, 1), values.data());
  return values;
}

Statistics statistics_of(const Dataset& dataset, int array) {
  const DatasetArray& about = dataset.arrays()[static_cast<std::size_t>(array)];
  Statistics out;
  double sum = 0;
  std::int64_t count = 0;
  // One small whole number for each sample.
  bool labels = about.sample.elements() == 1 && !is_floating(about.dtype);
  dataset.for_each_block(array, [&](std::int64_t, std::int64_t rows, const std::byte* bytes) {
    with_values(about.dtype, bytes, [&](const auto* values) {
      for (std::int64_t i = 0; i < rows * about.sample.elements(); ++i) {
        const double value = as_double(values[i]);
        if (!std::isfinite(value)) {
          ++out.not_finite;
          continue;
        }
        out.least = std::min(out.least, value);
        out.greatest = std::max(out.greatest, value);
        sum += value;
        ++count;
        labels = labels && value >= 0 && value < kMaxClasses;
        if (!labels) continue;
        const auto label = static_cast<std::size_t>(value);
        if (label >= out.classes.size()) out.classes.resize(label + 1);
        ++out.classes[label];
      }
    });
  });
  if (!labels) out.classes.clear();
  out.mean = count > 0 ? sum / static_cast<double>(count) : 0;
  return out;
}

std::string describe_shards(const Dataset& dataset) {
  std::vector<std::vector<std::string>> lines = {{"shard", "samples", "in the file"}};
  for (const std::string& path : dataset.files()) {
    const Hdf5File file(path);
    std::uint64_t stored = 0;
    for (const Hdf5Array& array : file.arrays()) stored += array.stored_bytes;
    lines.push_back({path, text(file.array(dataset.arrays()[0].name).rows()), with_unit(stored)});
  }
  return table(lines);
}

std::string layout_of(const Hdf5Array& stored) {
  std::string layout = stored.chunk.rank() == 0 ? "contiguous" : "chunks " + stored.chunk.to_string();
  if (!stored.filters.empty()) layout += " " + joined(stored.filters, " + ");
  return layout;
}

std::string describe_arrays(const Dataset& dataset, const std::vector<Statistics>& statistics) {
  const Hdf5File first(dataset.files()[0]);
  std::vector<std::vector<std::string>> lines = {
      {"array", "type", "sample", "layout", "least", "greatest", "mean"}};
  for (std::size_t i = 0; i < dataset.arrays().size(); ++i) {
    const DatasetArray& array = dataset.arrays()[i];
    const Hdf5Array& stored = first.array(array.name);
    const Statistics& found = statistics[i];
    const std::string mean = number(found.mean) + (found.not_finite > 0 ? text(", ", found.not_finite, " NaN or infinite") : "");
    lines.push_back({array.name, std::string(name_of(array.dtype)), array.sample.to_string(),
                     layout_of(stored), number(found.least), number(found.greatest), mean});
  }
  return table(lines);
}

std::string class_name(const DatasetArray& labels, std::size_t number) {
  const std::string digits = std::to_string(number);
  if (number >= labels.class_names.size() || labels.class_names[number] == digits) return digits;
  return digits + " " + labels.class_names[number];
}

std::string describe_classes(const DatasetArray& about, const std::vector<std::int64_t>& counts) {
  const std::int64_t most = *std::ranges::max_element(counts);
  std::size_t name_width = 0;
  for (std::size_t k = 0; k < counts.size(); ++k) {
    name_width = std::max(name_width, columns_of(class_name(about, k)));
  }
  std::string out = "classes of \"" + about.name + "\"\n";
  for (std::size_t k = 0; k < counts.size(); ++k) {
    const std::string name = class_name(about, k);
    const std::string count = std::to_string(counts[k]);
    out += "  " + name + std::string(name_width - columns_of(name), ' ') + "  " +
           std::string(std::to_string(most).size() - count.size(), ' ') + count + "  ";
    for (std::int64_t bar = 0; bar < (counts[k] * 40 + most - 1) / most; ++bar) out += "█";
    out += '\n';
  }
  return out;
}

// Height and width of samples that are images; (h, w), (h, w, 1) or (h, w, 3).
bool is_image(const Shape& sample, int width) {
  const bool shaped =
      sample.rank() == 2 || (sample.rank() == 3 && (sample[2] == 1 || sample[2] == 3));
  return shaped && sample[0] >= 2 && sample[1] >= 2 && sample[1] <= (width - 2) / 2;
}

// One line of text for each line of the image, two characters for each pixel.
std::vector<std::string> draw(const Shape& sample, const std::vector<float>& values,
                              const Statistics& range) {
  constexpr const char* kShades[] = {"  ", "░░", "▒▒", "▓▓", "██"};
  const std::int64_t channels = sample.rank() == 3 ? sample[2] : 1;
  std::vector<std::string> lines;
  for (std::int64_t y = 0; y < sample[0]; ++y) {
    std::string line;
    for (std::int64_t x = 0; x < sample[1]; ++x) {
      double light = 0;
      for (std::int64_t c = 0; c < channels; ++c) {
        light += values[static_cast<std::size_t>((y * sample[1] + x) * channels + c)];
      }
      const double width = std::max(range.greatest - range.least, 1e-30);
      const double share = (light / static_cast<double>(channels) - range.least) / width;
      line += kShades[static_cast<int>(std::clamp(share * 5.0, 0.0, 4.0))];
    }
    lines.push_back(line);
  }
  return lines;
}

// The other values of a sample in one line: "y = 3 three".
std::string caption(const Dataset& dataset, std::size_t drawn, std::int64_t id) {
  std::string out = "sample " + std::to_string(id);
  for (std::size_t i = 0; i < dataset.arrays().size(); ++i) {
    const DatasetArray& about = dataset.arrays()[i];
    if (i == drawn || about.sample.elements() != 1) continue;
    const float value = sample_values(dataset, static_cast<int>(i), id)[0];
    const bool named = !about.class_names.empty() && value >= 0;
    out += ", " + about.name + " = " +
           (named ? class_name(about, static_cast<std::size_t>(value)) : number(value));
  }
  return out;
}

std::string draw_images(const Dataset& dataset, std::size_t array,
                        const std::vector<std::int64_t>& ids, int width, const Statistics& range) {
  const Shape& sample = dataset.arrays()[array].sample;
  std::size_t cell = static_cast<std::size_t>(sample[1]) * 2;
  for (const std::int64_t id : ids) cell = std::max(cell, columns_of(caption(dataset, array, id)));
  const std::size_t in_a_row =
      std::max<std::size_t>(1, static_cast<std::size_t>(width) / (cell + 2));
  std::string out = "samples of \"" + dataset.arrays()[array].name + "\"\n";
  for (std::size_t begin = 0; begin < ids.size(); begin += in_a_row) {
    const std::size_t end = std::min(ids.size(), begin + in_a_row);
    std::vector<std::string> lines(static_cast<std::size_t>(sample[0]) + 1);
    for (std::size_t i = begin; i < end; ++i) {
      std::vector<std::string> picture =
          draw(sample, sample_values(dataset, static_cast<int>(array), ids[i]), range);
      picture.insert(picture.begin(), caption(dataset, array, ids[i]));
      for (std::size_t y = 0; y < lines.size(); ++y) {
        lines[y] += "  " + picture[y] + std::string(cell - columns_of(picture[y]), ' ');
      }
    }
    for (const std::string& line : lines)
      out += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return out;
}

std::string show_rows(const Dataset& dataset, const std::vector<std::int64_t>& ids) {
  std::vector<std::vector<std::string>> lines(ids.size() + 1);
  lines[0].push_back("sample");
  for (std::size_t row = 0; row < ids.size(); ++row)
    lines[row + 1].push_back(std::to_string(ids[row]));
  for (std::size_t i = 0; i < dataset.arrays().size(); ++i) {
    const DatasetArray& about = dataset.arrays()[i];
    const std::int64_t columns = std::min(about.sample.elements(), kMaxTableColumns);
    for (std::int64_t c = 0; c < columns; ++c) {
      const bool named =
          about.feature_names.size() == static_cast<std::size_t>(about.sample.elements());
      lines[0].push_back(about.sample.rank() == 0 ? about.name
                         : named                  ? about.feature_names[static_cast<std::size_t>(c)]
                                                  : text(about.name, '[', c, ']'));
      for (std::size_t row = 0; row < ids.size(); ++row) {
        const float value =
            sample_values(dataset, static_cast<int>(i), ids[row])[static_cast<std::size_t>(c)];
        const bool is_class = !about.class_names.empty() && value >= 0;
        lines[row + 1].push_back(is_class ? class_name(about, static_cast<std::size_t>(value))
                                          : number(value));
      }
    }
    if (columns == about.sample.elements()) continue;
    for (auto& line : lines) line.emplace_back("...");
  }
  return "samples\n" + table(lines);
}

// Where an array is a text that `data import` cut into tokens: how it goes on from each of the samples.
std::string show_text(const Dataset& dataset, int array, const std::vector<std::int64_t>& ids, int width,
                      const Tokenizer& tokenizer) {
  const std::size_t digits = std::to_string(ids.back()).size();
  std::string out = "samples of \"" + dataset.arrays()[static_cast<std::size_t>(array)].name + "\", and what follows\n";
  for (const std::int64_t id : ids) {
    std::vector<std::int32_t> tokens;
    for (std::int64_t at = id; at < std::min(id + width, dataset.size()); ++at) {
      tokens.push_back(static_cast<std::int32_t>(sample_values(dataset, array, at).front()));
    }
    const std::string all = on_one_line(tokenizer.decode(tokens));
    const std::string begin = std::to_string(id);
    const std::string blanks(digits - begin.size() + 2, ' ');
    out += "  " + begin + blanks + cut_to(all, static_cast<std::size_t>(width) - digits - 8) + '\n';
  }
  return out;
}

// What a file has whose arrays make no dataset.
std::string describe_file(const std::string& path, const std::string& reason) {
  const Hdf5File file(path);
  std::vector<std::vector<std::string>> lines = {{"array", "type", "shape", "layout"}};
  for (const Hdf5Array& array : file.arrays()) {
    lines.push_back({array.name, std::string(name_of(array.dtype)), array.shape.to_string(), layout_of(array)});
  }
  std::string out = "no dataset as it stands: " + reason + "\nwhat " + path + " has:\n\n" + table(lines);
  for (const auto& [name, why] : file.unreadable()) out += "not read: \"" + name + "\": " + why + '\n';
  return out;
}

}  // namespace

std::string describe_dataset(const std::vector<std::string>& sources,
                             const DescribeOptions& options) {
  std::vector<std::string> files;
  for (const std::string& source : sources) {
    for (std::string& path : resolve_source(source)) files.push_back(std::move(path));
  }
  std::shared_ptr<const Dataset> dataset;
  try {
    dataset = Dataset::describe(sources);
  } catch (const Error& error) {
    if (files.empty()) throw;
    return describe_file(files.front(), error.what());
  }
  std::vector<Statistics> statistics;
  for (std::size_t i = 0; i < dataset->arrays().size(); ++i) statistics.push_back(statistics_of(*dataset, static_cast<int>(i)));
  std::string out = text(dataset->size(), " samples, ", with_unit(dataset->bytes()),
                         " in memory, fingerprint ", hex_of(dataset->fingerprint_of_values()), "\n");
  const Hdf5File first(dataset->files()[0]);
  if (const auto source = first.text("", "source")) out += "source: " + *source + '\n';
  for (const auto& [name, reason] : first.unreadable()) {
    out += "not read: \"" + name + "\": " + reason + '\n';
  }
  out += '\n' + describe_shards(*dataset) + '\n' + describe_arrays(*dataset, statistics);

  std::vector<std::int64_t> ids;
  const std::int64_t shown = std::min(options.samples, dataset->size());
  for (std::int64_t i = 0; i < shown; ++i) ids.push_back(dataset->size() * i / shown);
  for (std::size_t i = 0; i < statistics.size(); ++i) {
    if (!statistics[i].classes.empty()) out += '\n' + describe_classes(dataset->arrays()[i], statistics[i].classes);
  }
  bool drawn = false;
  for (std::size_t i = 0; i < dataset->arrays().size(); ++i) {
    if (shown == 0 || !is_image(dataset->arrays()[i].sample, options.width)) continue;
    out += '\n' + draw_images(*dataset, i, ids, options.width, statistics[i]);
    drawn = true;
  }
  for (std::size_t i = 0; i < dataset->arrays().size(); ++i) {
    const DatasetArray& about = dataset->arrays()[i];
    const auto kept = first.text(about.name, "tokenizer");
    if (shown == 0 || !kept || about.sample.rank() != 0) continue;
    const Tokenizer tokenizer = Tokenizer::parse(dataset->files()[0], *kept);
    out += '\n' + show_text(*dataset, static_cast<int>(i), ids, options.width, tokenizer);
    drawn = true;
  }
  if (shown > 0 && !drawn) out += '\n' + show_rows(*dataset, ids);
  return out;
}

}  // namespace lockstep
