#include "data/tokenizer.h"

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "data/tokenizer_files.h"
#include "data/unigram.h"
#include "data/wordpiece.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

constexpr const char* kKinds =
    "a vocab.txt, a tokenizer.json, a sentencepiece .model, or a folder that holds one of them";

std::shared_ptr<Tokenizer> open_folder(const fs::path& folder) {
  for (const char* name : {"tokenizer.json", "vocab.txt", "spiece.model"})
    if (fs::exists(folder / name)) return open_tokenizer(folder / name);
  throw UserError(fmt::format("the folder {} holds no tokenizer", folder.string()), kKinds);
}

std::shared_ptr<Tokenizer> open_file(const fs::path& path) {
  if (path.extension() == ".txt") return WordPiece::from_vocab_file(path);
  if (path.extension() == ".json") return read_tokenizer_json(path);
  if (path.extension() == ".model") return Unigram::from_model_bytes(read_file(path));
  throw UserError("the file's name does not say what it is", kKinds);
}

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  if (const auto bad = find_invalid_utf8(text))
    throw UserError(fmt::format("the text is not valid UTF-8 (byte {})", *bad + 1), "convert it to UTF-8");
  std::vector<int32_t> ids{special().cls};
  append_ids(text, ids);
  ids.push_back(special().sep);
  return ids;
}

std::shared_ptr<Tokenizer> open_tokenizer(const fs::path& path) {
  if (fs::is_directory(path)) return open_folder(path);
  try {
    return open_file(path);
  } catch (const UserError& error) {
    throw UserError(fmt::format("tokenizer {}: {}", path.string(), error.what()), error.hint());
  }
}

}  // namespace mpq
