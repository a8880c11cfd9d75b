// Token ids of single texts, equal to Hugging Face's: golden/wordpiece.jsonl, {"text": ..., "ids": [...]} a line.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "data/tokenizer.h"
#include "reference/reference.h"

namespace mpq::reference {

Result check_wordpiece(const Setting& setting) {
  Result result{.group = "wordpiece"};
  const auto cases = setting.folder / "golden/wordpiece.jsonl",
             vocab = setting.folder / "data/vocab/bert-base-uncased-vocab.txt";
  if (!std::filesystem::exists(cases) || !std::filesystem::exists(vocab)) return result;
  result.found = true;
  const auto tokenizer = open_tokenizer(vocab);
  const std::string lines = read_file(cases);
  for (std::string_view line : split(lines, '\n')) {
    if (line.empty()) continue;
    const auto entry = nlohmann::json::parse(line);
    const auto expected = entry.at("ids").get<std::vector<int32_t>>();
    const auto ids = tokenizer->encode(entry.at("text").get<std::string>());
    ++result.cases;
    if (ids != expected)
      result.mismatch(
          fmt::format("{}: {} instead of {}", entry.at("text").dump(), fmt::join(ids, " "), fmt::join(expected, " ")));
  }
  return result;
}

}  // namespace mpq::reference
