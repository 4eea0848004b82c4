#include "launcher/command_line.h"

#include <algorithm>
#include <sstream>

#include "core/base/error.h"
#include "core/base/settings.h"

namespace lockstep {
namespace {

namespace po = boost::program_options;

// Where the parser collects arguments that are no options; nobody can type this as an option.
constexpr const char* kPositional = "positional arguments";

void declare(po::options_description& to, const FormatOption& option) {
  if (option.value.empty()) {
    to.add_options()(option.name.c_str(), option.about.c_str());
  } else {
    to.add_options()(option.name.c_str(), value(option.value.c_str()), option.about.c_str());
  }
}

}  // namespace

po::typed_value<std::string>* value(const char* name) {
  return po::value<std::string>()->value_name(name);
}

po::typed_value<Arguments>* values(const char* name) {
  return po::value<Arguments>()->value_name(name);
}

void CommandLine::add_group(const std::string& title, const std::vector<FormatOption>& options) {
  po::options_description& group = groups_.emplace_back(title, kHelpColumns, kHelpColumns / 2);
  for (const FormatOption& option : options) {
    declare(group, option);
    if (std::ranges::find(of_groups_, option.name, &FormatOption::name) == of_groups_.end())
      of_groups_.push_back(option);
  }
}

std::optional<ShowText> CommandLine::parse(const Arguments& given) {
  options_.add_options()("help,h", "print this");
  po::options_description all;
  all.add(options_);
  for (const FormatOption& option : of_groups_) declare(all, option);
  all.add_options()(kPositional, po::value<Arguments>());
  po::positional_options_description positional;
  positional.add(kPositional, -1);
  const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
  try {
    po::store(po::command_line_parser(given).options(all).positional(positional).style(style).run(),
              values_);
  } catch (const po::unknown_option& error) {
    unknown_option(error.get_option_name());
  } catch (const po::error& error) {
    refuse(error.what());
  }
  if (values_.count("help") > 0) return ShowText{help()};
  const Arguments found = all_arguments();
  for (std::size_t i = found.size(); i < arguments_.size(); ++i) {
    refuse(arguments_[i] + " is missing");
  }
  if (found.size() > arguments_.size() && !more_) {
    refuse("unexpected argument '" + found[arguments_.size()] + "'");
  }
  return std::nullopt;
}

Arguments CommandLine::all_arguments() const {
  return list(kPositional);
}

std::string CommandLine::required(const char* name) const {
  if (!flag(name)) refuse(text("--", name, " is missing"));
  return word(name);
}

std::int64_t CommandLine::number(const char* name, std::int64_t least,
                                 std::int64_t fallback) const {
  if (!flag(name)) return fallback;
  const std::string value = word(name);
  const std::string expected = text(" expects an integer from ", least, " on");
  try {
    std::size_t end = 0;
    const std::int64_t number = std::stoll(value, &end);
    if (end == value.size() && number >= least) return number;
  } catch (const std::logic_error&) {  // not a number, or not one that 64 bits hold
  }
  refuse(text("--", name, expected, ", found '", value, "'"));
}

std::size_t CommandLine::choice(const char* name, const Arguments& words,
                                const std::string& fallback) const {
  const std::string value = word(name, fallback);
  const auto found = std::ranges::find(words, value);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  std::string expected;
  for (const std::string& known : words) expected += (expected.empty() ? "" : ", ") + known;
  refuse(text("--", name, " expects one of ", expected, "; found '", value, "'"));
}

FormatOptions CommandLine::of_groups() const {
  FormatOptions out;
  for (const FormatOption& option : of_groups_) {
    if (!flag(option.name.c_str())) continue;
    out.set(option.name, option.value.empty() ? "" : word(option.name.c_str()));
  }
  return out;
}

void CommandLine::refuse(const std::string& what) const {
  bad_input(command_, ": ", what, " (usage: lockstep ", usage_, ")");
}

std::string CommandLine::help() const {
  std::ostringstream out;
  out << "usage: lockstep " << usage_ << "\n\n" << about_ << "\n\n" << options_;
  for (const auto& group : groups_) out << '\n' << group;
  return out.str();
}

void CommandLine::unknown_option(const std::string& option) const {
  std::vector<std::string> known;
  for (const auto& described : options_.options()) known.push_back(described->long_name());
  for (const FormatOption& described : of_groups_) known.push_back(described.name);
  std::string name = option.substr(std::min(option.find_first_not_of('-'), option.size()));
  name.resize(std::min(name.find('='), name.size()));
  const std::string nearest = nearest_name(name, known);
  bad_input(command_, ": unknown option '", option, "'",
            nearest.empty() ? "" : "; did you mean --" + nearest + "?", " ('lockstep ", command_,
            " --help' lists all)");
}

Command parse_named(const std::string& before, const std::vector<NamedParser>& parsers,
                    const std::string& word, const Arguments& rest) {
  std::vector<std::string> names;
  for (const NamedParser& parser : parsers) {
    if (parser.name == word) return parser.parse(rest);
    names.push_back(parser.name);
  }
  const std::string nearest = nearest_name(word, names);
  bad_input(before, "unknown command '", word, "'",
            nearest.empty() ? "" : "; did you mean '" + nearest + "'?",
            " ('lockstep --help' lists all)");
}

}  // namespace lockstep
