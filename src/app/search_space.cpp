#include "app/search_space.h"

#include <fmt/format.h>

#include "app/architecture_space.h"
#include "app/format_space.h"
#include "base/text.h"
#include "nn/model_formats.h"
#include "nn/operations.h"

namespace mpq {
namespace {

std::vector<std::string> samplers(const SearchOptions& options) {
  std::vector<std::string> names;
  for (const std::string_view name : split(options.sampler, ',')) {
    names.emplace_back(trim(name));
    make_sampler({.name = names.back()}, {{"x", categorical({"a"})}});  // a wrong name is refused here
  }
  return names;
}

PlannedStudy control(const std::string& name, const SearchOptions& options, const std::shared_ptr<const Bert>& base) {
  return {name, samplers(options)[0], std::make_unique<FormatSpace>(FormatChoices{"none", {"none"}}, base, false),
          true};
}

SearchPlan architecture_plan(const SearchOptions& options, const std::shared_ptr<const Bert>& base) {
  SearchPlan plan{
      .subject = "study", .control = "--model " + options.train.model, .architectures = true, .studies = {}};
  plan.studies.push_back(control("control", options, base));
  const auto all = samplers(options);
  for (const std::string& sampler : all)
    for (const Compression& compression : compressions(options))
      plan.studies.push_back({compression.name + (all.size() > 1 ? "-" + sampler : ""), sampler,
                              std::make_unique<ArchitectureSpace>(options, sampler, base, compression)});
  return plan;
}

SearchPlan family_plan(const std::vector<FormatChoices>& families, const SearchOptions& options,
                       const std::shared_ptr<const Bert>& base) {
  SearchPlan plan;
  plan.studies.push_back(control("none", options, base));
  const auto all = samplers(options);
  for (const FormatChoices& family : families)
    for (const std::string& sampler : all)
      plan.studies.push_back(
          {family.name + (all.size() > 1 ? "-" + sampler : ""), sampler,
           std::make_unique<FormatSpace>(family, base, options.mode == "per-layer", options.embeddings)});
  return plan;
}

}  // namespace

SearchPlan plan_search(const SearchOptions& options, const std::shared_ptr<const Bert>& base) {
  if (options.space.empty()) return family_plan(format_choices(options.family), options, base);
  if (options.space == "lab3-task1") return family_plan({lab3_task1()}, options, base);
  if (options.space == "nas" || options.space == "nas-compression") return architecture_plan(options, base);
  throw UserError(fmt::format("--space {}: no such space", options.space), "allowed: lab3-task1, nas, nas-compression");
}

ModelSize size_of(const Candidate& candidate, int tokens) {
  const Bert& model = *candidate.model;
  ModelSize size{.bits_per_weight = bits_per_linear_weight(model, candidate.formats),
                 .bits_per_parameter = bits_per_parameter(model, candidate.formats),
                 .parameters = model.parameters().count()};
  for (const Operation& o : operations(model, candidate.formats, tokens)) size.multiply_adds += o.multiply_adds;
  return size;
}

double bits_per_linear_weight(const Bert& model, const std::vector<LinearSpec>& specs) {
  double bits = 0, weights = 0;
  for (const Linear* linear : model.linears()) {
    const Shape& s = linear->weight->shape;
    bits += bits_per_weight(specs[linear->index], s[0], s[1]) * static_cast<double>(s.size());
    weights += static_cast<double>(s.size());
  }
  return bits / weights;
}

double bits_per_parameter(const Bert& model, const std::vector<LinearSpec>& specs) {
  const double count = static_cast<double>(model.parameters().count());
  double bits = 32 * count;
  for (const Linear* linear : model.linears()) {
    const LinearSpec& spec = specs[linear->index];
    const Shape &w = linear->weight->shape, &b = linear->bias->shape;
    bits += (bits_per_weight(spec, w[0], w[1]) - 32) * static_cast<double>(w.size());
    bits += (bits_per_value(spec.b, 1, b[0]) - 32) * static_cast<double>(b.size());
  }
  for (const EmbeddingTable& table : model.tables()) {
    const Shape& s = table.weight->shape;
    bits += (bits_per_weight(spec_of(specs, table), s[0], s[1]) - 32) * static_cast<double>(s.size());
  }
  return bits / count;
}

}  // namespace mpq
