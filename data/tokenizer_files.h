// The JSON that Hugging Face keeps beside a tokenizer, shared by all kinds.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "data/special_tokens.h"
#include "data/tokenizer.h"

namespace mpq {

nlohmann::json added_tokens_json(const SpecialTokens& tokens);        // tokenizer.json, "added_tokens"
nlohmann::json template_processing_json(const Tokenizer& tokenizer);  // "post_processor": [CLS] text [SEP]

// tokenizer_config.json (with `extra` members) and special_tokens_map.json.
void write_tokenizer_config(const Tokenizer& tokenizer, const std::filesystem::path& folder,
                            const std::string& tokenizer_class, int max_tokens, const nlohmann::json& extra);

// Parses a tokenizer.json; UserError naming the file if it is damaged or of a kind that mpq lacks.
std::shared_ptr<Tokenizer> read_tokenizer_json(const std::filesystem::path& path);

}  // namespace mpq
