// The tokenizer that --tokenizer asks for, or that suits the data.
#pragma once
#include <memory>
#include <string>

#include "data/source.h"
#include "data/tokenizer.h"

namespace mpq {

// `asked`: a file or folder, sentencepiece:N (trained on the source's training split, and kept in the cache folder), or
// empty: the source's own. UserError: see open_tokenizer, train_sentencepiece.
std::shared_ptr<Tokenizer> choose_tokenizer(const std::string& asked, const Source& source);

}  // namespace mpq
