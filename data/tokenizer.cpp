#include "data/tokenizer.h"

#include "base/error.h"
#include "base/text.h"
#include "data/tokenizer_files.h"
#include "data/wordpiece.h"

namespace mpq {
namespace fs = std::filesystem;

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  if (const auto bad = find_invalid_utf8(text))
    throw UserError(fmt::format("the text is not valid UTF-8 (byte {})", *bad), "convert it to UTF-8");
  std::vector<int32_t> ids{special().cls};
  append_ids(text, ids);
  ids.push_back(special().sep);
  return ids;
}

std::shared_ptr<Tokenizer> open_tokenizer(const fs::path& path) {
  if (fs::is_directory(path)) {
    for (const char* name : {"vocab.txt", "spiece.model", "tokenizer.json"})
      if (fs::exists(path / name)) return open_tokenizer(path / name);
    throw UserError(fmt::format("{} holds no tokenizer", path.string()), "vocab.txt, spiece.model or tokenizer.json");
  }
  if (path.extension() == ".txt") return WordPiece::from_vocab_file(path);
  throw UserError(fmt::format("{} is no tokenizer", path.string()),
                  "a vocab.txt, a tokenizer.json, a sentencepiece .model, or a folder that holds one of them");
}

}  // namespace mpq
