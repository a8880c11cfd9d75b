// Documents cut into sequences for pretraining. No sequence spans two documents: rows are ragged, so that short ones
// need neither padding nor a neighbour.
#pragma once
#include <vector>

#include "data/corpus.h"
#include "data/dataset.h"

namespace mpq {

// Every document as the fewest pieces of [CLS] text [SEP] that hold at most `sequence` (>= 3) tokens, nearly equally
// long: no last piece is without context.
struct Pieces {
  Split split;                   // split.texts: the document's hash
  std::vector<int64_t> offsets;  // [rows], where the piece begins in its document

  Pieces(const Documents& documents, const SpecialIds& special, int sequence);
  int64_t count() const { return split.row_count(); }
  // The same without making them.
  static int64_t count(const Documents& documents, int sequence);
};

}  // namespace mpq
