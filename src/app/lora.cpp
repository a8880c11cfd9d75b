// LoRA adapters of several ranks and seeds on one base, trained as the replicas of one session: what a rank buys.
#include <fmt/format.h>

#include <map>

#include "app/commands.h"
#include "app/figure.h"
#include "app/format_options.h"
#include "app/lora_options.h"
#include "app/table.h"
#include "app/training.h"
#include "base/file.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/text.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

struct Options {
  DataArgs data;
  TrainArgs train;
  FormatArgs formats;
  MachineArgs machine;
  std::string lora = "rank=1:2:4:8:16,alpha=16", seeds = "42", out;
  std::optional<double> control;
  bool resume = false;

  // One replica a seed and a rank.
  std::vector<uint64_t> seed_list() const {
    std::vector<uint64_t> list;
    for (const std::string_view text : split(seeds, ',')) {
      const auto seed = parse_int(text);
      if (!seed || *seed < 0) throw UserError(fmt::format("--seeds {}: {} is no seed", seeds, text), "such as 1,2,3");
      list.push_back(static_cast<uint64_t>(*seed));
    }
    return list;
  }
};

class Sweep {
 public:
  Sweep(const Options& options, const Setup& setup, Device& device)
      : options_(options),
        setup_(setup),
        adaptation_(adapt(setup.config, parse_lora(options.lora))),
        model_(setup.config, adaptation_.plan),
        plan_(plan_of(options.train)),
        replicas_(replicas()),
        session_(device, model_, replicas_, session_options(options.train, setup.data_options)),
        states_(replicas_.size()) {}

  int64_t replica_count() const { return static_cast<int64_t>(replicas_.size()); }
  const Bert& model() const { return model_; }

  void start() {
    for (size_t r = 0; r < replicas_.size() && !options_.out.empty(); ++r) check_checkpoint_target(folder(r));
    if (!options_.out.empty()) make_folders(options_.out);
    start_weights(session_, setup_);
    if (options_.resume) resume();
  }

  void train() {
    try {
      train_with_progress(session_, setup_.data.train, plan_, "training", [&](const Progressed& done) {
        for (const Session::StepResult& step : done.results)
          for (size_t r = 0; r < states_.size(); ++r)
            states_[r].loss.push_back(step.loss[r]), states_[r].norm.push_back(step.norm[r]);
        const int every = options_.train.checkpoint_every;
        if (every > 0 && session_.step() % every == 0 && session_.step() < steps()) write(true);
      });
    } catch (const Stopped&) {
      if (session_.step() < steps()) write(true);
      throw;
    }
    write(false);
  }

  struct Row {
    Lora lora;
    uint64_t seed;
    int64_t trained;
    double loss;                        // of the last step
    std::optional<double> valid, test;  // accuracies
  };
  std::vector<Row> evaluate() {
    const auto of = [&](const Split& split, const std::string& name) {
      return split.row_count() == 0 ? std::vector<Evaluation>{}
                                    : evaluate_with_progress(session_, split, "evaluating " + name);
    };
    const auto valid = of(setup_.data.valid, "valid"), test = of(setup_.data.test, "test");
    const auto accuracy = [](const std::vector<Evaluation>& all, size_t r) {
      return all.empty() ? std::nullopt : std::optional(all[r].accuracy());
    };
    std::vector<Row> rows;
    for (size_t r = 0; r < replicas_.size(); ++r)
      rows.push_back({replicas_[r].lora, replicas_[r].seed, trained_parameters(model_, replicas_[r].lora.rank),
                      states_[r].loss.empty() ? 0.0 : states_[r].loss.back(), accuracy(valid, r), accuracy(test, r)});
    return rows;
  }

 private:
  int64_t steps() const { return plan_.steps(setup_.data.train.row_count()); }

  std::vector<Replica> replicas() {
    freeze_base(model_);
    std::vector<LinearSpec> before = setup_.init->formats;
    before.resize(model_.linears().size());
    const std::vector<LinearSpec> formats = options_.formats.resolve(model_, before);
    std::vector<Replica> all;
    for (const uint64_t seed : options_.seed_list())
      for (const Lora& lora : adaptation_.loras)
        all.push_back({seed, schedule_of(options_.train, steps()), formats, setup_.init->pruning, lora});
    return all;
  }

  fs::path folder(size_t r) const {
    const auto& [rank, alpha] = replicas_[r].lora;
    return fs::path(options_.out) / fmt::format("rank{}_alpha{:g}_seed{}", rank, alpha, replicas_[r].seed);
  }
  std::string fingerprint(size_t r) const {
    const TrainArgs& t = options_.train;
    std::string formats;
    for (const LinearSpec& s : replicas_[r].formats) formats += to_text(s) + "|";
    return fmt::format(
        "lora sweep: data {} init {} {} seed {} rank {} alpha {} largest {} dropout {} targets {} formats {}{}",
        setup_.data.fingerprint, t.init, t.recipe(), replicas_[r].seed, replicas_[r].lora.rank, replicas_[r].lora.alpha,
        adaptation_.plan.most_rank, adaptation_.plan.dropout, join(adaptation_.plan.linears, ","), formats,
        options_.machine.precision_in_recipe());
  }

  void write(bool unfinished) {
    if (options_.out.empty()) return;
    for (size_t r = 0; r < replicas_.size(); ++r) {
      if (unfinished) states_[r].optimizer = session_.optimizer_state(static_cast<int>(r));
      states_[r].options = fingerprint(r);
      write_adapter(folder(r), session_, static_cast<int>(r), setup_.checkpoint_info(), options_.train.init,
                    unfinished ? &states_[r] : nullptr);
    }
  }

