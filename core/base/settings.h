// A tree of named settings as read from a configuration, each with the place it came from.
//
// The reader asks for every name it knows; finish() then refuses what nobody asked for, with the
// nearest name that was asked for. So a layer, an optimizer or a section declares its keys by
// reading them, and the list of valid names cannot drift from the code. Errors are bad_input with
// place and key:
//   train.toml:12: layer[1].fliters: unknown key; did you mean "filters"?
//
// Not thread-safe. The tree does not change while it is read, except for the marks of what was
// asked.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

namespace lockstep {

class Settings;

// One value. A table is a Settings; a list may hold values of several kinds.
struct Setting {
  using List = std::vector<Setting>;
  std::variant<bool, std::int64_t, double, std::string, List, std::shared_ptr<Settings>> value;
  std::string place;  // "file:line", or "--set"
};

class Settings {
 public:
  // `path` is the dotted name of this table for messages ("train", "layer[2]"; "" for the root).
  explicit Settings(std::string path = "", std::string place = "");

  void set(const std::string& key, Setting setting);
  bool has(const std::string& key) const;

  // Typed reads. Those without a default throw where the key is missing. An integer is accepted
  // where a real number is asked for; NaN is refused. `allowed` of choice() lists the valid words.
  bool boolean(const std::string& key, bool fallback);
  std::int64_t integer(const std::string& key, std::int64_t fallback);
  std::int64_t integer(const std::string& key);
  double real(const std::string& key, double fallback);
  double real(const std::string& key);
  std::string word(const std::string& key, const std::string& fallback);
  std::string word(const std::string& key);
  std::string choice(const std::string& key, const std::vector<std::string>& allowed,
                     const std::string& fallback);
  // One integer (repeated `count` times) or a list of `count` integers: kernel_size = 3 or [3, 5].
  std::vector<std::int64_t> integers(const std::string& key, std::size_t count,
                                     const std::vector<std::int64_t>& fallback);
  // One integer or a list of any length.
  std::vector<std::int64_t> integer_list(const std::string& key,
                                         const std::vector<std::int64_t>& fallback);
  std::vector<double> real_list(const std::string& key, const std::vector<double>& fallback);
  // One word or a list of words.
  std::vector<std::string> words(const std::string& key, const std::vector<std::string>& fallback);
  // A sub-table; an empty one where the key is missing. Owned by this tree.
  Settings& table(const std::string& key);
  // A list of tables ([[layer]]); empty where the key is missing.
  std::vector<Settings*> tables(const std::string& key);
  // The raw value, nullptr where missing; for keys that take several kinds ("world" or a number).
  const Setting* find(const std::string& key);

  // Throws bad_input naming `key` of this table, its place, and `parts` of the message.
  [[noreturn]] void refuse(const std::string& key, const std::string& what) const;

  // Throws where this table, or a table below it that was asked for, holds a key nobody asked for.
  void finish() const;

  const std::string& path() const { return path_; }
  const std::string& place() const { return place_; }
  // "train.epochs"
  std::string full_name(const std::string& key) const;
  // Keys in the order they were first set, for writing the tree out again.
  const std::vector<std::string>& keys() const { return order_; }

  // The tree as its readers saw it: every key that was asked for, in the order of asking, with the
  // fallback where it was not set. Keys without a value or fallback are left out.
  std::shared_ptr<Settings> resolved() const;

 private:
  // Marks the key as asked for; true where it is set, else notes the fallback.
  template <typename Value>
  bool is_set(const std::string& key, const Value& fallback);
  // The value of a key that must be there.
  const Setting& get(const std::string& key, const std::string& expected);
  [[noreturn]] void wrong_type(const std::string& key, const std::string& expected) const;
  std::int64_t to_integer(const std::string& key, const Setting& setting,
                          const std::string& expected) const;
  double to_real(const std::string& key, const Setting& setting, const std::string& expected) const;

  std::string path_, place_;
  std::map<std::string, Setting> values_;
  std::vector<std::string> order_;
  std::set<std::string> asked_;                                     // also names that are not set
  std::vector<std::string> asked_order_;                            // the same, in order
  std::map<std::string, Setting> fallbacks_;                        // of keys that are not set
  std::map<std::string, std::shared_ptr<Settings>> absent_tables_;  // made by table()
};

// The candidate nearest to `word` by edit distance, or "" where none is near (distance over a third
// of the length, rounded up, plus one).
std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace lockstep
