#include <cstdio>
#include <iostream>
#include <iterator>

#include "app/commands.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "data/tokenizer.h"

namespace mpq {
namespace {

constexpr const char* kHelp =
    "mpq tokenize --tokenizer FILE [--in FILE]\n\n"
    "Prints the token ids of each line of the input, special tokens included, separated by spaces. Lines end at \\n "
    "only.\n\n"
    "Example: echo 'not bad at all' | mpq tokenize --tokenizer bert-base-uncased-vocab.txt";

std::string read_input(const std::string& path) {
  if (!path.empty()) return read_file(path);
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

std::string where(const std::string& path, size_t line) {
  return fmt::format("{}, line {}", path.empty() ? "standard input" : path, line);
}

}  // namespace

int run_tokenize(const Args& args) {
  std::string tokenizer_path, in;
  CommandLine line("tokenize", kHelp);
  line.option("tokenizer", tokenizer_path, "FILE",
              "vocab.txt, tokenizer.json, a sentencepiece .model, or a folder that holds one");
  line.option("in", in, "FILE", "one text a line; default: standard input");
  if (!line.parse(args)) return 0;
  line.require({"tokenizer"});
  line.announce();

  const auto tokenizer = open_tokenizer(tokenizer_path);
  const std::string text = read_input(in);
  std::string_view rest = text;
  for (size_t number = 1; !rest.empty(); ++number) {
    const std::string_view current = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(current.size() + 1, rest.size()));
    if (find_invalid_utf8(current))
      throw UserError(fmt::format("{}: not valid UTF-8", where(in, number)), "convert it to UTF-8");
    const auto ids = tokenizer->encode(current);
    if (line.json())
      print_json({{"ids", ids}});
    else
      fmt::print("{}\n", fmt::join(ids, " "));
  }
  return 0;
}

}  // namespace mpq
