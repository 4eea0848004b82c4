#include "core/base/settings.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/base/error.h"

namespace lockstep {
namespace {

using Table = std::shared_ptr<Settings>;

// The value as a message shows it.
std::string shown(const Setting& setting) {
  if (const auto* flag = std::get_if<bool>(&setting.value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<std::int64_t>(&setting.value)) {
    return std::to_string(*number);
  }
  if (const auto* number = std::get_if<double>(&setting.value)) {
    const bool looks_integer = std::isfinite(*number) && *number == std::floor(*number);
    return text(*number, looks_integer ? " (a real number)" : "");
  }
  if (const auto* word = std::get_if<std::string>(&setting.value)) return '"' + *word + '"';
  if (const auto* list = std::get_if<Setting::List>(&setting.value)) {
    return text("a list of ", list->size());
  }
  return "a table";
}

std::string quoted_list(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) {
    if (!out.empty()) out += ", ";
    out += '"' + name + '"';
  }
  return out;
}

// A fallback as the setting that reads back as it.
Setting to_setting(bool value) {
  return {value, ""};
}
Setting to_setting(std::int64_t value) {
  return {value, ""};
}
Setting to_setting(double value) {
  return {value, ""};
}
Setting to_setting(const std::string& value) {
  return {value, ""};
}
template <typename Value>
Setting to_setting(const std::vector<Value>& values) {
  Setting::List list;
  for (const Value& value : values) list.push_back(to_setting(value));
  return {std::move(list), ""};
}

// Edit distance with insertion, deletion, substitution and exchange of neighbours, each of cost one
// (optimal string alignment), in O(|a| |b|) steps.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + cost});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        now[j] = std::min(now[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(now);
  }
  return last[b.size()];
}

}  // namespace

