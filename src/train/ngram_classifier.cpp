#include "train/ngram_classifier.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/json_file.h"
#include "base/safetensors.h"
#include "base/text.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

constexpr const char* kInfo = "baseline.json";
constexpr const char* kWords = "words.txt";
constexpr const char* kModel = "model.safetensors";
constexpr const char* kSoftLabels = "probabilities.tsv";

void write_model(const fs::path& path, const NgramClassifier& c) {
  std::vector<float> weights;
  for (const std::vector<float>& w : c.model.weights) weights.insert(weights.end(), w.begin(), w.end());
  const int64_t features = c.ngrams.feature_count(), outputs = static_cast<int64_t>(c.model.bias.size());
  const SafeTensor tensors[] = {{"ngrams", "I64", {features}, c.ngrams.keys().data()},
                                {"weight", "F32", {outputs, features}, weights.data()},
                                {"bias", "F32", {outputs}, c.model.bias.data()}};
  write_safetensors(path, tensors);
}

std::vector<std::string> read_labels(const JsonFile& json) {
  std::vector<std::string> labels;
  const auto listed = json.object("id2label");
  for (size_t i = 0; i < listed.size(); ++i) {
    const auto found = listed.find(std::to_string(i));
    if (found == listed.end() || !found->is_string()) json.fail("id2label", listed.dump(), "names of 0, 1, 2 ...");
    labels.push_back(found->get<std::string>());
  }
  if (labels.size() < 2) json.fail("id2label", listed.dump(), "two classes or more");
  return labels;
}

std::vector<std::string> read_words(const fs::path& path) {
  const MappedFile file(path);
  std::vector<std::string> words;
  for (std::string_view word : split(file.text(), '\n')) words.emplace_back(word);
  words.pop_back();  // behind the last line break
  return words;
}

NbLogistic read_model(const SafeTensors& file, int classes, size_t features, const fs::path& path) {
  const auto outputs = static_cast<size_t>(outputs_of(classes));
  const std::vector<float> weights = file.read_f32("weight"), bias = file.read_f32("bias");
  const auto finite = [](const std::vector<float>& v) {
    return std::all_of(v.begin(), v.end(), [](float x) { return std::isfinite(x); });
  };
  if (weights.size() != outputs * features || bias.size() != outputs || !finite(weights) || !finite(bias))
    throw UserError(fmt::format("{}: weights of another model", path.string()),
                    fmt::format("{} outputs of {} features, all finite", outputs, features));
  NbLogistic model{classes, {}, bias};
  for (size_t o = 0; o < outputs; ++o)
    model.weights.emplace_back(weights.begin() + static_cast<int64_t>(o * features),
                               weights.begin() + static_cast<int64_t>((o + 1) * features));
  return model;
}

}  // namespace

std::vector<double> NgramClassifier::probabilities(std::span<const std::string> texts) const {
  return model.probabilities(ngrams.features_of(texts));
}

bool is_ngram_classifier(const fs::path& folder) { return fs::exists(folder / kInfo); }
fs::path soft_labels_of(const fs::path& folder) { return folder / kSoftLabels; }

void check_baseline_target(const fs::path& folder) {
  if (!fs::exists(folder) || is_ngram_classifier(folder) || (fs::is_directory(folder) && fs::is_empty(folder))) return;
  throw UserError(fmt::format("{} exists and is no baseline", folder.string()),
                  "name a new folder, or a baseline to replace");
}

void write_baseline(const fs::path& folder, const NgramClassifier& c, const SoftLabels& soft_labels) {
  check_baseline_target(folder);
  AtomicFolder target(folder);
  nlohmann::ordered_json info{{"ngrams", c.ngrams.order()}};
  for (size_t i = 0; i < c.labels.size(); ++i) info["id2label"][std::to_string(i)] = c.labels[i];
  write_file_atomic(target.path() / kInfo, info.dump(2) + "\n");
  write_file_atomic(target.path() / kWords, join(c.ngrams.words(), "\n") + "\n");
  write_model(target.path() / kModel, c);
  write_soft_labels(soft_labels_of(target.path()), soft_labels);
  target.commit();
}

NgramClassifier read_ngram_classifier(const fs::path& folder) {
  const JsonFile info(folder / kInfo);
  std::vector<std::string> labels = read_labels(info);
  const auto order = static_cast<int>(info.integer("ngrams", 1, 1, Ngrams::max_order));
  const fs::path path = folder / kModel;
  const SafeTensors file(path);
  Ngrams ngrams(read_words(folder / kWords), file.read_i64("ngrams"), order, path.string());
  NbLogistic model =
      read_model(file, static_cast<int>(labels.size()), static_cast<size_t>(ngrams.feature_count()), path);
  return {std::move(ngrams), std::move(model), std::move(labels)};
}

}  // namespace mpq
