#include "app/text_lines.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>

#include "base/error.h"
#include "base/text.h"

namespace mpq {

TextLines::TextLines(const std::string& path) : name_(path.empty() ? "standard input" : path) {
  if (!path.empty()) file_.open(path, std::ios::binary);
  if (!path.empty() && !file_) throw UserError(fmt::format("cannot open {}: {}", path, std::strerror(errno)));
  // A person at the keyboard wants the answer to a line before writing the next one.
  if (path.empty() && ::isatty(STDIN_FILENO)) batch_ = 1;
}

std::vector<std::string> TextLines::next() {
  std::vector<std::string> texts;
  std::string line;
  while (texts.size() < batch_ && std::getline(file_.is_open() ? file_ : std::cin, line)) {
    ++number_;
    if (line.ends_with('\r')) line.pop_back();
    check(line);
    texts.push_back(line);
  }
  return texts;
}

void TextLines::check(const std::string& line) const {
  const std::string where = fmt::format("{}, line {}", name_, number_);
  if (trim(line).empty()) throw UserError(fmt::format("{}: the text is empty", where), "one text a line");
  if (const auto byte = find_invalid_utf8(line))
    throw UserError(fmt::format("{}: byte {} is not valid UTF-8", where, *byte + 1), "convert the text to UTF-8");
}

}  // namespace mpq