  // All from the same step: where the folders are of two steps, a kill came between them.
  void resume() {
    for (size_t r = 0; r < replicas_.size(); ++r) {
      const auto state = read_training_state(folder(r), model_, fingerprint(r));
      if (!state || (r > 0 && state->optimizer.step != states_[0].optimizer.step))
        throw UserError(fmt::format("--resume: {} holds no unfinished run{}", folder(r).string(),
                                    state ? " of the same step as the others" : ""),
                        "leave --resume away to start one");
      Checkpoint base = *setup_.init;
      const AdapterFolder adapter = read_adapter(folder(r), base);
      load_into(session_, static_cast<int>(r), base);
      load_adapter(session_, static_cast<int>(r), adapter);
      session_.restore(static_cast<int>(r), state->optimizer);
      states_[r] = *state;
    }
  }

  const Options& options_;
  const Setup& setup_;
  Adaptation adaptation_;
  Bert model_;
  TrainPlan plan_;
  std::vector<Replica> replicas_;
  Session session_;
  std::vector<TrainingState> states_;
};

std::string cell(const std::optional<double>& accuracy) { return accuracy ? fmt::format("{:.4f}", *accuracy) : "-"; }

Table table_of(const std::vector<Sweep::Row>& rows) {
  Table table{{"rank", "alpha", "seed", "trained parameters", "last loss", "valid", "test"}, {}};
  for (const Sweep::Row& row : rows)
    table.add({std::to_string(row.lora.rank), fmt::format("{:g}", row.lora.alpha), std::to_string(row.seed),
               std::to_string(row.trained), fmt::format("{:.4f}", row.loss), cell(row.valid), cell(row.test)});
  return table;
}

// Mean over the seeds and its 95 % interval, a point a rank.
Curve curve_of(const std::vector<Sweep::Row>& rows) {
  std::map<int, std::vector<double>> by_rank;
  for (const Sweep::Row& row : rows)
    if (const auto accuracy = row.test ? row.test : row.valid) by_rank[row.lora.rank].push_back(*accuracy);
  Curve curve{.name = "LoRA, mean over seeds"};
  for (const auto& [rank, accuracies] : by_rank) add_mean(curve, rank, accuracies);
  return curve;
}

void draw(const Options& options, const std::vector<Sweep::Row>& rows) {
  Figure figure{.title = fmt::format("LoRA on {}: accuracy against rank, {} epoch(s), 95 % interval over seeds",
                                     options.data.options().data, options.train.epochs),
                .x_title = "rank of the adapters",
                .y_title = rows[0].test ? "test accuracy" : "validation accuracy",
                .curves = {curve_of(rows)},
                .logarithmic_x = true};
  if (figure.curves[0].x.empty()) return;
  if (options.control) {
    const double last = figure.curves[0].x.back();
    figure.curves.push_back({.name = "all weights trained",
                             .x = {figure.curves[0].x.front(), last},
                             .y = {*options.control, *options.control},
                             .look = Curve::Look::control});
  }
  write_figure(figure, options.out, "accuracy_by_rank");
}

void add_options(CommandLine& line, Options& options) {
  options.data.add_to(line);
  options.train.add_to(line);
  options.formats.add_to(line);
  options.machine.add_to(line);
  line.group("Adapters");
  line.option("lora", options.lora, "SETTINGS",
              "several ranks, and one alpha or as many: rank=2:4:8,alpha=16,dropout=0.05,targets=query,value");
  line.option("seeds", options.seeds, "N[,N]", "of initialisation and dropout; --seed orders the rows, for all");
  line.option("control", options.control, "ACCURACY", "of all weights trained as long: a line in the figure");
  line.option("out", options.out, "DIR", "a folder of peft for each, lora.tsv and a figure");
  line.flag("resume", options.resume, "continue the unfinished sweep in --out, bit for bit");
}

}  // namespace

int run_lora(const Args& args) {
  Options options;
  CommandLine line(
      "lora",
      "mpq lora --init DIR [data] [training] [--lora SETTINGS] [--seeds N,N] [--out DIR]\n\nTrains low-rank "
      "adapters (LoRA) and the classifier on the frozen base --init: all ranks and seeds side by side, as\n"
      "the replicas of one session. Each has the bits that mpq train --lora gives it alone, with --seed for "
      "its seed if the\nseed is also the order's.\n\nExample: mpq lora --data imdb --init base --lora "
      "rank=2:4:8:16,alpha=16 --seeds 1,2,3 --out ranks");
  add_options(line, options);
  if (!line.parse(args)) return 0;
  line.require({"init"});
  if (options.resume) line.require({"out"});
  options.machine.apply();
  install_stop_signals();

  const auto device = options.machine.open();
  const Setup setup(options.data.options(), options.train);
  Sweep sweep(options, setup, *device);
  line.announce();
  fmt::print(stderr, "{}\n{}: {} replicas\n", setup.data.description, device->describe(), sweep.replica_count());
  sweep.start();
  sweep.train();
  const std::vector<Sweep::Row> rows = sweep.evaluate();
  if (!options.out.empty()) {
    write_file_atomic(fs::path(options.out) / "lora.tsv", to_tsv(table_of(rows)));
    draw(options, rows);
  }
  if (!line.json()) fmt::print("{}", to_text(table_of(rows)));
  for (const Sweep::Row& row : rows)
    if (line.json())
      print_json({{"rank", row.lora.rank},
                  {"alpha", row.lora.alpha},
                  {"seed", row.seed},
                  {"trained_parameters", row.trained},
                  {"last_loss", row.loss},
                  {"valid_accuracy", row.valid ? nlohmann::ordered_json(*row.valid) : nullptr},
                  {"test_accuracy", row.test ? nlohmann::ordered_json(*row.test) : nullptr}});
  return 0;
}

}  // namespace mpq