std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates) {
  std::size_t best = (word.size() + 2) / 3 + 2;  // one more than the largest distance that is near
  std::string nearest;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

Settings::Settings(std::string path, std::string place)
    : path_(std::move(path)), place_(std::move(place)) {}

void Settings::set(const std::string& key, Setting setting) {
  if (!values_.contains(key)) order_.push_back(key);
  values_[key] = std::move(setting);
}

bool Settings::has(const std::string& key) const {
  return values_.contains(key);
}

std::string Settings::full_name(const std::string& key) const {
  return path_.empty() ? key : path_ + "." + key;
}

void Settings::refuse(const std::string& key, const std::string& what) const {
  const auto found = values_.find(key);
  const std::string& place =
      found != values_.end() && !found->second.place.empty() ? found->second.place : place_;
  bad_input(place.empty() ? "" : place + ": ", full_name(key), ": ", what);
}

void Settings::wrong_type(const std::string& key, const std::string& expected) const {
  refuse(key, text("expected ", expected, ", found ", shown(values_.at(key))));
}

template <typename Value>
bool Settings::is_set(const std::string& key, const Value& fallback) {
  if (find(key) != nullptr) return true;
  fallbacks_[key] = to_setting(fallback);
  return false;
}

const Setting* Settings::find(const std::string& key) {
  if (asked_.insert(key).second) asked_order_.push_back(key);
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

const Setting& Settings::get(const std::string& key, const std::string& expected) {
  if (const Setting* setting = find(key)) return *setting;
  std::string misspelt;
  for (const std::string& other : order_) {
    if (!asked_.contains(other) && !nearest_name(other, {key}).empty()) misspelt = other;
  }
  refuse(key, text("missing; expected ", expected,
                   misspelt.empty() ? "" : "; is \"" + misspelt + "\" a misspelling of it?"));
}

std::int64_t Settings::to_integer(const std::string& key, const Setting& setting,
                                  const std::string& expected) const {
  const auto* number = std::get_if<std::int64_t>(&setting.value);
  if (number == nullptr) wrong_type(key, expected);
  return *number;
}

double Settings::to_real(const std::string& key, const Setting& setting,
                         const std::string& expected) const {
  if (const auto* integer = std::get_if<std::int64_t>(&setting.value)) {
    return static_cast<double>(*integer);
  }
  const auto* number = std::get_if<double>(&setting.value);
  if (number == nullptr || std::isnan(*number)) wrong_type(key, expected);
  return *number;
}

bool Settings::boolean(const std::string& key, bool fallback) {
  if (!is_set(key, fallback)) return fallback;
  const Setting* setting = find(key);
  const auto* flag = std::get_if<bool>(&setting->value);
  if (flag == nullptr) wrong_type(key, "true or false");
  return *flag;
}

std::int64_t Settings::integer(const std::string& key, std::int64_t fallback) {
  return is_set(key, fallback) ? integer(key) : fallback;
}

std::int64_t Settings::integer(const std::string& key) {
  return to_integer(key, get(key, "an integer"), "an integer");
}

double Settings::real(const std::string& key, double fallback) {
  return is_set(key, fallback) ? real(key) : fallback;
}

double Settings::real(const std::string& key) {
  return to_real(key, get(key, "a number"), "a number");
}

std::string Settings::word(const std::string& key, const std::string& fallback) {
  return is_set(key, fallback) ? word(key) : fallback;
}

std::string Settings::word(const std::string& key) {
  const auto* word = std::get_if<std::string>(&get(key, "a text").value);
  if (word == nullptr) wrong_type(key, "a text");
  return *word;
}

std::string Settings::choice(const std::string& key, const std::vector<std::string>& allowed,
                             const std::string& fallback) {
  if (!is_set(key, fallback)) return fallback;
  const Setting* setting = find(key);
  const auto* word = std::get_if<std::string>(&setting->value);
  if (word == nullptr) wrong_type(key, "one of " + quoted_list(allowed));
  if (std::ranges::find(allowed, *word) != allowed.end()) return *word;
  const std::string nearest = nearest_name(*word, allowed);
  const std::string valid = "; valid: " + quoted_list(allowed);
  refuse(key, text('"', *word, "\" is not known",
                   nearest.empty() ? valid : "; did you mean \"" + nearest + "\"?" + valid));
}

std::vector<std::int64_t> Settings::integers(const std::string& key, std::size_t count,
                                             const std::vector<std::int64_t>& fallback) {
  if (!is_set(key, fallback)) return fallback;
  const Setting* setting = find(key);
  const std::string expected = text("an integer or a list of ", count, " integers");
  const auto* list = std::get_if<Setting::List>(&setting->value);
  if (list == nullptr) return std::vector(count, to_integer(key, *setting, expected));
  if (list->size() != count) wrong_type(key, expected);
  return integer_list(key, fallback);
}

std::vector<std::int64_t> Settings::integer_list(const std::string& key,
                                                 const std::vector<std::int64_t>& fallback) {
  if (!is_set(key, fallback)) return fallback;
  const Setting* setting = find(key);
  const std::string expected = "an integer or a list of integers";
  const auto* list = std::get_if<Setting::List>(&setting->value);
  if (list == nullptr) return {to_integer(key, *setting, expected)};
  std::vector<std::int64_t> out;
  for (const Setting& item : *list) {
    const auto* number = std::get_if<std::int64_t>(&item.value);
    if (number == nullptr) {
      refuse(key, text("expected ", expected, ", found a list with ", shown(item)));
    }
    out.push_back(*number);
  }
  return out;
}

std::vector<double> Settings::real_list(const std::string& key,
                                        const std::vector<double>& fallback) {
  if (!is_set(key, fallback)) return fallback;
  const Setting* setting = find(key);
  const std::string expected = "a number or a list of numbers";
  const auto* list = std::get_if<Setting::List>(&setting->value);
  if (list == nullptr) return {to_real(key, *setting, expected)};
  std::vector<double> out;
  for (const Setting& item : *list) {
    const bool is_number = std::holds_alternative<std::int64_t>(item.value) ||
                           std::holds_alternative<double>(item.value);
    if (!is_number) {
      refuse(key, text("expected ", expected, ", found a list with ", shown(item)));
    }
    out.push_back(to_real(key, item, expected));
  }
  return out;
}

std::vector<std::string> Settings::words(const std::string& key,
                                         const std::vector<std::string>& fallback) {
  if (!is_set(key, fallback)) return fallback;
  const Setting* setting = find(key);
  const std::string expected = "a text or a list of texts";
  if (const auto* word = std::get_if<std::string>(&setting->value)) return {*word};
  const auto* list = std::get_if<Setting::List>(&setting->value);
  if (list == nullptr) wrong_type(key, expected);
  std::vector<std::string> out;
  for (const Setting& item : *list) {
    const auto* word = std::get_if<std::string>(&item.value);
    if (word == nullptr) {
      refuse(key, text("expected ", expected, ", found a list with ", shown(item)));
    }
    out.push_back(*word);
  }
  return out;
}

Settings& Settings::table(const std::string& key) {
  const Setting* setting = find(key);
  if (setting == nullptr) {
    Table& absent = absent_tables_[key];
    if (!absent) absent = std::make_shared<Settings>(full_name(key), place_);
    return *absent;
  }
  const auto* table = std::get_if<Table>(&setting->value);
  if (table == nullptr) wrong_type(key, "a table");
  return **table;
}

std::vector<Settings*> Settings::tables(const std::string& key) {
  const Setting* setting = find(key);
  if (setting == nullptr) return {};
  const std::string expected = "a list of tables ([[" + full_name(key) + "]])";
  const auto* list = std::get_if<Setting::List>(&setting->value);
  if (list == nullptr) wrong_type(key, expected);
  std::vector<Settings*> out;
  for (const Setting& item : *list) {
    const auto* table = std::get_if<Table>(&item.value);
    if (table == nullptr) {
      refuse(key, text("expected ", expected, ", found a list with ", shown(item)));
    }
    out.push_back(table->get());
  }
  return out;
}

std::shared_ptr<Settings> Settings::resolved() const {
  auto out = std::make_shared<Settings>(path_, place_);
  for (const std::string& key : asked_order_) {
    const auto set = values_.find(key);
    const auto fallback = fallbacks_.find(key);
    const auto absent = absent_tables_.find(key);
    Setting setting;
    if (set != values_.end()) {
      setting = set->second;
    } else if (fallback != fallbacks_.end()) {
      setting = fallback->second;
    } else if (absent != absent_tables_.end()) {
      setting = {absent->second, place_};
    } else {
      continue;
    }
    if (auto* table = std::get_if<Table>(&setting.value)) *table = (*table)->resolved();
    if (auto* list = std::get_if<Setting::List>(&setting.value)) {
      for (Setting& item : *list) {
        if (auto* table = std::get_if<Table>(&item.value)) *table = (*table)->resolved();
      }
    }
    out->set(key, std::move(setting));
  }
  return out;
}

void Settings::finish() const {
  const std::vector<std::string> known(asked_.begin(), asked_.end());
  for (const std::string& key : order_) {
    if (!asked_.contains(key)) {
      const std::string nearest = nearest_name(key, known);
      if (!nearest.empty()) refuse(key, "unknown key; did you mean \"" + nearest + "\"?");
      refuse(key, known.empty() ? "unknown key; no keys are valid here"
                                : "unknown key; valid here: " + quoted_list(known));
    }
    const Setting& setting = values_.at(key);
    if (const auto* table = std::get_if<Table>(&setting.value)) (*table)->finish();
    if (const auto* list = std::get_if<Setting::List>(&setting.value)) {
      for (const Setting& item : *list) {
        if (const auto* table = std::get_if<Table>(&item.value)) (*table)->finish();
      }
    }
  }
}

}  // namespace lockstep
