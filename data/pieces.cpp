#include "data/pieces.h"

#include "base/error.h"

namespace mpq {

namespace {

int64_t pieces_of(int64_t tokens, int sequence) { return (tokens + sequence - 3) / (sequence - 2); }

}  // namespace

int64_t Pieces::count(const Documents& documents, int sequence) {
  int64_t count = 0;
  for (int64_t d = 0; d < documents.count(); ++d)
    count += pieces_of(static_cast<int64_t>(documents[d].size()), sequence);
  return count;
}

Pieces::Pieces(const Documents& documents, const SpecialIds& special, int sequence) {
  check(sequence >= 3, "sequences of {} tokens", sequence);
  split.tokens.reserve(documents.tokens.size() + 2 * count(documents, sequence));
  for (int64_t d = 0; d < documents.count(); ++d) {
    const auto document = documents[d];
    const auto length = static_cast<int64_t>(document.size()), count = pieces_of(length, sequence);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t begin = i * length / count, end = (i + 1) * length / count;
      split.tokens.push_back(special.cls);
      split.tokens.insert(split.tokens.end(), document.begin() + begin, document.begin() + end);
      split.tokens.push_back(special.sep);
      split.row_starts.push_back(static_cast<int64_t>(split.tokens.size()));
      split.labels.push_back(0);
      split.texts.push_back(documents.hashes[d]);
      offsets.push_back(begin);
    }
  }
}

}  // namespace mpq
