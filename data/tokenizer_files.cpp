#include "data/tokenizer_files.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"

namespace mpq {
namespace {
using nlohmann::json;

json special_tokens_json(const Tokenizer& t) {
  const SpecialIds s = t.special();
  return {{"cls_token", t.token(s.cls)},
          {"mask_token", t.token(s.mask)},
          {"pad_token", t.token(s.pad)},
          {"sep_token", t.token(s.sep)},
          {"unk_token", t.token(s.unk)}};
}

json template_piece(const char* type, const std::string& id, int type_id) {
  return {{type, {{"id", id}, {"type_id", type_id}}}};
}

}  // namespace

json added_tokens_json(const SpecialTokens& tokens) {
  auto sorted = tokens.all();
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  json out = json::array();
  for (const auto& [token, id] : sorted)
    out.push_back({{"id", id},
                   {"content", token},
                   {"single_word", false},
                   {"lstrip", false},
                   {"rstrip", false},
                   {"normalized", false},
                   {"special", true}});
  return out;
}

json template_processing_json(const Tokenizer& tokenizer) {
  const auto [pad, unk, cls_id, sep_id, mask] = tokenizer.special();
  const std::string cls = tokenizer.token(cls_id), sep = tokenizer.token(sep_id);
  const auto special = [](const std::string& token, int32_t id) {
    return json{{"id", token}, {"ids", {id}}, {"tokens", {token}}};
  };
  return {{"type", "TemplateProcessing"},
          {"single",
           {template_piece("SpecialToken", cls, 0), template_piece("Sequence", "A", 0),
            template_piece("SpecialToken", sep, 0)}},
          {"pair",
           {template_piece("SpecialToken", cls, 0), template_piece("Sequence", "A", 0),
            template_piece("SpecialToken", sep, 0), template_piece("Sequence", "B", 1),
            template_piece("SpecialToken", sep, 1)}},
          {"special_tokens", {{cls, special(cls, cls_id)}, {sep, special(sep, sep_id)}}}};
}

void write_tokenizer_config(const Tokenizer& tokenizer, const std::filesystem::path& folder,
                            const std::string& tokenizer_class, int max_tokens, const json& extra) {
  json config = special_tokens_json(tokenizer);
  config["tokenizer_class"] = tokenizer_class;
  config["model_max_length"] = max_tokens;
  config.update(extra);
  write_file_atomic(folder / "tokenizer_config.json", config.dump(2) + "\n");
  write_file_atomic(folder / "special_tokens_map.json", special_tokens_json(tokenizer).dump(2) + "\n");
}

}  // namespace mpq
