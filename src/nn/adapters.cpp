#include "nn/adapters.h"

#include "base/nearest.h"
#include "base/text.h"
#include "nn/bert.h"

namespace mpq {

std::vector<AdapterPlace> adapter_places(const Bert& model, int rank) {
  std::vector<AdapterPlace> places;
  for (const Linear* linear : model.linears()) {
    if (linear->adapter < 0) continue;
    const int64_t K = linear->weight->shape[1], a = rank * linear->adapter;
    places.push_back({linear, K, linear->weight->shape[0], a, a + rank * K});
  }
  return places;
}

int64_t adapter_count(const Bert& model, int rank) {
  int64_t count = 0;
  for (const AdapterPlace& place : adapter_places(model, rank)) count += rank * (place.K + place.N);
  return count;
}

int64_t trained_parameters(const Bert& model, int rank) {
  const ParameterSet& p = model.parameters();
  return p.count() - p.frozen_count() + adapter_count(model, rank);
}

namespace {

bool names(const std::string& target, const std::string& linear) {
  return matches(target, linear) || ("." + linear + ".").find("." + target + ".") != std::string::npos;
}

[[noreturn]] void refuse_target(const Bert& model, const std::string& target) {
  if (names(target, model.classifier.name))
    throw UserError(fmt::format("the target {} is the classifier", target), "it is trained whole, without an adapter");
  std::vector<std::string> parts{"query",        "key",         "value", "attention.output.dense", "intermediate.dense",
                                 "output.dense", "pooler.dense"};
  const std::string near = nearest(target, parts);
  throw UserError(fmt::format("the model has no Linear {}", target),
                  near.empty() ? fmt::format("such as {}", join(parts, ", ")) : fmt::format("did you mean {}?", near));
}

}  // namespace

std::vector<std::string> adapter_targets(const Bert& model, const std::vector<std::string>& targets) {
  std::vector<std::string> found;
  std::vector<bool> used(targets.size());
  for (const Linear* linear : model.linears()) {
    if (linear == &model.classifier) continue;
    bool wanted = false;
    for (size_t i = 0; i < targets.size(); ++i)
      if (names(targets[i], linear->name)) wanted = used[i] = true;
    if (wanted) found.push_back(linear->name);
  }
  for (size_t i = 0; i < targets.size(); ++i)
    if (!used[i]) refuse_target(model, targets[i]);
  return found;
}

void freeze_base(Bert& model) {
  for (const Parameter& p : model.parameters().all())
    if (&p != model.adapters && &p != model.classifier.weight && &p != model.classifier.bias) model.freeze(p.name);
}

}  // namespace mpq
