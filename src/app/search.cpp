// Searches number formats: one study a family, the float control beside them.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "app/commands.h"
#include "app/search_report.h"
#include "app/search_space.h"
#include "app/search_trial.h"
#include "base/file.h"
#include "base/statistics.h"
#include "base/stop.h"
#include "base/text.h"
#include "search/storage.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

struct Options {
  DataArgs data;
  TrainArgs train;
  MachineArgs machine;
  std::string family = "all", mode = "all-layers", space, sampler = "tpe", select = "valid", storage, study = "search", out = "out/search";
  int64_t trials = 8, parallel = 1;
  std::optional<double> max_bits;
  int confirm = 0;
};

// One study of the search and where its best model is kept.
class FamilySearch {
 public:
  FamilySearch(const FamilySpace& space, const Options& options, const Bert& model, Storage& storage, const std::string& recipe)
      : family_(space.family), model_(model), options_(options), folder_(fs::path(options.out) / "models" / space.family),
        study_(storage, study_options(space, options, model)) {
    const StudyRecord record = storage.read_study(study_.options().name);
    const auto known = record.user_attrs.find("mpq:recipe");
    const std::string json = nlohmann::json(recipe).dump();
    if (known == record.user_attrs.end()) storage.set_study_attr(record.id, AttributeKind::user, "mpq:recipe", json);
    else if (known->second != json)
      throw UserError(fmt::format("the study {} was made with another recipe: {}", record.name, known->second),
                      fmt::format("this run's is {}; choose another --study or --out", json));
  }

  const std::string& family() const { return family_; }
  Study& study() { return study_; }
  fs::path folder() const { return folder_ / "model"; }

  // One trial, to its end: over budget, known already, or run.
  void run(Trial& trial, TrialRunner& runner) {
    const std::vector<LinearSpec> specs = specs_of(model_, trial.record());
    const double bits = bits_per_linear_weight(model_, specs);
    trial.set_user_attr("mpq:bits", bits);
    trial.set_user_attr("mpq:bits_per_parameter", bits_per_parameter(model_, specs));
    if (options_.max_bits) trial.set_constraints({bits - *options_.max_bits});
    if (options_.max_bits && bits > *options_.max_bits) return study_.tell(trial, TrialState::pruned);
    if (const FrozenTrial* same = study_.find_same_params(trial)) return repeat(trial, *same);
    const TrialResult result = runner.run(specs, options_.train.seed, keep_if_best(trial.number()), [&] { study_.heartbeat(); });
    trial.set_user_attr("mpq:seconds", result.seconds);
    trial.set_user_attr("mpq:correct", result.diverged ? majority_rows(result) : result.selection.correct());
    trial.set_user_attr("mpq:rows", result.selection.labels.size());
    if (result.diverged) trial.set_user_attr("mpq:diverged", true);
    study_.tell(trial, result.value);
  }

  // The model of the winner: as it was kept, or trained again (the same bits) where that was lost.
  fs::path winner_model(const FrozenTrial& winner, TrialRunner& runner) {
    if (kept_number() != winner.number) {
      runner.run(specs_of(model_, winner), options_.train.seed, [&](const TrialResult&) { return folder(); }, [] {});
      note_kept(winner.number);
    }
    return folder();
  }

  FamilyResult result() const {
    FamilyResult r{.family = family_, .series = {family_, {}}};
    for (const FrozenTrial& t : study_.trials()) {
      const double accuracy = t.state == TrialState::complete && !t.values.empty() ? t.values[0] : std::nan("");
      r.series.trials.push_back({accuracy, number(t, "mpq:bits")});
      r.trials += t.finished();
      r.seconds += number(t, "mpq:seconds");
    }
    const FrozenTrial* winner = study_.best_trial();
    if (!winner) return r;
    r.winner = winner->number;
    r.formats = specs_of(model_, *winner);
    r.linear_bits = bits_per_linear_weight(model_, r.formats);
    r.parameter_bits = bits_per_parameter(model_, r.formats);
    r.correct = static_cast<int64_t>(number(*winner, "mpq:correct"));
    r.rows = static_cast<int64_t>(number(*winner, "mpq:rows"));
    return r;
  }

 private:
  static StudyOptions study_options(const FamilySpace& space, const Options& options, const Bert& model) {
    const SearchMode mode = options.mode == "per-layer" ? SearchMode::per_layer : SearchMode::all_layers;
    return {.name = options.study + "-" + space.family, .sampler = {.name = options.sampler, .seed = static_cast<uint32_t>(options.train.seed)},
            .parallel = static_cast<int>(options.parallel), .trials = options.trials, .space = space.space(model, mode),
            .metric = options.select + " accuracy"};
  }

  static double number(const FrozenTrial& t, const char* key) {
    const auto at = t.user_attrs.find(key);
    return at == t.user_attrs.end() ? 0 : parse_double(at->second).value_or(0);
  }

  static int64_t majority_rows(const TrialResult& result) {
    return static_cast<int64_t>(std::llround(result.value * static_cast<double>(result.selection.labels.size())));
  }

