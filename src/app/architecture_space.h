// Searches architectures: layers, heads, hidden size, feed-forward, and which square Linears are the identity; the
// parameters are named as the labs name them (tutorial 5).
#pragma once
#include <string>
#include <vector>

#include "app/search_space.h"

namespace mpq {

// What becomes of a trained model within the trial.
struct Compression {
  std::string name;     // of the study
  std::string formats;  // of every Linear, as a spec's text; empty: the model stays as it is
  Pruning pruning = {};
  double epochs = 0;  // trained after it
};
// Of --space nas: nothing. Of nas-compression: nothing; --compress; --compress and --post-epochs.
std::vector<Compression> compressions(const SearchOptions& options);

class ArchitectureSpace final : public TrialSpace {
 public:
  // `base` says what all architectures share: vocabulary, positions, classes, dropout. UserError: a size out of range,
  // or a hidden size that does not go into the heads.
  ArchitectureSpace(const SearchOptions& options, const std::string& sampler, std::shared_ptr<const Bert> base,
                    Compression compression);

  // num_layers, num_heads, hidden_size, intermediate_size; further, a square Linear each, NAME_type: linear or
  // identity.
  SearchSpace parameters() const override;
  FurtherParameters further() const override;
  Candidate candidate(const FrozenTrial& trial) const override;
  Candidate largest() const override;
  std::string recipe() const override;

 private:
  Candidate candidate(const BertConfig& config) const;

  std::shared_ptr<const Bert> base_;
  std::vector<int64_t> layers_, heads_, hidden_, ffn_;
  bool identities_;  // are searched too
  Compression compression_;
};

// "4 layers, 4 heads, 512/1024, 3 identities".
std::string describe_architecture(const BertConfig& config);

}  // namespace mpq
