#include "launcher/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "launcher/best_so_far.h"
#include "launcher/metrics.h"

namespace lockstep {
namespace {

using Table = std::shared_ptr<Settings>;

// Microbatches of "auto" where there are fewer workers than that.
constexpr std::int64_t kAutoMicrobatches = 8;

constexpr std::int64_t kMostThreads = 1024;

// Larger than any count that makes sense, small enough to be multiplied.
constexpr std::int64_t kLargestCount = std::int64_t{1} << 40;

// An integer that must be at least `least`, and at most `most`.
std::int64_t integer_from(Settings& section, const std::string& key, std::int64_t fallback,
                          std::int64_t least, std::int64_t most = kLargestCount) {
  const std::int64_t value = section.integer(key, fallback);
  if (value < least) {
    section.refuse(key, text("found ", value, ", expected an integer of at least ", least));
  }
  if (value > most) section.refuse(key, text("found ", value, ", expected at most ", most));
  return value;
}

// A finite number that must be at least 0, or above 0 where `positive`.
double real_from(Settings& section, const std::string& key, double fallback, bool positive) {
  const double value = section.real(key, fallback);
  if (!std::isfinite(value) || value < 0.0 || (positive && value == 0.0)) {
    section.refuse(
        key, text("found ", value, ", expected a number ", positive ? "above 0" : "of at least 0"));
  }
  return value;
}

// Words none of which is empty, and which differ.
std::vector<std::string> names_from(Settings& section, const std::string& key,
                                    const std::vector<std::string>& fallback) {
  const std::vector<std::string> names = section.words(key, fallback);
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (name.empty()) section.refuse(key, "found an empty text, expected a name");
    if (!seen.insert(name).second) section.refuse(key, text("\"", name, "\" is named twice"));
  }
  return names;
}

// The word that a setting holds; null where there is none.
const std::string* word_of(const Setting* setting) {
  return setting == nullptr ? nullptr : std::get_if<std::string>(&setting->value);
}

// Where a key that must be there is missing, an unknown key is the likelier mistake: refuses that
// first.
void look_for_misspelling(Settings& section, const std::string& missing) {
  if (section.has(missing)) return;
  section.find(missing);
  section.finish();
}

// Refuses unknown sections before anything else: a misspelt one would seem to be missing.
void check_sections(Settings& root) {
  const std::vector<std::string> sections = {"run",      "data",       "train",
                                             "evaluate", "checkpoint", "layer"};
  for (const std::string& key : root.keys()) {
    if (std::ranges::find(sections, key) != sections.end()) continue;
    const std::string nearest = nearest_name(key, sections);
    root.refuse(key, nearest.empty() ? "unknown section; valid: run, data, train, evaluate, "
                                       "checkpoint and [[layer]]"
                                     : "unknown section; did you mean \"" + nearest + "\"?");
  }
}

RunConfig read_run(Settings& section) {
  RunConfig run;
  run.seed = std::uint64_t(integer_from(section, "seed", std::int64_t(run.seed), 0, INT64_MAX));
  run.threads = integer_from(section, "threads", run.threads, 1, kMostThreads);
  run.deadline = real_from(section, "deadline", run.deadline, true);
  run.check_every = integer_from(section, "check_every", run.check_every, 0);
  run.time_limit = real_from(section, "time_limit", run.time_limit, false);
  run.share_gpu = section.boolean("share_gpu", run.share_gpu);
  run.autotune = section.boolean("autotune", run.autotune);
  return run;
}

// normalize = { mean = 0.1307, std = 0.3081 }
void read_given_normalization(Settings& table, NormalizeOptions& normalize) {
  normalize.kind = "given";
  const auto numbers = [&](const char* key, bool positive) {
    if (!table.has(key)) table.refuse(key, "missing; expected a number, or one for each entry of the last axis");
    std::vector<double> out = table.real_list(key, {});
    for (const double number : out) {
      if (!std::isfinite(number) || (positive && number <= 0)) {
        table.refuse(key, text("found ", number, ", expected ", positive ? "numbers above 0" : "finite numbers"));
      }
    }
    return out;
  };
  normalize.mean = numbers("mean", false);
  normalize.deviation = numbers("std", true);
  if (normalize.mean.size() != normalize.deviation.size() || normalize.mean.empty()) {
    table.refuse("std", text("found ", normalize.deviation.size(), " numbers for ", normalize.mean.size(),
                             " of mean, expected as many"));
  }
}

void read_normalize(Settings& section, DataConfig& data) {
  const Setting* setting = section.find("normalize");
  if (setting != nullptr && std::holds_alternative<Table>(setting->value)) {
    read_given_normalization(section.table("normalize"), data.normalize);
    if (section.has("normalize_axis")) section.refuse("normalize_axis", "is not used where mean and std are given");
    return;
  }
  const bool is_number =
      setting != nullptr && (std::holds_alternative<double>(setting->value) ||
                             std::holds_alternative<std::int64_t>(setting->value));
  if (is_number) {
    data.normalize.kind = "scale";
    data.normalize.factor = 1.0 / real_from(section, "normalize", 1.0, true);
  } else {
    data.normalize.kind = section.choice("normalize", {"none", "standard", "minmax"}, "none");
  }
  if (data.normalize.kind == "standard" || data.normalize.kind == "minmax") {
    data.normalize.axis =
        section.choice("normalize_axis", {"feature", "array"}, data.normalize.axis);
  } else if (section.has("normalize_axis")) {
    section.refuse("normalize_axis", "is used only where normalize is \"standard\" or \"minmax\"");
  }
}

void read_held_out(Settings& section, DataConfig& data) {
  if (!data.test.empty()) {
    for (const char* key : {"split", "stratified"}) {
      if (section.has(key)) section.refuse(key, "is used only where data.test is not given");
    }
    data.split = 0.0;
    return;
  }
  data.split = section.real("split", data.split);
  if (!(data.split >= 0.0 && data.split < 1.0)) {
    section.refuse("split", text("found ", data.split,
                                 ", expected the part that is held out, at least 0 and below 1"));
  }
  data.stratified = section.boolean("stratified", data.stratified);
}

// "4 GiB", "512MB", or a number of bytes.
std::int64_t read_bytes(Settings& section, const std::string& key, std::int64_t fallback) {
  const Setting* setting = section.find(key);
  if (setting == nullptr) {
    section.integer(key, fallback);
    return fallback;
  }
  if (std::holds_alternative<std::int64_t>(setting->value)) return integer_from(section, key, fallback, 1, INT64_MAX);
  const std::string word = section.word(key, "");
  double number = 0;
  const auto [unit, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  std::string_view rest(unit, static_cast<std::size_t>(word.data() + word.size() - unit));
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  constexpr std::pair<std::string_view, double> kUnits[] = {
      {"B", 1},        {"KB", 1e3},     {"kB", 1e3},     {"MB", 1e6},     {"GB", 1e9},    {"TB", 1e12},
      {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
  for (const auto& [name, factor] : kUnits) {
    const double bytes = number * factor;
    if (error == std::errc() && rest == name && bytes >= 1 && bytes < 0x1p62) return static_cast<std::int64_t>(bytes);
  }
  section.refuse(key, text("found \"", word, "\", expected a number of bytes, or one with a unit: \"512 MiB\", \"4 GB\""));
}

void read_cache(Settings& section, DataConfig& data) {
  const std::string cache = section.choice("cache", {"auto", "memory", "none"}, "auto");
  data.cache = cache == "auto" ? CacheKind::kAuto : cache == "memory" ? CacheKind::kMemory : CacheKind::kNone;
  data.memory = read_bytes(section, "memory", data.memory);
  const std::string* word = word_of(section.find("threads"));
  if (word == nullptr && section.has("threads")) {
    data.threads = integer_from(section, "threads", 1, 1, kMostThreads);
  } else {
    section.choice("threads", {"auto"}, "auto");
  }
}

void read_windows(Settings& section, DataConfig& data) {
  if (!section.has("window")) return;
  Settings& window = section.table("window");
  data.windows.length = integer_from(window, "length", 0, 0);
  if (data.windows.length == 0) window.refuse("length", "missing or 0; expected the rows of an input");
  data.windows.stride = integer_from(window, "stride", data.windows.stride, 1);
  data.windows.horizon = integer_from(window, "horizon", data.windows.horizon, 1);
  data.windows.last_only = window.choice("target", {"sequence", "last"}, "sequence") == "last";
  if (data.stratified) section.refuse("stratified", "windows over a series are held out at its end, not by class");
  if (!data.weights.empty()) section.refuse("weights", "windows over a series have no weights");
}

void read_transforms(Settings& section, DataConfig& data) {
  TransformRegistry registry;
  register_transforms(registry);
  std::uint32_t index = 0;
  for (Settings* table : section.tables("transform")) {
    const std::string* type = word_of(table->find("type"));
    if (type != nullptr && *type == "mixup") {
      table->word("type");
      if (data.mixup > 0) table->refuse("type", "mixup is listed twice");
      data.mixup = real_from(*table, "alpha", 0.2, true);
      data.mixup_index = index++;
      continue;
    }
    const std::string array = table->word("input", data.inputs.front());
    const bool known = std::ranges::find(data.inputs, array) != data.inputs.end() || array == data.target;
    if (!known) table->refuse("input", text("\"", array, "\" is neither in data.inputs nor data.target"));
    data.transforms.push_back({array, {index++, registry.make(*table)}});
    if (array == data.target && data.transforms.back().listed.transform->training_only()) {
      table->refuse("type", "changes inputs at random; a target can only be one_hot");
    }
  }
}

DataConfig read_data(Settings& section) {
  DataConfig data;
  data.test = names_from(section, "test", {});
  read_held_out(section, data);
  data.inputs = names_from(section, "inputs", data.inputs);
  if (data.inputs.empty()) section.refuse("inputs", "found none, expected at least one array");
  data.target = section.word("target", data.target);
  if (data.target.empty()) section.refuse("target", "found an empty text, expected an array");
  data.weights = section.word("weights", data.weights);
  data.sample_shape = section.integer_list("sample_shape", {});
  for (const std::int64_t extent : data.sample_shape) {
    if (extent < 1) {
      section.refuse("sample_shape", text("found the extent ", extent, ", expected at least 1"));
    }
  }
  double elements = 1;
  for (const std::int64_t extent : data.sample_shape) elements *= static_cast<double>(extent);
  if (elements > static_cast<double>(Shape::kMostElements)) {
    section.refuse("sample_shape", text("found a sample of ", elements, " elements, more than any memory"));
  }
  if (data.sample_shape.size() + 1 > std::size_t(Shape::kMaxRank)) {
    section.refuse("sample_shape", text("found ", data.sample_shape.size(),
                                        " extents, expected at most ", Shape::kMaxRank - 1));
  }
  read_normalize(section, data);
  data.shuffle = section.boolean("shuffle", data.shuffle);
  data.classes = integer_from(section, "classes", data.classes, 0);
  read_cache(section, data);
  read_windows(section, data);
  read_transforms(section, data);
  look_for_misspelling(section, "train");
  data.train = names_from(section, "train", {});
  if (data.train.empty()) {
    section.refuse("train", "missing; expected the name of a data set or the path of an HDF5 file");
  }
  return data;
}

std::int64_t read_microbatches(Settings& section, std::int64_t global_batch) {
  const Setting* setting = section.find("microbatches");
  if (setting == nullptr || std::holds_alternative<std::string>(setting->value)) {
    const std::string word = section.choice("microbatches", {"auto", "world"}, "auto");
    return word == "world" ? kMicrobatchesWorld : kMicrobatchesAuto;
  }
  const std::int64_t count = integer_from(section, "microbatches", 1, 1);
  if (count > global_batch) {
    section.refuse("microbatches", text("found ", count, ", expected at most the global batch of ",
                                        global_batch, " samples"));
  }
  return count;
}

EarlyStopping read_early_stopping(Settings& table) {
  EarlyStopping stopping;
  stopping.metric = table.word("metric", stopping.metric);
  stopping.patience = integer_from(table, "patience", stopping.patience, 1);
  stopping.min_delta = real_from(table, "min_delta", stopping.min_delta, false);
  return stopping;
}

// What follows a metric needs evaluations while it trains, and its metric among them. `key` asks for it; `metric_key` of
// `table` names the metric.
void check_followed(Settings& section, const std::string& key, Settings& table, const std::string& metric_key,
                    const std::string& metric, const Config& config) {
  if (config.data.test.empty() && config.data.split == 0.0) {
    section.refuse(key, "needs samples to evaluate; expected data.test, or data.split above 0");
  }
  if (config.evaluate.every == 0) {
    section.refuse(key, "needs evaluations while it trains; expected evaluate.every of at least 1");
  }
  try {
    BestSoFar followed(metric);
  } catch (const Error& error) {
    table.refuse(metric_key, error.what());
  }
  if (metric == "loss" || std::ranges::find(config.evaluate.metrics, metric) != config.evaluate.metrics.end()) return;
  table.refuse(metric_key, text("\"", metric, "\" is not evaluated; expected \"loss\" or one of evaluate.metrics"));
}

void check_all_followed(Settings& root, const Config& config) {
  if (config.train.early_stopping) {
    Settings& train = root.table("train");
    check_followed(train, "early_stopping", train.table("early_stopping"), "metric",
                   config.train.early_stopping->metric, config);
  }
  if (!config.checkpoint.best.empty()) {
    Settings& checkpoint = root.table("checkpoint");
    check_followed(checkpoint, "best", checkpoint, "best", config.checkpoint.best, config);
  }
}

InitialWeights read_initial_weights(Settings& section) {
  InitialWeights initial;
  if (word_of(section.find("initial_weights")) != nullptr) {
    initial.from = section.word("initial_weights");
    if (initial.from.empty()) section.refuse("initial_weights", "found an empty text, expected a path");
    return initial;
  }
  Settings& table = section.table("initial_weights");
  initial.from = table.word("from");
  if (initial.from.empty()) table.refuse("from", "found an empty text, expected a path");
  initial.checkpoint = table.word("checkpoint", initial.checkpoint);
  initial.except = names_from(table, "except", {});
  return initial;
}

void freeze_layers(Settings& section, Config& config) {
  try {
    config.model = config.model.with_frozen(config.train.freeze);
  } catch (const Error& error) {
    section.refuse("freeze", error.what());
  }
}

TrainConfig read_train(Settings& section) {
  TrainConfig train;
  train.epochs = integer_from(section, "epochs", train.epochs, 1);
  train.steps = integer_from(section, "steps", train.steps, 0);
  train.global_batch = integer_from(section, "global_batch", train.global_batch, 1);
  train.microbatches = read_microbatches(section, train.global_batch);
  train.optimizer = Optimizer::make(section);
  train.learning_rate = Schedule::make(section);
  const std::string precision = section.choice("precision", {"f32", "tf32", "bf16"}, "f32");
  if (precision == "tf32") train.precision = TrainPrecision::kTF32;
  if (precision == "bf16") train.precision = TrainPrecision::kBF16;
  train.reduction = section.choice("reduction", {"exact", "fast"}, "exact") == "fast"
                        ? ReductionKind::kFast
                        : ReductionKind::kExact;
  const std::string* word = word_of(section.find("bucket_bytes"));
  if (word == nullptr && section.has("bucket_bytes")) {
    train.bucket_bytes = integer_from(section, "bucket_bytes", 1, 1);
  } else {
    section.choice("bucket_bytes", {"auto"}, "auto");
  }
  train.clip_norm = real_from(section, "clip_norm", train.clip_norm, false);
  if (section.has("initial_weights")) train.initial_weights = read_initial_weights(section);
  train.freeze = names_from(section, "freeze", {});
  if (section.has("early_stopping")) {
    train.early_stopping = read_early_stopping(section.table("early_stopping"));
  }
  look_for_misspelling(section, "loss");
  train.loss = Loss::make(section);
  return train;
}

EvaluateConfig read_evaluate(Settings& section, Task task) {
  EvaluateConfig evaluate;
  evaluate.every = integer_from(section, "every", evaluate.every, 0);
  evaluate.metrics = names_from(section, "metrics", default_metrics(task));
  for (const std::string& name : evaluate.metrics) {
    try {
      check_metric(name, task);
    } catch (const Error& error) {
      section.refuse("metrics", error.what());
    }
  }
  evaluate.batch = integer_from(section, "batch", evaluate.batch, 1);
  return evaluate;
}

CheckpointConfig read_checkpoint(Settings& section) {
  CheckpointConfig checkpoint;
  checkpoint.every_steps = integer_from(section, "every_steps", checkpoint.every_steps, 0);
  checkpoint.keep = integer_from(section, "keep", checkpoint.keep, 1);
  checkpoint.keep_every = integer_from(section, "keep_every", checkpoint.keep_every, 0);
  checkpoint.best = section.word("best", checkpoint.best);
  return checkpoint;
}

// The cross-entropies take logits: an activation to probabilities before them would be applied
// twice.
void check_logits(Settings& root, const Loss& loss) {
  if (!loss.kind().ends_with("cross_entropy")) return;
  Settings& last = *root.tables("layer").back();
  for (const char* key : {"type", "activation"}) {
    const std::string* word = word_of(last.find(key));
    if (word == nullptr || (*word != "softmax" && *word != "sigmoid")) continue;
    last.refuse(key,
                text("found \"", *word, "\" at the end of the model, but the loss ", loss.kind(),
                     " takes logits and applies it itself; expected no activation here"));
  }
}

// TOML ------------------------------------------------------------------------------------------
//   document = { key " = " value } { "[" path "]" { key " = " value } | "[[" path "]]" ... }

std::string toml_text(const std::string& word) {
  std::string out = "\"";
  for (const char c : word) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      constexpr char kHex[] = "0123456789abcdef";
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string toml_key(const std::string& key) {
  const bool bare = !key.empty() && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
  return bare ? key : toml_text(key);
}

// The shortest text that reads back as the same double.
std::string toml_real(double value) {
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  require(error == std::errc(), "a double does not fit in 32 characters");
  std::string out(buffer, end);
  return out.find_first_of(".e") == std::string::npos ? out + ".0" : out;
}

std::string toml_value(const Setting& setting);

std::string toml_inline_table(Settings& table) {
  std::string out;
  for (const std::string& key : table.keys()) {
    out += (out.empty() ? "" : ", ") + toml_key(key) + " = " + toml_value(*table.find(key));
  }
  return out.empty() ? "{}" : "{ " + out + " }";
}

std::string toml_value(const Setting& setting) {
  if (const auto* flag = std::get_if<bool>(&setting.value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<std::int64_t>(&setting.value)) {
    return std::to_string(*number);
  }
  if (const auto* number = std::get_if<double>(&setting.value)) return toml_real(*number);
  if (const auto* word = std::get_if<std::string>(&setting.value)) return toml_text(*word);
  if (const auto* table = std::get_if<Table>(&setting.value)) return toml_inline_table(**table);
  std::string out;
  for (const Setting& item : std::get<Setting::List>(setting.value)) {
    out += (out.empty() ? "" : ", ") + toml_value(item);
  }
  return "[" + out + "]";
}

bool is_list_of_tables(const Setting& setting) {
  const auto* list = std::get_if<Setting::List>(&setting.value);
  return list != nullptr && !list->empty() && std::ranges::all_of(*list, [](const Setting& item) {
           return std::holds_alternative<Table>(item.value);
         });
}

void write_table(Settings& table, const std::string& path, std::string& out) {
  const auto is_value = [&](const std::string& key) {
    const Setting& setting = *table.find(key);
    return !std::holds_alternative<Table>(setting.value) && !is_list_of_tables(setting);
  };
  for (const std::string& key : table.keys()) {
    if (is_value(key)) out += toml_key(key) + " = " + toml_value(*table.find(key)) + '\n';
  }
  for (const std::string& key : table.keys()) {
    if (is_value(key)) continue;
    const std::string name = path.empty() ? toml_key(key) : path + "." + toml_key(key);
    const Setting& setting = *table.find(key);
    if (const auto* child = std::get_if<Table>(&setting.value)) {
      out += text(out.empty() ? "" : "\n", '[', name, "]\n");
      write_table(**child, name, out);
      continue;
    }
    for (const Setting& item : std::get<Setting::List>(setting.value)) {
      out += text(out.empty() ? "" : "\n", "[[", name, "]]\n");
      write_table(*std::get<Table>(item.value), name, out);
    }
  }
}

}  // namespace

std::string Config::toml_of_run(std::int64_t world_size) const {
  std::string out = toml;
  for (const std::string word : {"auto", "world"}) {
    const std::string line = "\nmicrobatches = \"" + word + "\"\n";
    const std::size_t at = out.find(line);
    if (at != std::string::npos) out.replace(at, line.size(), text("\nmicrobatches = ", microbatches(world_size), "\n"));
  }
  return out;
}

std::int64_t Config::microbatches(std::int64_t world_size) const {
  std::int64_t count = train.microbatches;
  if (count == kMicrobatchesAuto) count = std::max(kAutoMicrobatches, world_size);
  if (count == kMicrobatchesWorld) count = world_size;
  return std::min(count, train.global_batch);
}

Config read_config(Settings& root, const LayerRegistry& layers) {
  check_sections(root);
  Config config;
  config.run = read_run(root.table("run"));
  config.data = read_data(root.table("data"));
  config.train = read_train(root.table("train"));
  config.evaluate = read_evaluate(root.table("evaluate"), task_of_loss(config.train.loss->kind()));
  config.checkpoint = read_checkpoint(root.table("checkpoint"));
  check_all_followed(root, config);
  config.model = read_model(root, layers, config.data.inputs);
  freeze_layers(root.table("train"), config);
  check_logits(root, *config.train.loss);
  root.finish();
  config.toml = to_toml(*root.resolved());
  return config;
}

std::string to_toml(Settings& tree) {
  std::string out;
  write_table(tree, "", out);
  return out;
}

std::string config_hash(const Config& config, std::int64_t world_size) {
  const std::string text = config.toml_of_run(world_size);
  Sha256 hash;
  hash.update(std::as_bytes(std::span(text)));
  return hash.hex();
}

}  // namespace lockstep
