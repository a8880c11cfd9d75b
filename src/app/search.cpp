// Searches number formats: one study a family, the float control beside them.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "app/commands.h"
#include "app/search_demo.h"
#include "app/search_family.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/statistics.h"
#include "base/stop.h"
#include "base/text.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

// What decides a trial's result beside its formats; a stored study goes on only with the same.
std::string recipe_of(const SearchOptions& o, const Setup& setup) {
  const TrainArgs& t = o.train;
  const std::string start = setup.init
                                ? "init " + sha256_hex(MappedFile(setup.init->folder / "model.safetensors").text())
                                : "model " + t.model;
  return fmt::format(
      "data {} select {} {} epochs {} batch {} lr {} warmup {} decay {} weight-decay {} dropout {} clip {} seed {} "
      "max-bits {}",
      setup.data.fingerprint, o.select, start, t.epochs, t.batch, t.lr, t.warmup, t.decay, t.weight_decay, t.dropout,
      t.clip, t.seed, o.max_bits ? fmt::format("{}", *o.max_bits) : "none");
}

double mcnemar_against(const Evaluation& control, const Evaluation& e) {
  int64_t only_control = 0, only_e = 0;
  for (size_t i = 0; i < e.labels.size(); ++i) {
    const bool a = control.predicted.at(i) == e.labels[i], b = e.predicted[i] == e.labels[i];
    only_control += a && !b, only_e += b && !a;
  }
  return mcnemar_p(only_control, only_e);
}

class Search {
 public:
  Search(const SearchOptions& options, const Setup& setup, Device& device, Storage& storage)
      : options_(options),
        setup_(setup),
        test_selects_(options.select == "test"),
        runner_(device, setup, options_.train, test_selects_ ? setup.data.test : setup.data.valid) {
    const auto spaces = options.space.empty() ? family_spaces(options.family) : named_space(options.space);
    const std::string recipe = recipe_of(options, setup);
    for (const FamilySpace& space : spaces) {
      families_.push_back(std::make_unique<FamilySearch>(space, options, runner_, storage, recipe));
      const std::vector<LinearSpec> formats(model().linears().size(), parse_linear_spec(space.choices[0]));
      memory_ = std::max(memory_, runner_.memory(formats));
      planned_ += families_.back()->planned_trials();
    }
    for (const auto& family : families_) finished_ += family->result().trials;
  }

  void print_plan(const Device& device) const {
    fmt::print(stderr, "{}\n{}\n{}: {} of memory\n", setup_.data.description, describe(setup_.config),
               device.describe(), human_bytes(memory_));
    fmt::print(stderr, "{} studies in {}: {} trials at most, {} finished already; each {} steps, then {} {} rows\n",
               families_.size(), options_.storage, planned_, finished_, runner_.steps(), runner_.selection_rows(),
               options_.select);
    if (test_selects_)
      fmt::print(stderr, "selection on the test split, as in the labs: the best of many trials is optimistic\n");
  }

  // A wave of every family in turn, until all have their trials.
  void run() {
    for (;;) {
      bool any = false;
      for (auto& family : families_)
        any |= family->run_wave([&](const FrozenTrial& trial) { print_trial(family->family(), trial); });
      if (!any && !others_run()) return;
      if (!any) wait_for_others();
    }
  }

  std::vector<FamilyResult> results() {
    std::vector<FamilyResult> results;
    std::optional<Evaluation> control;
    for (auto& family : families_) {
      FamilyResult r = family->result();
      if (r.winner >= 0 && !r.diverged && !test_selects_ && setup_.data.test.row_count() > 0) {
        const Evaluation e = runner_.evaluate_kept(family->winner_model(), setup_.data.test, "testing " + r.family);
        r.test_accuracy = e.accuracy();
        if (r.family == "none")
          control = e;
        else if (control)
          r.mcnemar = mcnemar_against(*control, e);
      }
      if (r.winner >= 0) confirm(r);
      results.push_back(std::move(r));
    }
    return results;
  }

  const Bert& model() const { return runner_.model(); }

 private:
  void print_trial(const std::string& family, const FrozenTrial& trial) {
    const auto attribute = [&](const char* key) {
      const auto at = trial.user_attrs.find(key);
      return at == trial.user_attrs.end() ? "" : at->second;
    };
    const std::string seconds = attribute("mpq:seconds"), same = attribute("mpq:same_as");
    std::string line = fmt::format("[{}/{}] {} trial {}: ", ++finished_, planned_, family, trial.number);
    if (trial.values.empty())
      line += fmt::format("{}, {} bits", to_text(trial.state), attribute("mpq:bits"));
    else
      line += fmt::format("{:.4f}", trial.values[0]);
    if (!attribute("mpq:diverged").empty()) line += ", diverged";
    if (!same.empty()) line += ", as trial " + same;
    if (!seconds.empty()) line += fmt::format(", {:.1f} s", parse_double(seconds).value_or(0));
    fmt::print(stderr, "{}\n", line);
    if (!seconds.empty()) estimate(parse_double(seconds).value_or(0));
  }

  // Once, after the first quantized trial: a float one would promise too much.
  void estimate(double seconds) {
    if (++trained_ != 2) return;
    fmt::print(stderr, "estimated: at most {} for the other {} trials\n",
               human_seconds(seconds * static_cast<double>(planned_ - finished_)), planned_ - finished_);
  }

  bool others_run() const {
    return std::any_of(families_.begin(), families_.end(), [](const auto& f) { return f->study().others_run(); });
  }
  static void wait_for_others() {
    if (stop_requested()) throw Stopped("the search; another process has trials in flight");
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }

  // The winner again with other seeds, on the test split.
  void confirm(FamilyResult& r) {
    const Split& test = setup_.data.test;
    if (test.row_count() == 0) return;
    for (int s = 1; s <= options_.confirm; ++s) {
      const uint64_t seed = options_.train.seed + static_cast<uint64_t>(s);
      const std::string what = fmt::format("confirming {} with seed {}", r.family, seed);
      double accuracy = majority_share(test);  // unless it ends
      runner_.run(
          {.name = what, .formats = r.formats, .seed = seed},
          [&](Session& session, const TrialResult&) {
            accuracy = evaluate_with_progress(session, test, what)[0].accuracy();
          },
          [] {});
      r.confirmed.push_back(accuracy);
    }
  }

  const SearchOptions& options_;
  const Setup& setup_;
  bool test_selects_;
  TrialRunner runner_;
  std::vector<std::unique_ptr<FamilySearch>> families_;
  size_t memory_ = 0;
  int64_t planned_ = 0, finished_ = 0, trained_ = 0;
};

nlohmann::ordered_json to_json(const std::vector<FamilyResult>& results) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const FamilyResult& r : results) {
    nlohmann::ordered_json o{{"family", r.family}, {"trials", r.trials}, {"seconds", r.seconds}};
    if (r.winner >= 0) {
      o["winner"] = r.winner;
      o["accuracy"] = static_cast<double>(r.correct) / static_cast<double>(r.rows);
      o["test_accuracy"] = r.test_accuracy ? nlohmann::ordered_json(*r.test_accuracy) : nullptr;
      o["p"] = r.mcnemar ? nlohmann::ordered_json(*r.mcnemar) : nullptr;
      o["bits_per_weight"] = r.linear_bits;
      o["bits_per_parameter"] = r.parameter_bits;
      if (!r.confirmed.empty()) o["confirmed"] = r.confirmed;
    }
    list.push_back(o);
  }
  return {{"results", list}};
}

void declare(CommandLine& line, SearchOptions& o) {
  line.group("Search");
  line.option("family", o.family, "all|NAME[,NAME]", "families to search; mpq formats lists them");
  line.choice("mode", o.mode, {"all-layers", "per-layer"},
              "every Linear takes one format, or each chooses its own or none");
  line.option("space", o.space, "NAME", "a named space instead of families: lab3-task1");
  line.option("trials", o.trials, "N", "trials a family; a smaller space is searched whole", {.min = 1, .max = 1e6});
  line.option("parallel", o.parallel, "N", "trials a study asks for at once, each blind to the others' results",
              {.min = 1, .max = 1024});
  line.choice("sampler", o.sampler, {"tpe", "random", "grid"}, "how formats are proposed");
  line.option("max-bits", o.max_bits, "B",
              "average bits a Linear weight, scales counted; trials over it are not trained", {.above = 0});
  line.choice("select", o.select, {"valid", "test"},
              "the split that selects; test: the labs' way, train on everything, and optimistic");
  line.option("confirm", o.confirm, "S", "train each winner again with S other seeds", {.min = 0, .max = 1000});
  line.option("storage", o.storage, "sqlite:///PATH", "Optuna's schema; default: study.db in --out");
  line.option("study", o.study, "NAME", "studies are called NAME-FAMILY");
  line.option("out", o.out, "DIR", "table, figures, models");
  o.data.add_to(line);
  o.train.add_to(line);
  o.machine.add_to(line);
}

// Before anything long: a wrong name would else show only after the base model is trained.
void check_names(const SearchOptions& options) {
  options.space.empty() ? family_spaces(options.family) : named_space(options.space);
}

}  // namespace

int run_search(const Args& args) {
  SearchOptions options;
  CommandLine line(
      "search",
      "mpq search --family all|NAME[,NAME] [data] [training] [--mode all-layers|per-layer] [--trials N]\n\nFor every "
      "family a study: trials "
      "train the model with the formats that the sampler proposes and are compared on\nthe validation split; the "
      "winner and the float control "
      "meet the test split once. Kill it, run it again: it goes on.\nWith nothing else it runs on the built-in "
      "corpus.\n\n"
      "Example: mpq search --family integer,log --data imdb --mode per-layer --trials 30 --out runs/search");
  declare(line, options);
  if (!line.parse(args)) return 0;
  if (!options.space.empty() && line.given("family"))
    throw UserError("--space and --family exclude each other", "a named space brings its family");
  check_names(options);
  options.machine.apply();
  install_stop_signals();
  if (options.storage.empty()) options.storage = "sqlite:///" + (fs::path(options.out) / "study.db").string();
  const auto device = open_device(options.machine.device);
  make_folders(options.out);

  if (is_demo(options)) prepare_demo(options, line, *device);
  if (options.train.epochs == 0 && options.train.init.empty())
    throw UserError("--epochs 0 without --init: random weights, never trained", "name a trained model with --init DIR");
  DataOptions data = options.data.options();
  data.merge_valid_into_train |= options.select == "test";
  const Setup setup(data, options.train);
  if ((options.select == "valid" ? setup.data.valid : setup.data.test).row_count() == 0)
    throw UserError(fmt::format("--select {}: the data has no such split", options.select),
                    "--valid PATH|FRACTION or --test PATH bring one");
  const auto storage = open_storage(options.storage, OpenMode::create);
  Search search(options, setup, *device, *storage);
  line.announce();
  search.print_plan(*device);

  search.run();
  const std::vector<FamilyResult> results = search.results();
  report(results, search.model(), options.select, options.out, line.json());
  if (line.json()) print_json(to_json(results));
  return 0;
}

}  // namespace mpq
