#include "data/unigram.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"
#include "data/albert_normalizer.h"
#include "data/sentencepiece_proto.h"
#include "data/tokenizer_files.h"
#include "data/utf8.h"

namespace mpq {
namespace {

constexpr std::string_view kSpace = "\u2581";  // marks the beginning of a word
constexpr double kUnknownPenalty = 10;         // below the worst piece

}  // namespace

Unigram::Unigram(UnigramModel model) : model_(std::move(model)) {
  unknown_score_ = -kUnknownPenalty;
  for (int32_t id = 0; id < vocab_size(); ++id) {
    const auto& piece = model_.pieces[static_cast<size_t>(id)];
    if (piece.text.empty()) throw UserError(fmt::format("the tokenizer's piece {} is empty", id));
    trie_.add(piece.text, id);
    unknown_score_ = std::min(unknown_score_, piece.score - kUnknownPenalty);
  }
  const auto id_of = [&](const char* token) {
    const int32_t node = trie_.walk(Trie::kRoot, token);
    if (node == Trie::kNone || trie_.value(node) == Trie::kNone)
      throw UserError(fmt::format("the sentencepiece model lacks the piece {}", token),
                      "models in ALBERT's manner hold [CLS], [SEP], [MASK], <pad> and <unk>");
    special_tokens_.add(token, trie_.value(node));
    return trie_.value(node);
  };
  special_ = {.pad = id_of("<pad>"),
              .unk = id_of("<unk>"),
              .cls = id_of("[CLS]"),
              .sep = id_of("[SEP]"),
              .mask = id_of("[MASK]")};
  if (!model_.charsmap.empty()) charsmap_ = Charsmap(model_.charsmap);
}

std::shared_ptr<Unigram> Unigram::from_model_bytes(std::string bytes) {
  sentencepiece::SentencePieceProcessor processor;
  const auto status = processor.LoadFromSerializedProto(bytes);
  if (!status.ok()) throw UserError("not a sentencepiece model: " + status.ToString(), "a .model of type unigram");
  const SentencepieceProto proto = read_sentencepiece_proto(bytes);
  if (proto.model_type != SentencepieceProto::kUnigram)
    throw UserError("the sentencepiece model is not of type unigram", "train it with --model_type=unigram");
  UnigramModel model;
  for (int id = 0; id < processor.GetPieceSize(); ++id)
    model.pieces.push_back({processor.IdToPiece(id), processor.GetScore(id)});
  model.charsmap = proto.charsmap;
  model.file = std::move(bytes);
  return std::make_shared<Unigram>(std::move(model));
}

std::string Unigram::normalize(std::string_view text) const {
  std::string out = albert_normalize(text);
  return charsmap_.empty() ? out : charsmap_.normalize(out);
}

// Each word gets a leading mark; a mark inside a word begins another one, as Hugging Face's Metaspace does.
void Unigram::append_ids(std::string_view text, std::vector<int32_t>& ids) const {
  std::vector<Best> best;
  std::string marked;
  const auto on_word = [&](std::string_view word) {
    marked.assign(word.starts_with(kSpace) ? "" : kSpace).append(word);
    for (size_t begin = 0; begin < marked.size();) {
      const size_t end = std::min(marked.find(kSpace, begin + 1), marked.size());
      append_word(std::string_view(marked).substr(begin, end - begin), best, ids);
      begin = end;
    }
  };
  special_tokens_.split(
      text, [&](std::string_view part) { for_each_word(normalize(part), on_word); },
      [&](int32_t id) { ids.push_back(id); });
}

struct Unigram::Best {
  double score = 0;
  int32_t length = 0;  // bytes of the last piece; 0: not reached
  int32_t id = 0;
};

void Unigram::find_best(std::string_view word, std::vector<Best>& best) const {
  best.assign(word.size() + 1, Best{});
  const auto offer = [&](size_t end, double score, size_t length, int32_t id) {
    if (best[end].length == 0 || score > best[end].score) best[end] = {score, static_cast<int32_t>(length), id};
  };
  for (size_t at = 0; at < word.size();) {
    size_t next = at;
    next_code_point(word, next);
    bool single = false;  // some piece covers exactly this character
    int32_t node = Trie::kRoot;
    for (size_t i = at; i < word.size(); ++i) {
      node = trie_.child(node, static_cast<unsigned char>(word[i]));
      if (node == Trie::kNone) break;
      const int32_t id = trie_.value(node);
      if (id == Trie::kNone) continue;
      offer(i + 1, best[at].score + model_.pieces[static_cast<size_t>(id)].score, i + 1 - at, id);
      single |= i + 1 == next;
    }
    if (!single) offer(next, best[at].score + unknown_score_, next - at, special_.unk);
    at = next;
  }
}

void Unigram::append_word(std::string_view word, std::vector<Best>& best, std::vector<int32_t>& ids) const {
  find_best(word, best);
  const auto first = static_cast<int64_t>(ids.size());
  for (size_t end = word.size(); end > 0; end -= static_cast<size_t>(best[end].length)) {
    const bool joins_unknown =
        best[end].id == special_.unk && static_cast<int64_t>(ids.size()) > first && ids.back() == special_.unk;
    if (!joins_unknown) ids.push_back(best[end].id);
  }
  std::reverse(ids.begin() + first, ids.end());
}

std::string Unigram::fingerprint() const {
  Sha256 hash;
  hash.update("unigram albert uncased\n");
  for (const auto& piece : model_.pieces) hash.update(fmt::format("{}\n{}\n", piece.text, piece.score));
  hash.update(model_.charsmap);
  return hash.hex();
}

void Unigram::save(const std::filesystem::path& folder, int max_tokens) const {
  using nlohmann::json;
  json vocab = json::array();
  for (const auto& piece : model_.pieces) vocab.push_back(json::array({piece.text, piece.score}));
  const auto replace = [](const char* from) {
    return json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", "\""}};
  };
  json normalizers = {
      replace("``"), replace("''"), {{"type", "NFKD"}}, {{"type", "StripAccents"}}, {{"type", "Lowercase"}}};
  if (!charsmap_.empty())
    normalizers.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", to_base64(model_.charsmap)}});
  const json metaspace = {
      {"type", "Metaspace"}, {"replacement", kSpace}, {"prepend_scheme", "always"}, {"split", true}};
  const json file = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added_tokens_json(special_tokens_)},
      {"normalizer", {{"type", "Sequence"}, {"normalizers", normalizers}}},
      {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {json{{"type", "WhitespaceSplit"}}, metaspace}}}},
      {"post_processor", template_processing_json(*this)},
      {"decoder", metaspace},
      {"model",
       {{"type", "Unigram"}, {"unk_id", special_.unk}, {"vocab", std::move(vocab)}, {"byte_fallback", false}}}};
  write_file_atomic(folder / "tokenizer.json", file.dump(2) + "\n");
  if (!model_.file.empty()) write_file_atomic(folder / "spiece.model", model_.file);
  write_tokenizer_config(*this, folder, "AlbertTokenizer", max_tokens,
                         {{"do_lower_case", true}, {"keep_accents", false}, {"remove_space", true}});
}

}  // namespace mpq
