// Hugging Face's names for a tensor, over the years and the model classes, and the one that mpq uses.
#pragma once
#include <string>
#include <string_view>

namespace mpq {

// "embeddings.LayerNorm.gamma" (an encoder saved alone, by an old version) -> "bert.embeddings.LayerNorm.weight".
std::string canonical_name(std::string_view name);

// Buffers without information and the heads of pretraining: nothing is lost without them.
bool is_ignorable(std::string_view canonical_name);

}  // namespace mpq
