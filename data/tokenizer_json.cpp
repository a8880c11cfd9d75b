#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "data/sentencepiece_proto.h"
#include "data/tokenizer_files.h"
#include "data/unigram.h"
#include "data/wordpiece.h"

namespace mpq {
namespace {
using nlohmann::json;

// A setting whose value mpq has built in: absent or equal to `expected` (or null, where null means the same).
void expect(const json& object, const char* key, const json& expected) {
  if (!object.is_object() || !object.contains(key) || object[key].is_null() || object[key] == expected) return;
  throw UserError(fmt::format("\"{}\": {} is not supported", key, object[key].dump()),
                  fmt::format("\"{}\": {}", key, expected.dump()));
}

const json& member(const json& object, const char* key) {
  static const json null;
  return object.is_object() && object.contains(key) ? object[key] : null;
}

std::vector<std::string> tokens_by_id(const json& vocab) {
  std::vector<std::string> tokens(vocab.size());
  for (const auto& [token, id] : vocab.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= tokens.size() || token.empty() ||
        !tokens[id.get<size_t>()].empty())
      throw UserError(fmt::format("the id {} of the token \"{}\" is out of order", id.dump(), token),
                      "ids from 0, without gaps or repeats");
    tokens[id.get<size_t>()] = token;
  }
  return tokens;
}

// Recognised in raw text as they stand; the special tokens of the model itself are known already.
void add_added_tokens(const json& file, WordPiece& tokenizer) {
  for (const json& added : member(file, "added_tokens")) {
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) expect(added, flag, false);
    const auto content = added.at("content").get<std::string>();
    const auto id = added.at("id").get<int64_t>();
    if (id < 0 || id >= tokenizer.vocab_size() || tokenizer.token(static_cast<int32_t>(id)) != content)
      throw UserError(fmt::format("the added token \"{}\" is not in the vocabulary", content),
                      "added tokens that the model's vocabulary holds under the same id");
    const auto [pad, unk, cls, sep, mask] = tokenizer.special();
    const bool known = id == pad || id == unk || id == cls || id == sep || id == mask;
    if (!known) tokenizer.add_special(content, static_cast<int32_t>(id));
  }
}

std::shared_ptr<Tokenizer> read_wordpiece(const json& file) {
  const json& model = file.at("model");
  expect(model, "continuing_subword_prefix", "##");
  expect(model, "unk_token", "[UNK]");
  const json& normalizer = member(file, "normalizer");
  expect(normalizer, "type", "BertNormalizer");
  for (const char* flag : {"clean_text", "handle_chinese_chars", "strip_accents", "lowercase"})
    expect(normalizer, flag, true);
  expect(member(file, "pre_tokenizer"), "type", "BertPreTokenizer");
  const auto max_chars = model.value("max_input_chars_per_word", int64_t{100});
  if (max_chars < 1 || max_chars > 10000)
    throw UserError(fmt::format("\"max_input_chars_per_word\": {} is out of range", max_chars), "1 to 10000");
  auto tokenizer = std::make_shared<WordPiece>(tokens_by_id(model.at("vocab")), static_cast<int>(max_chars));
  add_added_tokens(file, *tokenizer);
  return tokenizer;
}

std::shared_ptr<Tokenizer> read_unigram(const json& file) {
  UnigramModel model;
  for (const json& piece : file.at("model").at("vocab"))
    model.pieces.push_back({piece.at(0).get<std::string>(), piece.at(1).get<double>()});
  for (const json& step : member(member(file, "normalizer"), "normalizers"))
    if (step.value("type", "") == "Precompiled")
      model.charsmap = from_base64(step.at("precompiled_charsmap").get<std::string>());
  return std::make_shared<Unigram>(std::move(model));
}

// Printing a value in a message recurses: a hostile depth would exhaust the stack.
bool refuse_depth(int depth, json::parse_event_t, json&) {
  if (depth > 64) throw UserError("nested too deeply", "at most 64 levels");
  return true;
}

std::shared_ptr<Tokenizer> read_any(const json& file) {
  const json& model = file.at("model");
  const auto type = model.value("type", model.at("vocab").is_object() ? "WordPiece" : "Unigram");
  if (type == "WordPiece") return read_wordpiece(file);
  if (type == "Unigram") return read_unigram(file);
  throw UserError(fmt::format("the tokenizer model {} is not supported", type), "WordPiece or Unigram");
}

}  // namespace

std::shared_ptr<Tokenizer> read_tokenizer_json(const std::filesystem::path& path) {
  try {
    return read_any(json::parse(read_file(path), refuse_depth));
  } catch (const json::exception& error) {
    throw UserError(fmt::format("{} is no tokenizer.json: {}", path.string(), error.what()));
  }
}

}  // namespace mpq
