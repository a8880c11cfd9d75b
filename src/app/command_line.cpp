#include "app/command_line.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "base/text.h"

namespace mpq {
namespace po = boost::program_options;
using Json = nlohmann::ordered_json;
namespace {

std::string allowed_text(const Range& range, bool whole) {
  std::string text = whole ? "a whole number" : "a number";
  if (std::isfinite(range.min)) text += fmt::format(" from {}", range.min);
  if (std::isfinite(range.above)) text += fmt::format(" above {}", range.above);
  if (std::isfinite(range.max)) text += fmt::format(" up to {}", range.max);
  if (std::isfinite(range.below)) text += fmt::format(" below {}", range.below);
  return text;
}

bool contains(const Range& r, double x) { return x >= r.min && x <= r.max && x > r.above && x < r.below; }

template <class T>
std::optional<T> parse_number(const std::string& text) {
  if constexpr (std::floating_point<T>) {
    const std::optional<double> x = parse_double(text);
    return x && std::isfinite(*x) ? x : std::nullopt;
  } else {
    const std::optional<int64_t> n = parse_int(text);
    return n && std::in_range<T>(*n) ? std::optional<T>(static_cast<T>(*n)) : std::nullopt;
  }
}

template <class T>
void read_value(const std::string& name, const std::string& text, const Range& range, T& target) {
  const std::optional<T> number = parse_number<T>(text);
  if (!number || !contains(range, static_cast<double>(*number)))
    throw UserError(fmt::format("--{} {} is not allowed", name, text),
                    fmt::format("--{} takes {}", name, allowed_text(range, std::integral<T>)));
  target = *number;
}
void read_value(const std::string&, const std::string& text, const Range&, std::string& target) { target = text; }
template <class T>
void read_value(const std::string& name, const std::string& text, const Range& range, std::optional<T>& target) {
  T value{};
  read_value(name, text, range, value);
  target = value;
}

template <class T>
Json to_json(const T& value) {
  return value;
}
template <class T>
Json to_json(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

bool is_empty(const Json& value) { return value.is_null() || value == "" || (value.is_array() && value.empty()); }

std::string to_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_number_float() ? fmt::format("{}", value.get<double>()) : value.dump();
}

std::string shell_quote(const std::string& text) {
  constexpr std::string_view safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/%@";
  if (!text.empty() && text.find_first_not_of(safe) == std::string::npos) return text;
  std::string quoted = "'";
  for (char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// --name value, as it could be typed again; nothing for an option without a value.
void append_words(const std::string& name, const Json& value, std::vector<std::string>& words) {
  if (is_empty(value) || value == false) return;
  if (value == true) {
    words.push_back("--" + name);
  } else if (value.is_array()) {
    for (const Json& item : value) append_words(name, item, words);
  } else {
    words.push_back("--" + name + " " + shell_quote(to_text(value)));
  }
}

std::string wrap(const std::vector<std::string>& words, size_t width) {
  std::string text;
  size_t column = 0;
  for (const std::string& word : words) {
    if (column > 0 && column + 1 + word.size() > width) text += " \\\n   ", column = 3;
    if (column > 0) text += ' ', ++column;
    text += word;
    column += word.size();
  }
  return text;
}

auto* values() { return po::value<std::vector<std::string>>(); }

}  // namespace

CommandLine::CommandLine(std::string command, std::string text) : command_(std::move(command)), text_(std::move(text)) {
  group("Every command");
  flag("help,h", help_, "this text");
  option("config", config_, "FILE.ini", "read options from a file, name = value a line; the command line wins");
  flag("json", json_, "one JSON object a line on standard output, the last one the result");
  group("Options");
}

void CommandLine::group(const std::string& title) {
  groups_.push_back(std::make_unique<po::options_description>(title, 110));
}

void CommandLine::declare(Option option, po::value_semantic* semantic, const std::string& text) {
  groups_.back()->add_options()(option.name.c_str(), semantic, text.c_str());
  option.name = option.name.substr(0, option.name.find(','));  // "help,h" -> help
  for (const Option& other : options_) check(other.name != option.name, "--{} is declared twice", option.name);
  options_.push_back(std::move(option));
}

template <class T>
void CommandLine::option(const std::string& name, T& target, const std::string& value_name, const std::string& text,
                         const Range& range) {
  const Json initial = to_json(target);
  const std::string shown = is_empty(initial) ? text : fmt::format("{} (default {})", text, to_text(initial));
  auto read = [name, range, &target](const Values& given) {
    if (given.size() > 1) throw UserError(fmt::format("--{} is given {} times", name, given.size()), "give it once");
    read_value(name, given.at(0), range, target);
  };
  declare({name, read, [&target] { return to_json(target); }}, values()->value_name(value_name), shown);
}
#define MPQ_OPTION_TYPE(...)                                                                                  \
  template void CommandLine::option(const std::string&, __VA_ARGS__&, const std::string&, const std::string&, \
                                    const Range&)
MPQ_OPTION_TYPE(std::string);
MPQ_OPTION_TYPE(int);
MPQ_OPTION_TYPE(int64_t);
MPQ_OPTION_TYPE(uint64_t);
MPQ_OPTION_TYPE(double);
MPQ_OPTION_TYPE(std::optional<std::string>);
MPQ_OPTION_TYPE(std::optional<int>);
MPQ_OPTION_TYPE(std::optional<int64_t>);
MPQ_OPTION_TYPE(std::optional<double>);
#undef MPQ_OPTION_TYPE

void CommandLine::choice(const std::string& name, std::string& target, const std::vector<std::string>& allowed,
                         const std::string& text) {
  option(name, target, fmt::format("{}", fmt::join(allowed, "|")), text);
  options_.back().read = [read = options_.back().read, name, allowed, &target](const Values& given) {
    read(given);
    if (std::find(allowed.begin(), allowed.end(), target) == allowed.end())
      throw UserError(fmt::format("--{} {} is not allowed", name, target),
                      fmt::format("--{} takes {}", name, fmt::join(allowed, ", ")));
  };
}

void CommandLine::list(const std::string& name, std::vector<std::string>& target, const std::string& value_name,
                       const std::string& text) {
  auto read = [&target](const Values& given) { target = given; };
  declare({name, read, [&target] { return Json(target); }}, values()->value_name(value_name), text);
}

void CommandLine::flag(const std::string& name, bool& target, const std::string& text) {
  auto read = [name, &target](const Values& given) {
    if (given.at(0) != "true" && given.at(0) != "false")
      throw UserError(fmt::format("{} = {} is not allowed", name, given.at(0)),
                      fmt::format("{} takes true or false", name));
    target = given.at(0) == "true";
  };
  declare({name, read, [&target] { return Json(target); }}, values()->zero_tokens(), text);
}

void CommandLine::positional(const std::string& name, std::vector<std::string>& target, size_t at_most) {
  positional_name_ = name;
  positional_limit_ = at_most;
  auto read = [&target](const Values& given) { target = given; };
  options_.push_back({name, read, [&target] { return Json(target); }});
}

void CommandLine::refuse_unknown(const po::parsed_options& parsed, const std::string& where) const {
  const std::string help = fmt::format("mpq {} -h lists the options", command_);
  std::vector<std::string> names;
  for (const Option& option : options_) names.push_back(option.name);
  for (const auto& item : parsed.options) {
    if (!item.unregistered) continue;
    const std::string given = item.original_tokens.empty() ? item.string_key : item.original_tokens[0];
    const std::string near = nearest(item.string_key, names);
    throw UserError(fmt::format("{}unknown option {}", where, given),
                    near.empty() ? help : fmt::format("did you mean --{}? {}", near, help));
  }
  size_t positionals = 0;
  for (const auto& item : parsed.options)
    if (item.position_key >= 0 && ++positionals > positional_limit_)
      throw UserError(fmt::format("unexpected argument {}", fmt::join(item.value, " ")), help);
}

CommandLine::Values CommandLine::values_of(const po::parsed_options& parsed, const std::string& name) const {
  Values values;
  for (const auto& item : parsed.options) {
    if (item.position_key >= 0 ? name != positional_name_ : name != item.string_key) continue;
    values.insert(values.end(), item.value.begin(), item.value.end());
    if (item.value.empty()) values.push_back("true");  // a flag
  }
  return values;
}

// Takes what one source says; an option that an earlier source gave stays as it is.
void CommandLine::store(const po::parsed_options& parsed, const std::string& where) {
  refuse_unknown(parsed, where);
  for (Option& option : options_) {
    const Values values = values_of(parsed, option.name);
    if (option.given || values.empty()) continue;
    option.read(values);
    option.given = true;
  }
}

bool CommandLine::parse(const Args& args) {
  po::options_description all;
  for (const auto& group : groups_) all.add(*group);
  // No guessing: an abbreviation in a script would break when an option is added.
  const int style = po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
  store(po::command_line_parser(args).options(all).style(style).allow_unregistered().run(), "");
  if (help_) return print_help(), false;
  if (config_.empty()) return true;
  std::istringstream file(read_file(config_));
  store(po::parse_config_file(file, all, true), config_ + ": ");
  return true;
}

void CommandLine::require(std::initializer_list<const char*> names) const {
  for (const char* name : names)
    for (const Option& option : options_)
      if (option.name == name && is_empty(option.show()))
        throw UserError(fmt::format("mpq {} needs --{}", command_, name), fmt::format("see mpq {} -h", command_));
}

bool CommandLine::given(const std::string& name) const {
  return std::any_of(options_.begin(), options_.end(), [&](const Option& o) { return o.name == name && o.given; });
}

void CommandLine::announce() const {
  Json resolved = Json::object();
  for (const Option& option : options_)
    if (option.name != "help" && option.name != "json" && option.name != "config")
      resolved[option.name] = option.show();
  if (json_) return print_json({{"command", command_}, {"version", MPQ_VERSION}, {"options", resolved}});
  std::vector<std::string> words{"mpq " + command_};
  if (!positional_name_.empty())
    for (const Json& value : resolved[positional_name_]) words.push_back(shell_quote(to_text(value)));
  for (const auto& [name, value] : resolved.items())
    if (name != positional_name_) append_words(name, value, words);
  if (words.size() > 1) fmt::print(stderr, "{}\n", wrap(words, 118));
}

void CommandLine::print_help() const {
  std::ostringstream options;
  for (size_t i = 1; i < groups_.size(); ++i)
    if (!groups_[i]->options().empty()) options << '\n' << *groups_[i];
  options << '\n' << *groups_[0];
  fmt::print("usage: {}\n{}", text_, options.str());
}

void print_json(const Json& object) {
  fmt::print("{}\n", object.dump(-1, ' ', false, Json::error_handler_t::replace));
  std::fflush(stdout);
}

}  // namespace mpq
