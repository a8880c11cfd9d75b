#include "train/mirror.h"

#include <algorithm>

namespace mpq {
namespace {

// Tokens, positions, types and classes stay where they are.
bool rows_are_units(const Bert& model, const Parameter& p) {
  return &p != model.word && &p != model.position && &p != model.type && &p != model.classifier.weight;
}

}  // namespace

void mirror(Session& session, int replica) {
  const Bert& model = session.model();
  for (const Parameter& p : model.parameters().all()) {
    if (is_extra(p) || &p == model.classifier.bias) continue;
    std::vector<float> values = session.get(replica, p);
    const int64_t row = rows_are_units(model, p) ? p.shape.size() : p.shape[1];
    for (auto at = values.begin(); at != values.end(); at += row) std::reverse(at, at + row);
    session.set(replica, p, values);
  }
}

}  // namespace mpq
