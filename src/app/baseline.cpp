// A linear model on n-grams: what a network has to beat, and a teacher for it.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "app/commands.h"
#include "app/known_baseline.h"
#include "app/options.h"
#include "base/parallel.h"
#include "base/statistics.h"
#include "base/stop.h"
#include "base/text.h"
#include "data/text_data.h"
#include "train/cross_fit.h"
#include "train/ngram_classifier.h"

namespace mpq {
namespace {

struct Options {
  DataArgs data;
  int ngrams = 3, folds = 5, threads = 0;
  int64_t min_count = 3;
  double c = 0.3;
  std::string out;

  std::string text() const { return fmt::format("--ngrams {} --min-count {} --c {}", ngrams, min_count, c); }
};

void check_not_stopped() {
  if (stop_requested()) throw Stopped("mpq baseline");
}

// The features of every split under one vocabulary, that of the training split.
class Experiment {
 public:
  Experiment(const Options& options, TextData data)
      : options_(options), data_(std::move(data)), ngrams_(data_.train.texts, options.ngrams, options.min_count) {
    check_not_stopped();
    train_ = ngrams_.features_of(data_.train.texts);
  }

  int64_t feature_count() const { return ngrams_.feature_count(); }
  const TextData& data() const { return data_; }

  // The model of all training rows, and before it, with `cross_fitted`, one for each fold.
  void fit(bool cross_fitted) {
    std::vector<std::vector<int64_t>> choices;
    if (cross_fitted) {
      Folds folds = make_folds(data_.train.groups, data_.train.hashes, options_.folds);
      fold_of_row_ = std::move(folds.fold_of_row);
      choices = std::move(folds.others);
    }
    choices.emplace_back(static_cast<size_t>(data_.train.row_count()));
    std::iota(choices.back().begin(), choices.back().end(), 0);
    const auto classes = static_cast<int>(data_.label_names.size());
    models_ = fit_nb_logistic({train_, feature_count(), data_.train.labels, classes}, choices, options_.c);
    check_not_stopped();
  }

  // [rows * classes], of the model of all training rows.
  std::vector<double> probabilities(const TextSplit& split) const {
    return models_.back().probabilities(ngrams_.features_of(split.texts));
  }

  SoftLabels soft_labels() const {
    SoftLabels labels{data_.label_names, {}};
    append(labels, "train", data_.train, cross_fitted());
    append(labels, "valid", data_.valid, probabilities(data_.valid));
    append(labels, "unlabelled", data_.unlabelled, probabilities(data_.unlabelled));
    append(labels, "test", data_.test, probabilities(data_.test));
    return labels;
  }

  NgramClassifier classifier() const { return {ngrams_, models_.back(), data_.label_names}; }
  std::vector<double> cross_fitted() const {
    std::vector<double> all;
    for (int64_t r = 0; r < train_.row_count(); ++r) {
      const auto p = models_[static_cast<size_t>(fold_of_row_[static_cast<size_t>(r)])].probabilities(train_.row(r));
      all.insert(all.end(), p.begin(), p.end());
    }
    return all;
  }

 private:
  static void append(SoftLabels& labels, const char* name, const TextSplit& split, const std::vector<double>& p) {
    const size_t classes = labels.label_names.size();
    for (size_t r = 0; r < split.labels.size(); ++r)
      labels.rows.push_back(
          {name,
           split.hashes[r],
           {p.begin() + static_cast<int64_t>(r * classes), p.begin() + static_cast<int64_t>((r + 1) * classes)}});
  }