  // The trials of a study share one seed: equal formats, equal result.
  void repeat(Trial& trial, const FrozenTrial& same) {
    for (const char* key : {"mpq:correct", "mpq:rows"})
      if (const auto at = same.user_attrs.find(key); at != same.user_attrs.end()) trial.set_user_attr(key, nlohmann::json::parse(at->second));
    if (same.user_attrs.count("mpq:diverged")) trial.set_user_attr("mpq:diverged", true);
    trial.set_user_attr("mpq:same_as", same.number);
    study_.tell(trial, same.values.at(0));
  }

  // A model that is the best so far replaces the one kept before; the note beside it says whose it is.
  TrialRunner::Keep keep_if_best(int64_t number) {
    return [this, number](const TrialResult& result) -> std::optional<fs::path> {
      const FrozenTrial* best = study_.best_trial();
      if (best && !(result.value > best->values[0])) return std::nullopt;
      note_kept(number);
      return folder();
    };
  }
  void note_kept(int64_t number) { write_file_atomic(folder_ / "trial", fmt::format("{}\n", number)); }
  int64_t kept_number() const {
    if (!fs::exists(folder() / "model.safetensors") || !fs::exists(folder_ / "trial")) return -1;
    return parse_int(trim(read_file(folder_ / "trial"))).value_or(-1);
  }

  std::string family_;
  const Bert& model_;
  const Options& options_;
  fs::path folder_;
  Study study_;
};

// The built-in corpus brings its own recipe: a base model trained in float, then short trials from it. What the command
// line names stays.
void apply_synthetic_recipe(Options& options, const CommandLine& line) {
  const auto unless_given = [&](const char* name, auto& value, auto recipe) {
    if (!line.given(name)) value = recipe;
  };
  unless_given("model", options.train.model, std::string("2,64,2,256"));
  unless_given("batch", options.train.batch, 32);
  unless_given("lr", options.train.lr, 1e-3);
}

// Trains the base model once; a later run finds it in the folder.
void train_base(Options& options, Device& device) {
  const fs::path folder = fs::path(options.out) / "base";
  TrainArgs base = options.train;
  base.epochs = 4;
  const Setup setup(options.data.options(), base);
  if (!fs::exists(folder / "model.safetensors")) {
    const Bert model(setup.config);
    const TrainPlan plan = plan_of(base);
    const Schedule schedule = schedule_of(base, plan.steps(setup.data.train.row_count()));
    Session session(device, model, {{base.seed, schedule, std::vector<LinearSpec>(model.linears().size())}}, session_options(base, setup.data_options));
    start_weights(session, 0, setup);
    train_with_progress(session, setup.data.train, plan, "training the base model", {});
    write_checkpoint(folder, session, 0, *setup.data.tokenizer, setup.checkpoint_info());
  }
  options.train.init = folder;
  options.train.lr /= 4;
}

// What decides a trial's result; a stored study goes on only with the same.
std::string recipe_of(const Options& o, const Setup& setup) {
  const TrainArgs& t = o.train;
  return fmt::format("data {} select {} model {} init {} epochs {} batch {} lr {} warmup {} decay {} weight-decay {} dropout {} clip {} seed {} max-bits {}",
                     setup.data.fingerprint, o.select, t.init.empty() ? t.model : "checkpoint", t.init, t.epochs, t.batch, t.lr, t.warmup, t.decay, t.weight_decay,
                     t.dropout, t.clip, t.seed, o.max_bits ? fmt::format("{}", *o.max_bits) : "none");
}

class Search {
 public:
  Search(const Options& options, const Setup& setup, Device& device, Storage& storage)
      : options_(options), setup_(setup), test_selects_(options.select == "test"),
        runner_(device, setup, options_.train, test_selects_ ? setup.data.test : setup.data.valid) {
    const auto spaces = options.space.empty() ? family_spaces(options.family) : named_space(options.space);
    const std::string recipe = recipe_of(options, setup);
    for (const FamilySpace& space : spaces) families_.push_back(std::make_unique<FamilySearch>(space, options, runner_.model(), storage, recipe));
  }

  void run() {
    for (bool any = true; any;) {
      any = false;
      for (auto& family : families_) any |= run_wave(*family);
    }
  }

  std::vector<FamilyResult> results() {
    std::vector<FamilyResult> results;
    Evaluation control;
    for (auto& family : families_) {
      FamilyResult r = family->result();
      const FrozenTrial* winner = family->study().best_trial();
      const bool diverged = winner && winner->user_attrs.count("mpq:diverged");
      if (winner && !diverged && !test_selects_ && setup_.data.test.row_count() > 0) {
        const Evaluation e = runner_.evaluate_kept(family->winner_model(*winner, runner_), setup_.data.test, "testing " + r.family);
        r.test_accuracy = e.accuracy();
        if (r.family == "none") control = e;
        else r.mcnemar = against(control, e);
      }
      if (winner && !diverged) confirm(r);
      results.push_back(std::move(r));
    }
    return results;
  }

  const Bert& model() const { return runner_.model(); }
  size_t studies() const { return families_.size(); }

