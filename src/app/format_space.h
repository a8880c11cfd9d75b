// Searches number formats of one model: the choices of a parameter are the texts of Linear specs.
#pragma once
#include <string>
#include <vector>

#include "app/search_space.h"

namespace mpq {

// What a study chooses from.
struct FormatChoices {
  std::string name;                // of the study: the family
  std::vector<std::string> specs;  // texts; where each layer has its own, `none` comes with them
};
// Of "all" families, or those named, separated by commas; without the control, `none`. UserError for unknown names.
std::vector<FormatChoices> format_choices(const std::string& families);
// integer: width 8 16 32, frac 2 4 8 for x, w and b alike.
FormatChoices lab3_task1();

class FormatSpace final : public TrialSpace {
 public:
  // One categorical `format`; or one a Linear, by its dotted name. With `embeddings`, also one an embedding table.
  FormatSpace(FormatChoices choices, std::shared_ptr<const Bert> model, bool per_layer, bool embeddings = false)
      : choices_(std::move(choices)), model_(std::move(model)), per_layer_(per_layer), embeddings_(embeddings) {}

  SearchSpace parameters() const override;
  Candidate candidate(const FrozenTrial& trial) const override;
  Candidate largest() const override;
  std::string recipe() const override { return embeddings_ ? " embeddings" : ""; }

 private:
  std::vector<std::string> table_choices() const;

  FormatChoices choices_;
  std::shared_ptr<const Bert> model_;
  bool per_layer_, embeddings_;
};

}  // namespace mpq
