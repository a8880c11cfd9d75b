// Searches number formats or architectures: one study a family or space, the control beside them.
#include <fmt/format.h>

#include "app/commands.h"
#include "app/search_demo.h"
#include "app/search_rounds.h"
#include "base/file.h"
#include "base/stop.h"
#include "base/text.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

nlohmann::ordered_json to_json(const std::vector<StudyResult>& results, const SearchStyle& style,
                               const std::optional<KnownBaseline>& baseline) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const StudyResult& r : results) {
    nlohmann::ordered_json o{{style.subject, r.study}, {"trials", r.finished}, {"seconds", r.seconds}};
    if (r.winner >= 0) {
      o["winner"] = r.winner;
      o["accuracy"] = r.accuracy();
      o["test_accuracy"] = r.test_accuracy ? nlohmann::ordered_json(*r.test_accuracy) : nullptr;
      o["p"] = r.mcnemar ? nlohmann::ordered_json(*r.mcnemar) : nullptr;
      const TrialPoint& winner = r.trials[static_cast<size_t>(r.winner)];
      o["bits_per_weight"] = winner.size.bits_per_weight;
      o["bits_per_parameter"] = winner.size.bits_per_parameter;
      o["parameters"] = winner.size.parameters;
      o["multiply_adds"] = winner.size.multiply_adds;
      o["architecture"] = winner.architecture;
      if (!r.confirmed.empty()) o["confirmed"] = r.confirmed;
      if (r.best_on_test >= 0) {
        const TrialPoint& best = r.trials[static_cast<size_t>(r.best_on_test)];
        o["best_on_test"] = {
            {"trial", r.best_on_test}, {"test_accuracy", *best.test}, {"confirmed", r.confirmed_on_test}};
      }
    }
    list.push_back(o);
  }
  const auto to_beat = baseline ? baseline->test.accuracy() : std::nullopt;
  return {{"results", list}, {"baseline_test_accuracy", to_beat ? nlohmann::ordered_json(*to_beat) : nullptr}};
}

void declare(CommandLine& line, SearchOptions& o) {
  line.group("Search");
  line.option("family", o.family, "all|NAME[,NAME]", "families to search; mpq formats lists them");
  line.choice("mode", o.mode, {"all-layers", "per-layer"},
              "every Linear takes one format, or each chooses its own or none");
  line.flag("embeddings", o.embeddings,
            "the embedding tables choose too: each a format of the family's weights, or none");
  line.option("space", o.space, "NAME",
              "a named space instead of families: lab3-task1 (formats), nas (architectures), nas-compression");
  line.option("trials", o.trials, "N", "trials a family; a smaller space is searched whole", {.min = 1, .max = 1e6});
  line.option("parallel", o.parallel, "N", "trials a study asks for at once, each blind to the others' results",
              {.min = 1, .max = 1024});
  line.option("replicas", o.replicas, "N",
              "trials trained together in a session, of all studies, with the same results; 0: what suits the device",
              {.min = 0, .max = 4096});
  line.option("lanes", o.lanes, "N",
              "sessions side by side on each device, with the same results; 0: what suits it (a GPU: 2, a small one "
              "beside a large one)",
              {.min = 0, .max = 64});
  line.option("sampler", o.sampler, join(sampler_names(), "|") + "[,...]",
              "how trials are proposed; of several, each has its studies");
  line.option("max-bits", o.max_bits, "B", "average bits, scales counted; trials over it are not trained",
              {.above = 0});
  line.choice("budget", o.budget, {"linear", "model"}, "what --max-bits counts: Linear weights, or all parameters");
  line.option("max-parameters", o.max_parameters, "N", "likewise of the model's parameters", {.min = 1});
  line.choice("select", o.select, {"valid", "test"},
              "the split that selects; test: the labs' way, train on everything, and optimistic");
  line.flag("watch-test", o.watch_test,
            "evaluate every trial on the test split too, to show what selecting on it would have claimed; it selects "
            "nothing");
  line.option("confirm", o.confirm, "S", "train each winner again with S other seeds", {.min = 0, .max = 1000});
  line.option("storage", o.storage, "sqlite:///PATH", "Optuna's schema; default: study.db in --out");
  line.option("study", o.study, "NAME", "studies are called NAME-FAMILY");
  line.option("out", o.out, "DIR", "table, figures, models");
  line.group("Architectures (--space nas, nas-compression)");
  line.option("layers", o.layers, "N,N...", "choices for the number of layers");
  line.option("heads", o.heads, "N,N...", "choices for the attention heads");
  line.option("hidden", o.hidden, "N,N...", "choices for the hidden size");
  line.option("ffn", o.ffn, "N,N...", "choices for the feed-forward size");
  line.choice("identity", o.identity, {"auto", "yes", "no"},
              "whether every Linear as wide as its input may be the identity; auto: not with the grid");
  line.option("compress", o.compress, "SPEC", "nas-compression: what every Linear takes within the trial");
  line.option("prune-weights", o.prune_weights, "SPEC",
              "nas-compression: how weights are pruned there: l1(sparsity=0.5), random(sparsity=0.5), none");
  line.option("prune-activations", o.prune_activations, "SPEC", "nas-compression: likewise inputs of Linears");
  line.option("post-epochs", o.post_epochs, "N", "nas-compression: epochs after that, in its third study",
              {.min = 0, .max = 1e6});
  o.data.add_to(line);
  o.train.add_to(line);
  o.machine.add_to(line);
}