  const Options& options_;
  TextData data_;
  Ngrams ngrams_;
  SparseRows train_;
  std::vector<int> fold_of_row_;
  std::vector<NbLogistic> models_;  // one a fold, if cross-fitted, then that of all rows
};

Hits hits(const TextSplit& split, const std::vector<double>& p, size_t classes) {
  Hits result{0, split.row_count()};
  for (size_t r = 0; r < split.labels.size(); ++r) {
    const auto begin = p.begin() + static_cast<int64_t>(r * classes);
    result.correct += std::max_element(begin, begin + static_cast<int64_t>(classes)) - begin == split.labels[r];
  }
  return result;
}

// NAME_accuracy, NAME_low and NAME_high; the accuracy null for a split without rows.
void add_accuracy(const std::string& name, const Hits& hits, nlohmann::ordered_json& result) {
  const auto accuracy = hits.accuracy();
  result[name + "_accuracy"] = accuracy ? nlohmann::ordered_json(*accuracy) : nullptr;
  if (!accuracy) return;
  const Interval interval = wilson_interval(hits.correct, hits.rows);
  result[name + "_low"] = interval.low;
  result[name + "_high"] = interval.high;
}

int64_t peak_memory() {  // bytes
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

void print(const nlohmann::ordered_json& result) {
  for (const char* split : {"test", "valid"}) {
    const std::string name = split;
    if (result[name + "_accuracy"].is_null()) continue;
    fmt::print("{:<9} accuracy  {:.4f}  (95 % interval {:.4f} to {:.4f})\n", name,
               result[name + "_accuracy"].get<double>(), result[name + "_low"].get<double>(),
               result[name + "_high"].get<double>());
  }
  fmt::print("features            {}\nseconds             {:.1f}\npeak memory         {}\n", result["features"].dump(),
             result["seconds"].get<double>(), human_bytes(result["peak_memory"].get<uint64_t>()));
}

void declare(CommandLine& line, Options& o) {
  line.option("ngrams", o.ngrams, "N", "n-grams of 1 to N words", {.min = 1, .max = Ngrams::max_order});
  line.option("min-count", o.min_count, "N", "n-grams that at least N training texts hold", {.min = 1});
  line.option("c", o.c, "C", "weight of the loss against the regulariser", {.max = 1e6, .above = 0});
  line.option("folds", o.folds, "K", "with --out: folds by group (film) for the training rows' probabilities",
              {.min = 2, .max = 100});
  line.option("threads", o.threads, "N", "CPU threads; 0: every CPU allowed", {.min = 0, .max = 4096});
  line.option("out", o.out, "DIR", "the model, and probabilities of every row for mpq train --teacher DIR");
  o.data.add_to(line);
}

}  // namespace

int run_baseline(const Args& args) {
  Options options;
  CommandLine line("baseline",
                   "mpq baseline [data] [--ngrams N] [--min-count N] [--c C] [--out DIR [--folds K]]\n\nLogistic "
                   "regression on the n-grams a text holds, weighted by their log-count ratios: the accuracy\na "
                   "network has to beat. The reports of mpq train and mpq search show it from then on. With --out it "
                   "is\nalso a teacher: no training row's probability comes from a model that saw its film or its "
                   "text.\n\nExample: mpq baseline --data imdb --out runs/ngrams");
  declare(line, options);
  if (!line.parse(args)) return 0;
  if (options.threads > 0) set_threads(options.threads);
  install_stop_signals();
  const bool keep = !options.out.empty();
  if (keep) check_baseline_target(options.out);
  DataOptions data_options = options.data.options();
  data_options.unlabelled = keep;
  line.announce();

  const auto start = std::chrono::steady_clock::now();
  Experiment experiment(options, load_texts(data_options));
  const TextData& data = experiment.data();
  const size_t classes = data.label_names.size();
  fmt::print(stderr, "{}: {} train, {} validation, {} test, {} unlabelled rows; {} classes ({}); {} n-grams\n",
             data.name, data.train.row_count(), data.valid.row_count(), data.test.row_count(),
             data.unlabelled.row_count(), classes, join(data.label_names, ", "), experiment.feature_count());
  experiment.fit(keep);

  nlohmann::ordered_json result;
  const Hits test = hits(data.test, experiment.probabilities(data.test), classes);
  const Hits valid = hits(data.valid, experiment.probabilities(data.valid), classes);
  add_accuracy("test", test, result);
  add_accuracy("valid", valid, result);
  if (keep) add_accuracy("cross_fitted", hits(data.train, experiment.cross_fitted(), classes), result);
  result["features"] = experiment.feature_count();
  result["labels"] = data.label_names;
  if (keep) write_baseline(options.out, experiment.classifier(), experiment.soft_labels());
  result["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result["peak_memory"] = peak_memory();
  remember_baseline(data.splits, {test, valid, experiment.feature_count(), options.text()});
  line.json() ? print_json(result) : print(result);
  return 0;
}

}  // namespace mpq