 private:
  bool run_wave(FamilySearch& family) {
    std::vector<Trial> wave = family.study().ask(options_.trials);
    for (Trial& trial : wave) {
      family.run(trial, runner_);
      const FrozenTrial& done = family.study().trials().at(static_cast<size_t>(trial.number()));
      fmt::print(stderr, "{:<18} trial {:>3}  {}  {:.4f}\n", family.family(), done.number, to_text(done.state), done.values.empty() ? 0.0 : done.values[0]);
    }
    return !wave.empty();
  }

  static double against(const Evaluation& control, const Evaluation& e) {
    int64_t only_control = 0, only_e = 0;
    for (size_t i = 0; i < e.labels.size(); ++i) {
      const bool a = control.predicted.at(i) == e.labels[i], b = e.predicted[i] == e.labels[i];
      only_control += a && !b, only_e += b && !a;
    }
    return mcnemar_p(only_control, only_e);
  }

  // The winner again with other seeds, on the test split.
  void confirm(FamilyResult& r) {
    for (int s = 1; s <= options_.confirm; ++s) {
      Evaluation test;
      const fs::path folder = fs::path(options_.out) / "confirm";
      runner_.run(r.formats, options_.train.seed + s, [&](const TrialResult&) { return folder; }, [] {});
      r.confirmed.push_back(runner_.evaluate_kept(folder, setup_.data.test, fmt::format("confirming {} with seed {}", r.family, options_.train.seed + s)).accuracy());
    }
  }

  const Options& options_;
  const Setup& setup_;
  bool test_selects_;
  TrialRunner runner_;
  std::vector<std::unique_ptr<FamilySearch>> families_;
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

void declare(CommandLine& line, Options& o) {
  line.group("Search");
  line.option("family", o.family, "all|NAME[,NAME]", "families to search; mpq formats lists them");
  line.choice("mode", o.mode, {"all-layers", "per-layer"}, "every Linear takes one format, or each chooses its own or none");
  line.option("space", o.space, "NAME", "a named space instead of families: lab3-task1");
  line.option("trials", o.trials, "N", "trials a family; a smaller space is searched whole", {.min = 1, .max = 1e6});
  line.option("parallel", o.parallel, "N", "trials a study asks for at once, each blind to the others' results", {.min = 1, .max = 1024});
  line.choice("sampler", o.sampler, {"tpe", "random", "grid"}, "how formats are proposed");
  line.option("max-bits", o.max_bits, "B", "average bits a Linear weight, scales counted; trials over it are not trained", {.above = 0});
  line.choice("select", o.select, {"valid", "test"}, "the split that selects; test: the labs' way, train on everything, and optimistic");
  line.option("confirm", o.confirm, "S", "train each winner again with S other seeds", {.min = 0, .max = 1000});
  line.option("storage", o.storage, "sqlite:///PATH", "Optuna's schema; default: study.db in --out");
  line.option("study", o.study, "NAME", "studies are called NAME-FAMILY");
  line.option("out", o.out, "DIR", "table, figures, models");
  o.data.add_to(line);
  o.train.add_to(line);
  o.machine.add_to(line);
}

}  // namespace

int run_search(const Args& args) {
  Options options;
  CommandLine line("search",
                   "mpq search --family all|NAME[,NAME] [data] [training] [--mode all-layers|per-layer] [--trials N]\n\nFor every family a study: trials "
                   "train the model with the formats that the sampler proposes and are compared on\nthe validation split; the winner and the float control "
                   "meet the test split once. Kill it, run it again: it goes on.\nWith nothing else it runs on the built-in corpus.\n\n"
                   "Example: mpq search --family integer,log --data imdb --mode per-layer --trials 30 --out runs/search");
  declare(line, options);
  if (!line.parse(args)) return 0;
  options.machine.apply();
  install_stop_signals();
  if (options.storage.empty()) options.storage = "sqlite:///" + (fs::path(options.out) / "study.db").string();
  make_folders(options.out);

  const auto device = open_device(options.machine.device);
  DataOptions data = options.data.options();
  data.merge_valid_into_train |= options.select == "test";
  const bool own_recipe = data.data == "synthetic" && options.train.init.empty();
  if (own_recipe) apply_synthetic_recipe(options, line);
  if (own_recipe) train_base(options, *device);
  if (options.train.epochs == 0 && options.train.init.empty())
    throw UserError("--epochs 0 without --init: random weights, never trained", "name a trained model with --init DIR");
  const Setup setup(data, options.train);
  if (options.select == "valid" && setup.data.valid.row_count() == 0)
    throw UserError("--select valid: there is no validation split", "leave --valid at its default, or --select test");
  const auto storage = open_storage(options.storage, OpenMode::create);
  Search search(options, setup, *device, *storage);
  line.announce();
  fmt::print(stderr, "{}\n{}\n{}; {} studies in {}\n", setup.data.description, describe(setup.config), device->describe(), search.studies(), options.storage);
  if (options.select == "test") fmt::print(stderr, "selection on the test split, as in the labs: the best of many trials is optimistic\n");

  search.run();
  const std::vector<FamilyResult> results = search.results();
  report(results, search.model(), options.select, options.out, line.json());
  if (line.json()) print_json(to_json(results));
  return 0;
}

}  // namespace mpq
