// What every subcommand's command line does: typed options with ranges, -h, --config FILE.ini, --json, and the print
// of the resolved options.
//
//   CommandLine line("quantize", "mpq quantize --format FORMAT --in A --out B\n\nQuantizes ...\n\nExample: ...");
//   line.option("format", format, "FORMAT", "what every tensor becomes");
//   if (!line.parse(args)) return 0;   // -h was asked for and printed
//   line.require({"format"});
//   line.announce();                   // once nothing changes the options any more
#pragma once
#include <boost/program_options.hpp>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace mpq {

using Args = std::vector<std::string>;  // what follows the subcommand's name

struct Command {
  const char* name;
  const char* summary;  // one line
  int (*run)(const Args& args);
};

// What a number may be: min and max are allowed, above and below are not.
struct Range {
  double min = -std::numeric_limits<double>::infinity(), max = std::numeric_limits<double>::infinity();
  double above = -std::numeric_limits<double>::infinity(), below = std::numeric_limits<double>::infinity();
};

class CommandLine {
 public:
  // `text` teaches: usage, what the command does, an example. -h prints it above the options.
  CommandLine(std::string command, std::string text);

  // The options declared next are listed under this title.
  void group(const std::string& title);

  // --name VALUE, for T = std::string, int, int64_t, uint64_t, double, or std::optional of one but uint64_t; the
  // default is what `target` holds now. A number outside `range` is a UserError.
  template <class T>
  void option(const std::string& name, T& target, const std::string& value_name, const std::string& text,
              const Range& range = {});
  // --name VALUE where VALUE is one of `allowed`.
  void choice(const std::string& name, std::string& target, const std::vector<std::string>& allowed,
              const std::string& text);
  // --name VALUE, as often as wanted.
  void list(const std::string& name, std::vector<std::string>& target, const std::string& value_name,
            const std::string& text);
  // --name, without a value (in a config file: name = true).
  void flag(const std::string& name, bool& target, const std::string& text);
  // The arguments that belong to no option, at most `at_most` of them.
  void positional(const std::string& name, std::vector<std::string>& target, size_t at_most);

  // Fills the targets; the command line wins over --config, which wins over the defaults. False: -h printed the help.
  bool parse(const Args& args);
  // UserError unless each of these options has a value.
  void require(std::initializer_list<const char*> names) const;
  // Whether the option stands on the command line or in the config file.
  bool given(const std::string& name) const;

  // Prints the resolved options: to standard error, or with --json as the first JSON line on standard output.
  void announce() const;
  bool json() const { return json_; }
  const std::string& command() const { return command_; }

 private:
  using Values = std::vector<std::string>;
  struct Option {
    std::string name;
    std::function<void(const Values&)> read;       // into the target
    std::function<nlohmann::ordered_json()> show;  // from the target
    bool given = false;
  };
  void declare(Option option, boost::program_options::value_semantic* semantic, const std::string& text);
  Values values_of(const boost::program_options::parsed_options& parsed, const std::string& name) const;
  void refuse_unknown(const boost::program_options::parsed_options& parsed, const std::string& where) const;
  void store(const boost::program_options::parsed_options& parsed, const std::string& where);
  void print_help() const;

  std::string command_, text_, config_, positional_name_;
  size_t positional_limit_ = 0;
  bool help_ = false, json_ = false;
  std::vector<Option> options_;
  std::vector<std::unique_ptr<boost::program_options::options_description>> groups_;
};

// One JSON object, one line, flushed: the unit of --json output. Bytes that are not UTF-8 are replaced.
void print_json(const nlohmann::ordered_json& object);

}  // namespace mpq
