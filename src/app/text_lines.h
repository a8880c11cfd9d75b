// Texts from a file or from standard input, one a line.
#pragma once
#include <fstream>
#include <string>
#include <vector>

namespace mpq {

class TextLines {
 public:
  static constexpr size_t at_once = 32;

  // Empty: standard input. UserError if there is no such file.
  explicit TextLines(const std::string& path);

  // The next texts, at most `at_once`; none at the end. UserError, with the line, for a text that is empty or not
  // UTF-8.
  std::vector<std::string> next();

 private:
  void check(const std::string& line) const;

  std::string name_;
  std::ifstream file_;
  int64_t number_ = 0;
  size_t batch_ = at_once;
};

}  // namespace mpq