// Every device, as often as there are lanes. Replicas and lanes are for the same devices: those that few rows leave
// idle.
Devices open_lanes(SearchOptions& options) {
  Devices devices = options.machine.open_all();
  if (options.lanes == 0) options.lanes = devices[0]->replicas_at_once() > 1 ? 2 : 1;
  for (int lane = 1; lane < options.lanes; ++lane)
    for (auto& device : options.machine.open_all()) devices.push_back(std::move(device));
  return devices;
}

// Before anything long: a wrong name would else show only after the base model is trained.
void check_names(const SearchOptions& options, const CommandLine& line) {
  const SearchPlan plan = plan_search(options, std::make_shared<const Bert>(BertConfig{}));
  if (plan.architectures && !options.train.init.empty())
    throw UserError(fmt::format("--init with --space {}", options.space), "architectures start from random weights");
  if (plan.architectures && options.embeddings)
    throw UserError(fmt::format("--embeddings with --space {}", options.space),
                    "a search of architectures leaves them in float");
  for (const char* name : {"layers", "heads", "hidden", "ffn", "identity", "compress", "prune-weights",
                           "prune-activations", "post-epochs"})
    if (!plan.architectures && line.given(name))
      throw UserError(fmt::format("--{} without a search of architectures", name), "--space nas searches them");
}

}  // namespace

int run_search(const Args& args) {
  SearchOptions options;
  CommandLine line(
      "search",
      "mpq search --family all|NAME[,NAME] [data] [training] [--mode all-layers|per-layer] [--trials N]\nmpq search "
      "--space lab3-task1|nas|nas-compression ...\n\nFor every "
      "family, or part of a named space, a study: trials "
      "train the model with the formats, or the architecture, that the sampler proposes and are compared on\nthe "
      "validation split; the "
      "winner and the float control "
      "meet the test split once. Kill it, run it again: it goes on.\nWith nothing else it runs on the built-in "
      "corpus.\n\n"
      "Example: mpq search --family integer,log --data imdb --mode per-layer --trials 30 --out runs/search");
  declare(line, options);
  if (!line.parse(args)) return 0;
  if (!options.space.empty() && line.given("family"))
    throw UserError("--space and --family exclude each other", "a named space brings its family");
  check_names(options, line);
  if (options.watch_test && options.select == "test")
    throw UserError("--watch-test with --select test: that split selects", "leave one of them away");
  options.machine.apply();
  install_stop_signals();
  if (options.storage.empty()) options.storage = "sqlite:///" + (fs::path(options.out) / "study.db").string();
  const Devices devices = open_lanes(options);
  make_folders(options.out);

  if (is_demo(options)) prepare_demo(options, line, *devices[0]);
  if (options.train.epochs == 0 && options.train.init.empty())
    throw UserError("--epochs 0 without --init: random weights, never trained", "name a trained model with --init DIR");
  DataOptions data = options.data.options();
  data.merge_valid_into_train |= options.select == "test";
  const Setup setup(data, options.train);
  if (options.watch_test && setup.data.test.row_count() == 0)
    throw UserError("--watch-test: the data has no test split", "--test PATH brings one");
  if ((options.select == "valid" ? setup.data.valid : setup.data.test).row_count() == 0)
    throw UserError(fmt::format("--select {}: the data has no such split", options.select),
                    "--valid PATH|FRACTION or --test PATH bring one");
  const auto storage = open_storage(options.storage, OpenMode::create);
  Search search(options, setup, devices, *storage);
  line.announce();
  search.print_plan(devices);

  search.run();
  const std::vector<StudyResult> results = search.results();
  const auto baseline = known_baseline(setup.data.splits);
  report(results, baseline, search.style(), options.out, line.json());
  if (line.json())
    print_json(to_json(results, search.style(), baseline));
  else
    fmt::print("{}\n", baseline_line(setup.data.splits));
  return 0;
}

}  // namespace mpq
