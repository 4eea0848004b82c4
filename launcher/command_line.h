// The command line of one command: what is declared, what was given, and the text of --help. Only
// the files that parse commands include this: it is the home of Boost.Program_options.
//
// Errors are bad_input that begin with the command; an unknown option comes with the nearest one.
#pragma once

#include <boost/program_options.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/options.h"

namespace lockstep {

using Arguments = std::vector<std::string>;

class CommandLine {
 public:
  // `usage` is what stands behind "usage: lockstep "; `about` is one paragraph.
  CommandLine(std::string command, std::string usage, std::string about)
      : command_(std::move(command)), usage_(std::move(usage)), about_(std::move(about)) {}

  // Declares options: add()("name", value, "help").
  boost::program_options::options_description_easy_init add() { return options_.add_options(); }

  // Declares options that --help shows under a title of their own. A name may be declared in
  // several groups.
  void add_group(const std::string& title, const std::vector<FormatOption>& options);

  // Names of the arguments that must be given, in order, as the usage writes them. With `more` the
  // last one may be followed by others.
  void arguments(std::vector<std::string> names, bool more = false) {
    arguments_ = std::move(names);
    more_ = more;
  }

  // The text of --help where it was asked for.
  std::optional<ShowText> parse(const Arguments& given);

  std::string argument(std::size_t i) const { return all_arguments().at(i); }
  Arguments all_arguments() const;
  bool flag(const char* name) const { return values_.count(name) > 0; }
  std::string word(const char* name, const std::string& fallback = "") const {
    return flag(name) ? values_[name].as<std::string>() : fallback;
  }
  std::string required(const char* name) const;
  Arguments list(const char* name) const {
    return flag(name) ? values_[name].as<Arguments>() : Arguments{};
  }
  std::int64_t number(const char* name, std::int64_t least, std::int64_t fallback) const;
  // The position of the option's word among `words`; of `fallback` where the option is not given.
  std::size_t choice(const char* name, const Arguments& words, const std::string& fallback) const;
  // What was given of the options of all groups; "" for a flag.
  FormatOptions of_groups() const;

  [[noreturn]] void refuse(const std::string& what) const;

 private:
  std::string help() const;
  [[noreturn]] void unknown_option(const std::string& option) const;

  static constexpr unsigned kHelpColumns = 98;

  std::string command_, usage_, about_;
  boost::program_options::options_description options_{"options", kHelpColumns, kHelpColumns / 2};
  std::vector<boost::program_options::options_description> groups_;
  std::vector<FormatOption> of_groups_;  // each name once
  boost::program_options::variables_map values_;
  std::vector<std::string> arguments_;
  bool more_ = false;
};

// A value that may be given once.
boost::program_options::typed_value<std::string>* value(const char* name);

// A value that may be given several times.
boost::program_options::typed_value<Arguments>* values(const char* name);

using Parser = Command (*)(const Arguments&);

struct NamedParser {
  std::string name;
  Parser parse;
};

// Finds `word` among the parsers and applies it to `rest`; `before` is what stands before it.
Command parse_named(const std::string& before, const std::vector<NamedParser>& parsers,
                    const std::string& word, const Arguments& rest);

}  // namespace lockstep
