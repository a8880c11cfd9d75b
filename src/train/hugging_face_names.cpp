#include "train/hugging_face_names.h"

namespace mpq {

static bool replace_ending(std::string& name, std::string_view from, std::string_view to) {
  if (!name.ends_with(from)) return false;
  name.replace(name.size() - from.size(), from.size(), to);
  return true;
}

std::string canonical_name(std::string_view name) {
  std::string canonical(name);
  replace_ending(canonical, "LayerNorm.gamma", "LayerNorm.weight") ||
      replace_ending(canonical, "LayerNorm.beta", "LayerNorm.bias");
  for (const char* part : {"embeddings.", "encoder.", "pooler."})
    if (canonical.starts_with(part)) return "bert." + canonical;
  return canonical;
}

bool is_ignorable(std::string_view name) {
  return name.ends_with(".position_ids") || name.ends_with(".token_type_ids") || name.starts_with("cls.");
}

}  // namespace mpq
