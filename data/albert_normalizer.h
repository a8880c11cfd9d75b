// What ALBERT's tokenizer does with a text before it looks for pieces, as in Hugging Face's tokenizers.
#pragma once
#include <functional>
#include <string>
#include <string_view>

namespace mpq {

// `` and '' become ", compatibility decomposition, marks dropped, lower case.
std::string albert_normalize(std::string_view text);

// Calls on_word for each stretch between spaces (Unicode's White_Space).
void for_each_word(std::string_view text, const std::function<void(std::string_view)>& on_word);

}  // namespace mpq
