#include "train/teacher.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/sha256.h"
#include "base/statistics.h"
#include "base/text.h"
#include "train/session.h"

namespace mpq {
namespace {

using Probabilities = std::vector<double>;  // [classes]

// Where each of the data's classes stands among the teacher's.
std::vector<size_t> places_of(const std::vector<std::string>& labels, const SoftLabels& opinions,
                              const std::string& teacher) {
  std::vector<size_t> places;
  for (const std::string& label : labels) {
    const auto& theirs = opinions.label_names;
    const auto found = std::find(theirs.begin(), theirs.end(), label);
    if (found == theirs.end() || theirs.size() != labels.size())
      throw UserError(fmt::format("the teacher {} knows the classes {}", teacher, join(theirs, ", ")),
                      fmt::format("the data's: {}", join(labels, ", ")));
    places.push_back(static_cast<size_t>(found - theirs.begin()));
  }
  return places;
}

// softmax(log p / temperature)
Probabilities soften(Probabilities p, double temperature) {
  constexpr double kLeast = 1e-6;  // the last digit of a file; log 0 has no place here
  double sum = 0;
  for (double& value : p) sum += value = std::pow(std::max(value, kLeast), 1 / temperature);
  for (double& value : p) value /= sum;
  return p;
}

class Opinions {
 public:
  Opinions(const SoftLabels& opinions, const std::vector<std::string>& labels, double temperature,
           const std::string& teacher)
      : opinions_(opinions),
        places_(places_of(labels, opinions, teacher)),
        row_of_(opinions.first_row_of_text()),
        temperature_(temperature) {}

  // UserError if the teacher says nothing of a row of the split.
  std::vector<Probabilities> of(const Split& split, const std::string& teacher, const char* name) const {
    std::vector<Probabilities> all;
    int64_t missing = 0;
    for (const uint64_t text : split.texts) {
      const auto found = row_of_.find(text);
      if (found == row_of_.end()) {
        ++missing;
        continue;
      }
      Probabilities p;
      for (const size_t place : places_) p.push_back(opinions_.rows[found->second].p[place]);
      all.push_back(soften(std::move(p), temperature_));
    }
    if (missing > 0)
      throw UserError(
          fmt::format("the teacher {} says nothing of {} of the {} {} rows", teacher, missing, split.row_count(), name),
          "a teacher made with the same --data, --valid and --rows; --labelled-only leaves unlabelled rows out");
    return all;
  }

 private:
  const SoftLabels& opinions_;
  std::vector<size_t> places_;
  std::unordered_map<uint64_t, size_t> row_of_;
  double temperature_;
};

void append(Split& to, const Split& from) {
  const int64_t tokens = to.row_starts.back();
  to.tokens.insert(to.tokens.end(), from.tokens.begin(), from.tokens.end());
  to.texts.insert(to.texts.end(), from.texts.begin(), from.texts.end());
  to.labels.insert(to.labels.end(), from.labels.begin(), from.labels.end());
  for (int64_t r = 0; r < from.row_count(); ++r) to.row_starts.push_back(tokens + from.row_starts[r + 1]);
}

int32_t longest_row(const Split& split) {
  int64_t longest = 0;
  for (int64_t r = 0; r < split.row_count(); ++r) longest = std::max<int64_t>(longest, split.row(r).size());
  return static_cast<int32_t>(longest);
}

void add_opinions(SoftLabels& opinions, const char* name, const Split& split, std::span<const float> logits) {
  const size_t classes = opinions.label_names.size();
  for (size_t r = 0; r < split.texts.size(); ++r) {
    const std::vector<double> p = softmax(logits.subspan(r * classes, classes));
    opinions.rows.push_back({name, split.texts[r], {p.begin(), p.end()}});
  }
}

}  // namespace

void teach(Dataset& data, const SoftLabels& said, const Teaching& teaching, const std::string& teacher) {
  const Opinions opinions(said, data.label_names, teaching.temperature, teacher);
  std::vector<float> targets;
  const auto labelled = opinions.of(data.train, teacher, "training");
  for (size_t r = 0; r < labelled.size(); ++r)
    for (size_t c = 0; c < labelled[r].size(); ++c) {
      const double label = static_cast<size_t>(data.train.labels[r]) == c;
      targets.push_back(static_cast<float>(teaching.alpha * labelled[r][c] + (1 - teaching.alpha) * label));
    }
  const auto unlabelled = opinions.of(data.unlabelled, teacher, "unlabelled");
  for (size_t r = 0; r < unlabelled.size(); ++r) {
    const Probabilities& p = unlabelled[r];
    data.unlabelled.labels[r] = static_cast<int32_t>(std::max_element(p.begin(), p.end()) - p.begin());
    targets.insert(targets.end(), p.begin(), p.end());
  }
  append(data.train, data.unlabelled);
  if (!unlabelled.empty()) data.description += fmt::format("; {} unlabelled rows for training", unlabelled.size());
  data.unlabelled = {};
  data.train.targets = std::move(targets);
  const auto& t = data.train.targets;
  data.fingerprint += sha256_hex({reinterpret_cast<const char*>(t.data()), t.size() * sizeof t[0]});
}

SoftLabels opinions_of(Device& device, const Checkpoint& checkpoint, const Dataset& data) {
  require_head(checkpoint);
  if (open_tokenizer(checkpoint.folder)->fingerprint() != data.tokenizer->fingerprint())
    throw UserError(fmt::format("the teacher {} reads other tokens than the student", checkpoint.folder.string()),
                    fmt::format("--tokenizer {}", checkpoint.folder.string()));
  const int32_t longest = std::max(longest_row(data.train), longest_row(data.unlabelled));
  if (longest > checkpoint.config.positions)
    throw UserError(
        fmt::format("the teacher {} has {} positions", checkpoint.folder.string(), checkpoint.config.positions),
        fmt::format("--max-tokens {} or less", checkpoint.config.positions));
  const Bert model(checkpoint.config);
  Session session(device, model, {{.formats = checkpoint.formats, .pruning = checkpoint.pruning}},
                  {.max_tokens = longest, .training = false});
  load_into(session, 0, checkpoint);
  SoftLabels opinions{checkpoint.labels, {}};
  for (const auto& [name, split] : {std::pair{"train", &data.train}, {"unlabelled", &data.unlabelled}})
    if (split->row_count() > 0) add_opinions(opinions, name, *split, session.logits(*split, nullptr)[0]);
  return opinions;
}

}  // namespace mpq
