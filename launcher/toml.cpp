#include "launcher/toml.h"

#include <toml++/toml.h>
#include <algorithm>
#include <charconv>
#include <optional>

#include "core/base/error.h"
#include "core/base/file.h"

namespace lockstep {
namespace {

// Parses, turning an error of syntax into "name:line:column: ...".
toml::table parse(std::string_view content, const std::string& name) {
  try {
    return toml::parse(content, name);
  } catch (const toml::parse_error& error) {
    const auto begin = error.source().begin;
    std::string what(error.description());
    std::ranges::replace(what, '\n', ' ');
    bad_input(name, ":", begin.line, ":", begin.column, ": ", what);
  }
}

// ---- Overrides ----------------------------------------------------------------------------------

// The value of an override: TOML where it is some, else a text.
toml::table parse_override_value(const std::string& value) {
  try {
    toml::table parsed = toml::parse("value = " + value);
    if (parsed.size() == 1) return parsed;
  } catch (const toml::parse_error&) {
    // Not TOML, so a text.
  }
  return toml::table{{"value", value}};
}

std::vector<std::string> split_at_dots(const std::string& key) {
  std::vector<std::string> out;
  for (std::size_t begin = 0;;) {
    const std::size_t end = key.find('.', begin);
    out.push_back(key.substr(begin, end - begin));
    if (end == std::string::npos) return out;
    begin = end + 1;
  }
}

std::optional<std::size_t> to_index(const std::string& word) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), index);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return index;
}

class Override {
 public:
  explicit Override(const std::string& assignment) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string::npos) {
      bad_input("--set ", assignment, ": expected key=value, for example train.epochs=5");
    }
    key_ = assignment.substr(0, equals);
    parts_ = split_at_dots(key_);
    if (std::ranges::find(parts_, "") != parts_.end()) {
      bad_input("--set ", assignment, ": expected names separated by single dots before the =");
    }
    value_ = parse_override_value(assignment.substr(equals + 1));
  }

  void apply(toml::table& root) const {
    toml::table* table = &root;
    for (std::size_t i = 0; i + 1 < parts_.size(); ++i) {
      toml::node* next = table->get(parts_[i]);
      if (next == nullptr) {
        next = &table->insert_or_assign(parts_[i], toml::table{}).first->second;
      }
      if (toml::array* list = next->as_array(); list != nullptr && list->is_array_of_tables()) {
        if (i + 2 == parts_.size()) {
          refuse(i + 1, "is a list of tables; say which key of which one");
        }
        next = &item_of(*list, i);
        ++i;
      }
      table = next->as_table();
      if (table == nullptr) refuse(i + 1, "is not a table, it has no keys");
    }
    table->insert_or_assign(parts_.back(), *value_.get("value"));
  }

 private:
  // The table of `list`, which is the value of part `i`, that part `i + 1` names.
  toml::node& item_of(toml::array& list, std::size_t i) const {
    const std::string& word = parts_[i + 1];
    const std::optional<std::size_t> index = to_index(word);
    if (index && *index < list.size()) return list[*index];
    std::vector<std::string> names;
    for (toml::node& item : list) {
      const auto name = (*item.as_table())["name"].value<std::string>();
      if (name == word) return item;
      if (name) names.push_back(*name);
    }
    const std::string nearest = nearest_name(word, names);
    refuse(i + 1, text("has ", list.size(), list.size() == 1 ? " table" : " tables",
                       ", numbered from 0, and none is '", word, "'",
                       nearest.empty() ? "" : "; did you mean '" + nearest + "'?"));
  }

  // `parts` is how much of the key the message is about.
  [[noreturn]] void refuse(std::size_t parts, const std::string& what) const {
    std::string name = parts_[0];
    for (std::size_t i = 1; i < parts; ++i) name += "." + parts_[i];
    bad_input("--set ", key_, ": ", name, " ", what);
  }

  std::string key_;
  std::vector<std::string> parts_;
  toml::table value_;  // one key, "value"
};

// ---- Conversion ---------------------------------------------------------------------------------

class Converter {
 public:
  explicit Converter(const std::string& file) : file_(file) {}

  std::shared_ptr<Settings> table(const toml::table& from, const std::string& path) const {
    auto out = std::make_shared<Settings>(path, place_of(from));
    // toml++ sorts keys; the file's order is that of the places. What was added by overrides has no
    // line and goes last.
    std::vector<std::pair<const toml::key*, const toml::node*>> items;
    for (const auto& [key, node] : from) items.emplace_back(&key, &node);
    std::ranges::stable_sort(items, {}, [](const auto& item) {
      const auto begin = item.first->source().begin;
      return std::pair(begin.line - 1, begin.column);  // unsigned: line 0 wraps to the end
    });
    for (const auto& [key, node] : items) {
      const std::string name(key->str());
      out->set(name, setting(*node, path.empty() ? name : path + "." + name));
    }
    return out;
  }

 private:
  std::string place_of(const toml::node& node) const {
    const auto line = node.source().begin.line;
    return line == 0 ? "--set" : text(file_, ":", line);
  }

  Setting setting(const toml::node& node, const std::string& path) const {
    const std::string place = place_of(node);
    if (const auto* value = node.as_boolean()) return {value->get(), place};
    if (const auto* value = node.as_integer()) return {value->get(), place};
    if (const auto* value = node.as_floating_point()) return {value->get(), place};
    if (const auto* value = node.as_string()) return {value->get(), place};
    if (const auto* value = node.as_table()) return {table(*value, path), place};
    if (const auto* value = node.as_array()) {
      Setting::List list;
      for (const toml::node& item : *value) {
        list.push_back(setting(item, text(path, "[", list.size(), "]")));
      }
      return {std::move(list), place};
    }
    bad_input(place, ": ", path, ": a date or time is no setting; put a text in quotes");
  }

  const std::string& file_;
};

}  // namespace

std::shared_ptr<Settings> parse_toml(std::string_view content, const std::string& name,
                                     const std::vector<std::string>& overrides) {
  toml::table root = parse(content, name);
  for (const std::string& assignment : overrides) Override(assignment).apply(root);
  return Converter(name).table(root, "");
}

std::shared_ptr<Settings> read_toml(const std::string& path,
                                    const std::vector<std::string>& overrides) {
  const std::string content = local_files().read(path);
  if (content.find_first_not_of(" \t\r\n") == std::string::npos) {
    bad_input(path,
              ": the file is empty; expected a configuration with [data], [train], [[layer]]");
  }
  return parse_toml(content, path, overrides);
}

}  // namespace lockstep
